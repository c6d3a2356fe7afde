"""Extract landmarks from frame folders and videos: ``python flows/landmark_extraction.py --help``."""

from __future__ import annotations

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("flows.landmark_extraction"))

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.landmarks.params import Device, FillGaps, LandmarkFormat, LandmarkParams, ModelName, Normalization
from tasks.landmarks.samples import Layout
from tasks.launcher.batch_flow import Steps, batch_flow, pick
from tasks.media.damage import OnDamage

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from tasks.batch import BatchRun


@batch_flow("landmark-extraction", extra="signs")
def landmark_extraction(
    *,
    input: Annotated[Path, Field(title="Collection (a folder or a manifest)")],
    output_dir: Annotated[Path, Field(title="Output folder")],
    split: Annotated[str, Field(title="Split")] = "all",
    model: Annotated[ModelName, Field(title="Model (or a .task file)")] = "holistic",
    format: Annotated[LandmarkFormat, Field(title="Format of the landmarks")] = "npz",
    fill_gaps: Annotated[FillGaps, Field(title="Longest gap to fill (frames)")] = 0,
    rescue_hands: Annotated[bool, Field(title="Rescue lost hands")] = False,
    normalize: Annotated[Normalization, Field(title="Normalization")] = "none",
    overlay: Annotated[bool, Field(title="Clips with the skeleton")] = False,
    layout: Annotated[Layout, Field(title="Layout of the folder")] = "auto",
    fps: Annotated[float | None, Field(gt=0, le=1000, title="Frame rate of frame folders (per second)")] = None,
    on_damage: Annotated[OnDamage, Field(title="Damaged videos")] = "skip",
    device: Annotated[Device, Field(title="Device of the model")] = "cpu",
    execution: Execution = Execution(),
) -> Steps:
    """Extract body, face and hand landmarks from every frame of frame folders and videos.

    Args:
        input: Folder of the collection, or a manifest of its samples
        output_dir: Folder for one folder per split, summary.json, items.parquet, failures.json and report.html
        split: train, dev, test or another split of the collection, or all of them
        model: holistic, hands, pose, face, or the path of a .task file
        format: Format of the landmarks
        fill_gaps: Maximum consecutive frames to interpolate between two frames that have the part
        rescue_hands: Search around the wrists for hands that the holistic model lost
        normalize: Move the middle of the shoulders to the origin and scale their distance to one
        overlay: Write a clip per sample with the skeleton drawn
        layout: Layout of the collection's folder
        fps: Frames per second of frame folders (default: 25)
        on_damage: Damaged frames and truncated videos: skip and report them, or fail the sample
        device: Device that runs the model
        execution: Execution options
    """
    from tasks.engine.contract.manifest import check_priority
    from tasks.landmarks.models.store import choose_model, fetch_models, get_rescue_model, locate_model
    from tasks.landmarks.options import check_machine, check_names, check_options
    from tasks.landmarks.samples import read_collection

    collection, problems = read_collection(input, layout, split, fps)
    landmarker, model_problems = choose_model(model)
    problems += model_problems
    rescue = get_rescue_model() if rescue_hands else None
    if landmarker:
        problems += check_options(landmarker.kind, rescue_hands, normalize)
    samples = collection.samples if collection else ()
    problems += check_names(samples, format)
    problems += check_priority(execution, (sample.fields for sample in samples))
    if not problems:  # do not download for a command that will not run
        problems += fetch_models(needed for needed in (landmarker, rescue) if needed)
    if landmarker and not problems:
        problems += check_machine(landmarker.kind, locate_model(landmarker), device)
    if problems or collection is None or landmarker is None:
        raise InvalidInput(problems)
    params = LandmarkParams(**pick(LandmarkParams.model_fields, {**locals(), "kind": landmarker.kind}))

    def steps(run: BatchRun) -> State[Any]:
        from flows.steps.landmark_extraction import extract_landmarks

        run.note(collection.notes)
        return extract_landmarks(run, collection, params, landmarker, rescue)

    return steps
