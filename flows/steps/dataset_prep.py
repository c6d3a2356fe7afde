"""The graph of dataset-prep: the frames of each video, then the dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from tasks.batch import BatchRun
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Graph
from tasks.engine.store.outcomes import Record
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

    def collect(records: Iterable[Record]) -> list[Item]:
        return plan_dataset(samples, index_details(record.detail for record in records), dataset, split_of)

    graph = Graph()
    extracted = graph.node(FramesStage(frames), plan_videos(samples, videos_dir))
    graph.table(DatasetStage(dataset), after=extracted, collect=collect)
    run.execute(graph)
    if run.is_complete(extracted):
        frames_of = index_details(record.detail for record in run.get_records(extracted))
        titles = {sample.id: sample.title for sample in samples}
        run.pictures += render_contact_sheets(frames_of.values(), run.output_dir, titles=titles)
    return run.finish()
