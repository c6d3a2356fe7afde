"""Sign-language landmarks out of frame folders and videos: ``python flows/landmark_extraction.py --help``."""

if __name__ == "__main__":  # before the imports below: the local Prefect API starts while Prefect is imported
    from tasks.launcher.command import main

    raise SystemExit(main("flows.landmark_extraction"))

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from tasks.batch import batch_run
from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.manifest import check_priority
from tasks.engine.store.outcomes import Outcome
from tasks.landmarks.layouts.collection import Collection, Sample
from tasks.landmarks.models.store import Model, choose_model, fetch_models, get_rescue_model, locate_model
from tasks.landmarks.options import machine_problems, name_problems, option_problems
from tasks.landmarks.params import Device, FillGaps, LandmarkFormat, LandmarkParams, Normalization
from tasks.landmarks.pictures import PreviewRow, best_and_worst
from tasks.landmarks.samples import Layout, plan_samples, read_collection
from tasks.landmarks.splits import SampleAccount, write_split_files
from tasks.landmarks.stage import LandmarksStage, preview_path
from tasks.media.damage import OnDamage


@dataclass(frozen=True)
class Inputs:
    """The samples, the model, and the one that looks for lost hands."""

    collection: Collection
    model: Model
    rescue: Model | None


def read_inputs(
    input: Path,
    layout: Layout = "auto",
    split: str = "all",
    fps: float | None = None,
    model: str = "holistic",
    format: LandmarkFormat = "npz",
    rescue_hands: bool = False,
    normalize: Normalization = "none",
    device: Device = "cpu",
    execution: Execution = Execution(),
) -> Inputs:
    """Read and check what the flow works on. Raises InvalidInput with everything that is wrong."""
    collection, problems = read_collection(input, layout, split, fps)
    chosen, model_problems = choose_model(model)
    problems += model_problems
    rescue = get_rescue_model() if rescue_hands else None
    if chosen:
        problems += option_problems(chosen.kind, rescue_hands, normalize)
    samples = collection.samples if collection else ()
    problems += name_problems(samples, format)
    problems += check_priority(execution, (sample.fields for sample in samples))
    if not problems:  # a download is not begun for a command that will not run
        problems += fetch_models(found for found in (chosen, rescue) if found)
    if chosen and not problems:
        problems += machine_problems(chosen.kind, locate_model(chosen), device)
    if problems or collection is None or chosen is None:
        raise InvalidInput(problems)
    return Inputs(collection, chosen, rescue)


@flow(name="landmark-extraction", flow_run_name="landmark-extraction {output_dir}", persist_result=False)
def landmark_extraction(
    input: Path,
    output_dir: Path,
    layout: Layout = "auto",
    split: str = "all",
    fps: Annotated[float | None, Field(gt=0, le=1000)] = None,
    model: str = "holistic",
    format: LandmarkFormat = "npz",
    fill_gaps: FillGaps = 0,
    rescue_hands: bool = False,
    normalize: Normalization = "none",
    overlay: bool = False,
    device: Device = "cpu",
    on_damage: OnDamage = "skip",
    execution: Execution = Execution(),
) -> State[Any]:
    """Find the landmarks of body, face and hands in every frame of folders of pictures and of videos.

    Args:
        input: Folder of the collection, or a manifest of its samples
        output_dir: Folder for a folder a split, summary.json, items.parquet, failures.json and report.html
        layout: How the collection lies in its folder
        split: train, dev, test or another split of the collection, or all of them
        fps: Frames a second of folders of pictures; by default 25
        model: holistic, hands, pose, face, or the path of a .task file
        format: Format of the landmarks
        fill_gaps: Most frames in a row that are filled in between two frames that have the part
        rescue_hands: Look again, around the wrists, for hands that the holistic model lost
        normalize: Put the middle of the shoulders at the origin, and their distance to one
        overlay: Write a clip of each sample with the skeleton drawn
        device: What the model runs on
        on_damage: Damaged frames and truncated videos: skip and report them, or fail the sample
        execution: How the run is carried out
    """
    parameters = dict(locals())
    inputs = read_inputs(input, layout, split, fps, model, format, rescue_hands, normalize, device, execution)
    params = LandmarkParams(
        kind=inputs.model.kind,
        format=format,
        fill_gaps=fill_gaps,
        rescue_hands=rescue_hands,
        normalize=normalize,
        overlay=overlay,
        device=device,
        on_damage=on_damage,
    )
    stage = LandmarksStage(params, inputs.model, inputs.rescue)
    with batch_run("landmark-extraction", output_dir, execution, parameters) as run:
        run.note(inputs.collection.notes)
        outcomes = run.stage(stage, plan_samples(inputs.collection)).outcomes
        accounts = _accounts(inputs.collection.samples, outcomes, run.run_id)
        run.pictures += best_and_worst([_preview(account) for account in accounts if account.values], output_dir)
        state = run.finish()
        if run.summary:
            write_split_files(
                run.output_dir, accounts, run.summary.slots, run.summary.wall_seconds, stage.model_digests()
            )
        return state


def _accounts(samples: Iterable[Sample], outcomes: Iterable[Outcome], run_id: str) -> list[SampleAccount]:
    """What became of each sample, in the words of this flow."""
    found = {outcome.id: outcome for outcome in outcomes}
    return [_account(sample, found[sample.id], run_id) for sample in samples if sample.id in found]


def _account(sample: Sample, outcome: Outcome, run_id: str) -> SampleAccount:
    is_done = outcome.outcome in ("done", "cached")
    ran = is_done or outcome.run_id == run_id  # a failure that --keep-failed keeps took its time in another run
    return SampleAccount(
        id=sample.id,
        split=sample.split,
        name=sample.name,
        outcome=outcome.outcome,
        annotation=sample.annotation,
        fields=sample.fields,
        failure_kind=outcome.failure_kind,
        message=outcome.message or None,
        attempts=outcome.attempts,
        seconds=outcome.usage.seconds if ran else None,
        cpu_seconds=outcome.usage.cpu_seconds if ran else None,
        values=outcome.values if is_done else None,
        outputs=outcome.outputs,
        title=sample.title,
        path=sample.path,
    )


def _preview(account: SampleAccount) -> PreviewRow:
    values: Mapping[str, Any] = account.values or {}
    path = preview_path(account.split, account.name)
    return PreviewRow(account.title or account.name, account.split, values, values["frames"], path)
