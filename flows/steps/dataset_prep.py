"""The graph of dataset-prep: the frames of each video, then the dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from tasks.batch import BatchRun
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Graph
from tasks.engine.store.outcomes import Record
from tasks.frames.contact_sheets import render_contact_sheets
from tasks.frames.dataset import DatasetParams, DatasetStage, index_details, plan_dataset
from tasks.frames.duplicates import choose_representatives, find_duplicates
from tasks.frames.duplicates_report import describe_leaks, plan_report
from tasks.frames.manifest import Sample, plan_videos
from tasks.frames.params import FramesParams
from tasks.frames.splits import SplitPlan
from tasks.frames.stage import FramesStage


@dataclass(frozen=True)
class DatasetRequest:
    """Everything that a run of dataset-prep does: samples, their splits, and the options of its stages."""

    samples: Sequence[Sample]
    videos_dir: Path
    splits: SplitPlan
    frames: FramesParams
    dataset: DatasetParams
    provenance: Mapping[str, Any] = field(default_factory=dict)


def build_dataset(run: BatchRun, request: DatasetRequest) -> State[Any]:
    """Extract the frames of the samples; if none is left for a later run, write the dataset."""
    duplicate_notes: list[str] = []

    def collect(records: Iterable[Record]) -> list[Item]:
        details = index_details(record.detail for record in records)
        groups = find_duplicates(details.values())
        split_of = request.splits.assign(request.samples, choose_representatives(groups))
        splits_of_videos: dict[str, set[str]] = {}
        for sample in request.samples:
            splits_of_videos.setdefault(sample.video, set()).add(split_of[sample.id])
        duplicate_notes[:] = describe_leaks(groups, splits_of_videos)
        parts = plan_dataset(request.samples, details, request.dataset, split_of, request.provenance)
        return [*parts, *plan_report(groups, details.values(), split_of)]

    graph = Graph()
    extracted = graph.node(FramesStage(request.frames), plan_videos(request.samples, request.videos_dir))
    graph.table(DatasetStage(request.dataset), after=extracted, collect=collect)
    run.execute(graph)
    if run.is_complete(extracted):
        run.note(duplicate_notes)
        frames_of = index_details(record.detail for record in run.get_records(extracted))
        titles = {sample.id: sample.title for sample in request.samples}
        run.pictures += render_contact_sheets(frames_of.values(), run.output_dir, titles=titles)
    return run.finish()
