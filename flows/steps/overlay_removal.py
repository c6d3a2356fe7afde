"""Stages of overlay-removal: downloads, the overlays of each video, its segments, the joined video and its preview."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from tasks.assembly import Assembly, Whole
from tasks.batch import BatchRun, StageRun
from tasks.engine.contract.errors import BadInput, InvalidInput
from tasks.engine.contract.items import Item
from tasks.engine.store.outcomes import Record
from tasks.media.segment_stages.join_stage import refuse_item
from tasks.media.segment_stages.preview_stage import make_preview_item
from tasks.overlays.fetch_stage import FetchStage, make_fetch_item
from tasks.overlays.gallery import Shown, read_video_gallery
from tasks.overlays.join_stage import JoinStage, make_bare_item, make_join_item
from tasks.overlays.options import CleaningOptions
from tasks.overlays.prepare_stage import PrepareStage, make_prepare_items, read_prepared
from tasks.overlays.prepared import Prepared
from tasks.overlays.preview_stage import PreviewStage
from tasks.overlays.request import Detection
from tasks.overlays.segment_stage import CleanStage, estimate_segment_needs, make_segment_items
from tasks.overlays.size import estimate_cleaned_bytes
from tasks.overlays.sources import FetchLimits
from tasks.overlays.video_source import VideoSource
from tasks.overlays.work import PlannedVideo, plan_video


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
    videos = _fetch_videos(run, sources, limits)
    found = run.stage(PrepareStage(detection.params), make_prepare_items(videos.values(), detection.extra))
    prepared_of = {video.video: video for video in _read_prepared(videos, found)}
    plans = [_plan_video(video, options, run.output_dir) for video in prepared_of.values()]
    needs = estimate_segment_needs((plan for plan in plans if isinstance(plan, PlannedVideo)), devices)
    assembly = Assembly(CleanStage(needs), JoinStage(), scratch_bytes, keep_segments)
    joined = assembly.run(run, [_whole(plan) for plan in plans])
    cleaned = [record for stage_run in joined for record in stage_run.records()]
    run.stage(PreviewStage(), [_preview_item(record, prepared_of) for record in cleaned])
    shown = [Shown(record.id, record.values, videos[record.id].name) for record in cleaned]
    run.pictures += read_video_gallery(shown, run.output_dir)
    return run.finish()


def _fetch_videos(run: BatchRun, sources: Sequence[VideoSource], limits: FetchLimits) -> dict[str, VideoSource]:
    """Return the videos by their ids, without those whose download failed."""
    videos = {source.id: source for source in sources if not source.url}
    remote = {source.id: source for source in sources if source.url}
    if remote:
        for record in run.stage(FetchStage(limits), list(map(make_fetch_item, remote.values()))).records():
            videos[record.id] = replace(remote[record.id], path=run.output_dir / record.outputs[0].path)
    return videos


def _read_prepared(videos: Mapping[str, VideoSource], found: StageRun) -> Iterator[Prepared]:
    """Yield the videos that were prepared, with their overlays."""
    for record in found.records():
        digests = {output.path: output.sha256 for output in record.outputs}
        source = videos[record.id]
        assert source.path is not None, "it was prepared"
        yield read_prepared(record.id, source.path, record.detail, digests, source)


def _plan_video(video: Prepared, options: CleaningOptions, output_dir: Path) -> PlannedVideo | Item:
    """Plan a video; if it cannot be cleaned, return an item that fails with the reason."""
    try:
        return plan_video(video, options, output_dir)
    except (BadInput, InvalidInput) as error:
        return refuse_item(make_bare_item(video), str(error))


def _whole(plan: PlannedVideo | Item) -> Whole:
    if isinstance(plan, Item):
        return Whole(plan, (), 0)
    return Whole(make_join_item(plan), tuple(make_segment_items(plan)), estimate_cleaned_bytes(plan))


def _preview_item(record: Record, prepared_of: Mapping[str, Prepared]) -> Item:
    digests = [output.sha256 for output in record.outputs]
    return make_preview_item(make_bare_item(prepared_of[record.id]), record.detail["work"], digests)
