"""Extract frames from videos and build a training dataset: ``python flows/dataset_prep.py --help``."""

from __future__ import annotations

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("flows.dataset_prep"))

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.execution import Bytes, Execution
from tasks.frames.params import (
    Alpha,
    Aspect,
    Audio,
    Clips,
    Crop,
    Deinterlace,
    Every,
    Format,
    Hdr,
    ImageFormat,
    Labels,
    License,
    Rate,
    Resize,
    Seconds,
    Share,
    SplitShares,
    Strategy,
    TimeOrigin,
    check_frames,
    choose_frames,
)
from tasks.launcher.batch_flow import Steps, batch_flow
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
    max_frames: Annotated[
        Annotated[int, Field(ge=1, le=1_000_000)] | None, Field(title="Maximum frames per sample")
    ] = None,
    resize: Annotated[Resize | None, Field(title="Size of the frames (px)")] = None,
    image_format: Annotated[ImageFormat, Field(title="Format of the frames")] = "jpg",
    quality: Annotated[int, Field(ge=1, le=100, title="Quality of jpg, webp and avif (1 to 100)")] = 90,
    square_pixels: Annotated[bool, Field(title="Square pixels")] = False,
    crop: Annotated[Crop | None, Field(title="Rectangle to keep (px)")] = None,
    center_crop: Annotated[Aspect | None, Field(title="Center to keep (such as 1:1)")] = None,
    pad: Annotated[Aspect | None, Field(title="Black borders up to (such as 1:1)")] = None,
    deinterlace: Annotated[Deinterlace, Field(title="Deinterlace")] = "off",
    hdr: Annotated[Hdr, Field(title="HDR")] = "keep",
    depth: Annotated[Literal[8, 16], Field(title="Bits per channel")] = 8,
    alpha: Annotated[Alpha, Field(title="Alpha channel")] = "drop",
    strategy: Annotated[Strategy, Field(title="Selection of frames")] = "support-then-uniform",
    fps: Annotated[Rate | None, Field(title="Frames per second of the video")] = None,
    every: Annotated[Every | None, Field(title="A frame every N frames, or every Ns seconds")] = None,
    all: Annotated[bool, Field(title="All frames")] = False,
    keyframes: Annotated[bool, Field(title="All keyframes")] = False,
    random: Annotated[Annotated[int, Field(ge=1)] | None, Field(title="Random frames per sample")] = None,
    seed: Annotated[Annotated[int, Field(ge=0)] | None, Field(title="Seed of the random frames")] = None,
    shots: Annotated[Annotated[int, Field(ge=1)] | None, Field(title="Frames per shot")] = None,
    frames: Annotated[bool, Field(title="Extract frames")] = True,
    clips: Annotated[Clips, Field(title="Clips of the samples")] = "none",
    audio: Annotated[Audio, Field(title="Audio files of the samples")] = "none",
    start: Annotated[Seconds | None, Field(title="Start of each sample (s)")] = None,
    end: Annotated[Seconds | None, Field(title="End of each sample (s)")] = None,
    time_origin: Annotated[TimeOrigin, Field(title="Origin of all times")] = "file",
    format: Annotated[Format, Field(title="Format of the dataset")] = "jsonl",
    embed_images: Annotated[bool, Field(title="Put the images into the dataset's folder")] = True,
    shard_samples: Annotated[Annotated[int, Field(ge=1)] | None, Field(title="Samples per shard")] = None,
    shard_bytes: Annotated[Bytes | None, Field(title="Size of a shard (such as 500MB)")] = None,
    license: Annotated[License | None, Field(title="License of the dataset (such as cc-by-4.0)")] = None,
    labels: Annotated[Labels, Field(title="Labels of the videos")] = "none",
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
        max_frames: Maximum frames per sample (default: 8; no limit for all, fps, every, keyframes, random and shots)
        resize: WIDTHxHEIGHT, or the length of the longer side, in pixels (default: the video's size)
        image_format: Format of the frames
        quality: Quality of jpg, webp and avif, 1 to 100
        square_pixels: Scale the width by the pixel aspect ratio, as players do
        crop: Keep a rectangle, WIDTHxHEIGHT+LEFT+TOP, in pixels
        center_crop: Keep the center with an aspect ratio, such as 1:1
        pad: Add black borders up to an aspect ratio, such as 1:1
        deinterlace: flagged deinterlaces the frames that are flagged as interlaced
        hdr: sdr maps PQ and HLG to SDR, keep writes their values as stored
        depth: Bits per channel; 16 for png only
        alpha: Drop the alpha channel, keep it, or flatten it on black or white
        strategy: Frames at the support timestamps and then evenly spaced ones or those of a rule, or only one of them
        fps: Rule: frames per second of the video
        every: Rule: every N-th frame (10), or a frame every so many seconds (2s)
        all: Rule: all frames
        keyframes: Rule: all frames from which decoding can start
        random: Rule: number of random frames per sample
        seed: Seed of the random frames (default: 0)
        shots: Rule: frames per shot
        frames: Extract frames; without, only clips and audio
        clips: copy cuts whole GOPs without encoding, exact encodes the exact frames again
        audio: Extract the audio of each sample as flac or wav
        start: Start of the samples in their videos, in seconds, for rows without a column start
        end: End of the samples in their videos, in seconds, for rows without a column end
        time_origin: Times count from the start of the file, as in players, or from the first frame
        format: Format of the dataset
        embed_images: Put the images into the dataset's folder, so that uploading it loses nothing
        shard_samples: Maximum samples per shard of webdataset and parquet (default: 1000)
        shard_bytes: Maximum size of a shard of webdataset and parquet, such as 500MB (default: 1GiB)
        license: License of the dataset for its card, such as cc-by-4.0
        labels: folder adds a column label, the name of the folder of each video
        splits: Shares of the splits, such as train=0.9,val=0.1; or folder, the first folder of each video's path
        group_by: Column whose values stay within one split, or content for near-duplicate videos (default: the video)
        on_damage: Damaged frames and truncated videos: skip and report them, or fail the video
        verify_frames: Share of the frames to compare with a decode of the whole video, 0 to 1
        execution: Execution options
    """
    given = dict(locals())
    folder = videos_dir or (manifest.parent if manifest else None)
    if folder is None:
        problem = Problem("--manifest, --videos-dir", "neither", "one of them, or both", "choose the videos to process")
        raise InvalidInput([problem])
    from tasks.engine.contract.manifest import check_priority
    from tasks.frames.dataset import check_columns, check_options, choose_dataset
    from tasks.frames.manifest import add_labels, limit_samples, read_samples
    from tasks.frames.provenance import describe_provenance
    from tasks.frames.splits import plan_splits

    notes: list[str] = []
    samples, problems = read_samples(manifest, folder, notes)
    samples, limit_problems = limit_samples(samples, start, end)
    samples, label_problems = add_labels(samples, labels)
    split_plan, split_problems = plan_splits(samples, splits, group_by)
    problems = [*check_frames(given), *check_options(given), *problems, *limit_problems, *label_problems]
    problems += split_problems
    if not problems:
        problems += check_columns(samples, choose_dataset(given))
    problems += check_priority(execution, (sample.fields for sample in samples))
    if problems:
        raise InvalidInput(problems)
    options, dataset = choose_frames(given), choose_dataset(given)
    provenance = describe_provenance(given, options, samples)

    def steps(run: BatchRun) -> State[Any]:
        from flows.steps.dataset_prep import DatasetRequest, build_dataset

        run.note(notes)
        request = DatasetRequest(samples, folder, split_plan, options, dataset, provenance)
        return build_dataset(run, request)

    return steps
