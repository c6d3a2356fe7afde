"""The graph of overlay-removal: downloads, overlays of each video, its segments, the joined video, its preview."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from prefect.client.schemas.objects import State

from tasks.batch import BatchRun
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Done, Graph, Whole
from tasks.media.segment_stages.preview_stage import make_preview_item
from tasks.overlays.fetch_stage import FetchStage, make_fetch_item
from tasks.overlays.gallery import Shown, read_video_gallery
from tasks.overlays.join_stage import JoinStage, make_join_item
from tasks.overlays.options import CleaningOptions
from tasks.overlays.prepare_stage import PrepareStage, make_prepare_items, read_prepared
from tasks.overlays.prepared import Prepared
from tasks.overlays.preview_stage import PreviewStage
from tasks.overlays.request import Detection
from tasks.overlays.segment_stage import CleanStage, make_segment_items
from tasks.overlays.size import estimate_cleaned_bytes
from tasks.overlays.sources import FetchLimits
from tasks.overlays.video_source import VideoSource
from tasks.overlays.work import plan_video


def remove_overlays(
    run: BatchRun,
    sources: Sequence[VideoSource],
    limits: FetchLimits,
    detection: Detection,
    options: CleaningOptions,
    devices: int | None,
    scratch_bytes: int | None,
    keep_segments: bool,
) -> State[Any]:
    """Fetch the ``sources`` that are URLs, then find and remove the overlays of every video."""
    videos = {source.id: source for source in sources}

    def prepare(fetched: Done) -> Item:
        (path,) = fetched.digests
        videos[fetched.id] = replace(videos[fetched.id], path=run.output_dir / path)
        return make_prepare_items([videos[fetched.id]], detection.extra)[0]

    def plan(prepared: Done) -> Whole:
        planned = plan_video(_read_prepared(videos[prepared.id], prepared), options, run.output_dir)
        joined, size_bytes = make_join_item(planned), estimate_cleaned_bytes(planned)
        return Whole(joined, lambda: make_segment_items(planned), size_bytes)

    graph = Graph(scratch_bytes)
    downloads = graph.node(FetchStage(limits), [make_fetch_item(source) for source in sources if source.url])
    local = make_prepare_items([source for source in sources if not source.url], detection.extra)
    prepared = graph.node(PrepareStage(detection.params), local, after=downloads, each=prepare)
    segments = graph.parts(CleanStage(devices), after=prepared, keeps=keep_segments)
    cleaned = graph.node(JoinStage(), after=prepared, each=plan, parts=segments)
    graph.node(PreviewStage(), after=cleaned, each=_make_preview)
    run.execute(graph)
    shown = [Shown(record.id, record.values, videos[record.id].name) for record in run.get_records(cleaned)]
    run.pictures += read_video_gallery(shown, run.output_dir)
    return run.finish()


def _read_prepared(source: VideoSource, prepared: Done) -> Prepared:
    assert source.path is not None, "it was prepared"
    return read_prepared(source.id, source.path, prepared.record.detail, prepared.digests, source)


def _make_preview(cleaned: Done) -> Item:
    return make_preview_item(cleaned.item, cleaned.record.detail["work"], cleaned.digests.values())
