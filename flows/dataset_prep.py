"""Frames out of videos, and the training dataset made of them: ``python flows/dataset_prep.py --help``."""

if __name__ == "__main__":  # before the imports below: the local Prefect API starts while Prefect is imported
    from tasks.launcher.command import main

    raise SystemExit(main("flows.dataset_prep"))

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from tasks.batch import batch_run
from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.manifest import check_priority
from tasks.frames.contact_sheets import render_contact_sheets
from tasks.frames.dataset import (
    DatasetParams,
    DatasetStage,
    Format,
    check_columns,
    index_details,
    plan_dataset,
)
from tasks.frames.manifest import Sample, plan_videos, read_samples
from tasks.frames.params import FramesParams, ImageFormat, Resize, Share, Strategy
from tasks.frames.splits import assign_splits, parse_splits
from tasks.frames.stage import FramesStage
from tasks.media.damage import OnDamage


@dataclass(frozen=True)
class Inputs:
    """The samples to make, where their videos are, the split of each by id, and what the user should know of them."""

    samples: list[Sample]
    videos_dir: Path
    split_of: dict[str, str]
    notes: list[str]


def read_inputs(
    manifest: Path | None = None,
    videos_dir: Path | None = None,
    format: Format = "jsonl",
    splits: str | None = None,
    group_by: str | None = None,
    execution: Execution = Execution(),
) -> Inputs:
    """Read and check what the flow works on. Raises InvalidInput with everything that is wrong."""
    folder = videos_dir or (manifest.parent if manifest else None)
    if folder is None:
        nothing = Problem("--manifest, --videos-dir", "neither", "one of them, or both", "name the videos to work on")
        raise InvalidInput([nothing])
    notes: list[str] = []
    samples, problems = read_samples(manifest, folder, notes)
    shares, share_problems = parse_splits(splits)
    split_of, split_problems = assign_splits(samples, shares, group_by)
    column_problems = check_columns(samples, DatasetParams(format=format))
    priority_problems = check_priority(execution, (sample.fields for sample in samples))
    found = [*problems, *share_problems, *split_problems, *column_problems, *priority_problems]
    if found:
        raise InvalidInput(found)
    return Inputs(samples, folder, split_of, notes)


@flow(name="dataset-prep", flow_run_name="dataset-prep {output_dir}", persist_result=False)
def dataset_prep(
    output_dir: Path,
    manifest: Path | None = None,
    videos_dir: Path | None = None,
    max_frames: Annotated[int, Field(ge=1, le=10_000)] = 8,
    strategy: Strategy = "support-then-uniform",
    image_format: ImageFormat = "jpg",
    quality: Annotated[int, Field(ge=1, le=100)] = 90,
    resize: Resize | None = None,
    format: Format = "jsonl",
    splits: str | None = None,
    group_by: str | None = None,
    on_damage: OnDamage = "skip",
    verify_frames: Share = 0.0,
    execution: Execution = Execution(),
) -> State[Any]:
    """Take frames out of videos and make a training dataset of them.

    Args:
        output_dir: Folder for frames/, dataset/, summary.json, items.parquet, failures.json and report.html
        manifest: train.json, JSON, JSONL, CSV or Parquet with id and video_path; without it, every video of the folder
        videos_dir: Folder that the manifest's video paths start from; by default the manifest's own
        max_frames: Most frames a sample
        strategy: Support timestamps first and evenly spaced frames after, or only one of the two
        image_format: Format of the frames
        quality: Quality of jpg and webp, 1 to 100
        resize: WIDTHxHEIGHT, or the longest side, in pixels
        format: Format of the dataset
        splits: Shares of the splits, such as train=0.9,val=0.1
        group_by: Column whose values no two splits share; by default the video
        on_damage: Damaged frames and truncated videos: skip and report them, or fail the video
        verify_frames: Share of the frames to compare with a decode of the whole video, 0 to 1
        execution: How the run is carried out
    """
    parameters = dict(locals())
    inputs = read_inputs(manifest, videos_dir, format, splits, group_by, execution)
    params = FramesParams(
        max_frames=max_frames,
        strategy=strategy,
        image_format=image_format,
        quality=quality,
        resize=resize,
        on_damage=on_damage,
        verify_frames=verify_frames,
    )
    dataset_params = DatasetParams(format=format)
    with batch_run("dataset-prep", output_dir, execution, parameters) as run:
        run.note(inputs.notes)
        frames = run.stage(FramesStage(params), plan_videos(inputs.samples, inputs.videos_dir))
        if frames.complete:
            found = index_details(record.detail for record in frames.records())
            run.stage(
                DatasetStage(dataset_params),
                plan_dataset(inputs.samples, found, dataset_params, inputs.split_of),
                prune=True,
            )
            titles = {sample.id: sample.title for sample in inputs.samples}
            run.pictures += render_contact_sheets(found.values(), output_dir, titles=titles)
        return run.finish()
