"""Stages of dataset-prep: the frames of each video, then the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from tasks.batch import BatchRun
from tasks.frames.contact_sheets import render_contact_sheets
from tasks.frames.dataset import DatasetParams, DatasetStage, index_details, plan_dataset
from tasks.frames.manifest import Sample, plan_videos
from tasks.frames.params import FramesParams
from tasks.frames.stage import FramesStage


def build_dataset(
    run: BatchRun,
    samples: Sequence[Sample],
    videos_dir: Path,
    split_of: Mapping[str, str],
    frames: FramesParams,
    dataset: DatasetParams,
) -> State[Any]:
    """Extract the frames of ``samples``; if none is left for a later run, write the dataset."""
    extracted = run.stage(FramesStage(frames), plan_videos(samples, videos_dir))
    if extracted.complete:
        frames_of = index_details(record.detail for record in extracted.records())
        run.stage(DatasetStage(dataset), plan_dataset(samples, frames_of, dataset, split_of), prune=True)
        titles = {sample.id: sample.title for sample in samples}
        run.pictures += render_contact_sheets(frames_of.values(), run.output_dir, titles=titles)
    return run.finish()
