"""Extract frames from videos and build a training dataset: ``python flows/dataset_prep.py --help``."""

from __future__ import annotations

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("flows.dataset_prep"))

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.execution import Execution
from tasks.frames.params import Format, FramesParams, ImageFormat, Resize, Share, SplitShares, Strategy
from tasks.launcher.batch_flow import Steps, batch_flow, pick
from tasks.media.damage import OnDamage

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from tasks.batch import BatchRun


@batch_flow("dataset-prep", extra="video")
def dataset_prep(
    *,
    videos_dir: Annotated[Path | None, Field(title="Folder of videos")] = None,
    manifest: Annotated[Path | None, Field(title="Manifest (JSON, JSONL, CSV or Parquet)")] = None,
    output_dir: Annotated[Path, Field(title="Output folder")],
    max_frames: Annotated[int, Field(ge=1, le=10_000, title="Maximum frames per sample")] = 8,
    resize: Annotated[Resize | None, Field(title="Size of the frames (px)")] = None,
    image_format: Annotated[ImageFormat, Field(title="Format of the frames")] = "jpg",
    quality: Annotated[int, Field(ge=1, le=100, title="Quality of jpg and webp (1 to 100)")] = 90,
    strategy: Annotated[Strategy, Field(title="Selection of frames")] = "support-then-uniform",
    format: Annotated[Format, Field(title="Format of the dataset")] = "jsonl",
    splits: Annotated[SplitShares | None, Field(title="Splits (such as train=0.9,val=0.1)")] = None,
    group_by: Annotated[str | None, Field(title="Column that stays within one split")] = None,
    on_damage: Annotated[OnDamage, Field(title="Damaged videos")] = "skip",
    verify_frames: Annotated[Share, Field(title="Share of frames to verify (0 to 1)")] = 0.0,
    execution: Execution = Execution(),
) -> Steps:
    """Extract frames from videos and build a training dataset.

    Args:
        videos_dir: Folder of videos; paths in the manifest are relative to it (default: the manifest's folder)
        manifest: train.json, JSON, JSONL, CSV or Parquet with id and video_path (default: every video of the folder)
        output_dir: Folder for frames/, dataset/, summary.json, items.parquet, failures.json and report.html
        max_frames: Maximum frames per sample
        resize: WIDTHxHEIGHT, or the length of the longer side, in pixels (default: the video's size)
        image_format: Format of the frames
        quality: Quality of jpg and webp, 1 to 100
        strategy: Frames at the support timestamps and then evenly spaced ones, or only one of the two
        format: Format of the dataset
        splits: Shares of the splits, such as train=0.9,val=0.1
        group_by: Column whose values stay within one split (default: the video)
        on_damage: Damaged frames and truncated videos: skip and report them, or fail the video
        verify_frames: Share of the frames to compare with a decode of the whole video, 0 to 1
        execution: Execution options
    """
    folder = videos_dir or (manifest.parent if manifest else None)
    if folder is None:
        problem = Problem("--manifest, --videos-dir", "neither", "one of them, or both", "choose the videos to process")
        raise InvalidInput([problem])
    from tasks.engine.contract.manifest import check_priority
    from tasks.frames.dataset import DatasetParams, check_columns
    from tasks.frames.manifest import read_samples
    from tasks.frames.splits import assign_splits, parse_splits

    notes: list[str] = []
    samples, problems = read_samples(manifest, folder, notes)
    shares, share_problems = parse_splits(splits)
    split_of, split_problems = assign_splits(samples, shares, group_by)
    dataset = DatasetParams(format=format)
    problems = [*problems, *share_problems, *split_problems, *check_columns(samples, dataset)]
    problems += check_priority(execution, (sample.fields for sample in samples))
    if problems:
        raise InvalidInput(problems)
    frames = FramesParams(**pick(FramesParams.model_fields, locals()))

    def steps(run: BatchRun) -> State[Any]:
        from flows.steps.dataset_prep import build_dataset

        run.note(notes)
        return build_dataset(run, samples, folder, split_of, frames, dataset)

    return steps
