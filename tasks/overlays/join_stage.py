"""The stage that joins a video's cleaned segments, with its sound, and checks what comes of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any, ClassVar

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import NoParams, Stage, StageResult, Value, Workspace
from tasks.media.segments.joining import JoinPlan, join_segments
from tasks.media.segments.verify import read_reports, verify_joined
from tasks.overlays.prepared import Prepared
from tasks.overlays.work import PlannedVideo, as_payload, clock_of, from_payload


class JoinStage(Stage):
    """Joins one video; one over which nothing lies is copied as it is.

    The item's only input is the video; its payload is a VideoWork and all segments. The segments' files enter no key:
    they are made of the same video by the same work, and are removed when it is done.
    """

    name: ClassVar[str] = "videos"
    version: ClassVar[int] = 1
    memory_bytes: ClassVar[int] = 512 * 2**20
    timeout_seconds: ClassVar[float] = 3600.0
    packages: ClassVar[tuple[str, ...]] = ("av",)

    def __init__(self) -> None:
        super().__init__(NoParams())

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Join, verify, and say what was lost.

        Raises BadInput where the video's options cannot be had for it or segments are missing, SegmentError where they
        do not make the whole.
        """
        if "refused" in item.payload:
            raise BadInput(item.payload["refused"])
        (video, segments), source = from_payload(item.payload), work.input(item.inputs[0])
        found = video.survey(work.output_dir)
        values: dict[str, Value] = {
            "overlays": item.payload["found"],
            "reason": item.payload["reason"],
            "method": video.method,
            "segments": len(segments),
            "missing": found.damage.reason if found.damage else None,
        }
        if not segments:
            shutil.copyfile(source, work.output(video.cleaned))
            timeline = found.timeline
            return _result(item, values | _untouched(len(timeline), timeline.duration_seconds))
        reports = read_reports([work.output_dir / video.report(segment) for segment in segments])
        files = tuple(work.output_dir / video.file(segment) for segment in segments)
        plan = JoinPlan(source, found, clock_of(found), segments, files)
        joined = join_segments(plan, work.output(video.cleaned))
        report = verify_joined(joined, plan, reports)
        values |= {
            "copied": False,
            "frames": report.frames,
            "duration_seconds": report.duration_seconds,
            "not_carried": list(joined.lost),
            "converted": [str(one) for one in joined.converted],
            "damaged_frames": sum(one.damaged_frames for one in reports),
            "sound_late_seconds": report.sound_late_seconds,
        }
        return _result(item, values)


def join_item(planned: PlannedVideo) -> Item:
    """The item of a video whose segments are cleaned first."""
    known = planned.prepared
    payload = as_payload(planned.work, planned.segments) | {"found": known.found, "reason": known.reason}
    frames = planned.segments[-1].end_frame if planned.segments else 1
    return replace(bare_item(known), payload=payload, cost=float(frames))


def bare_item(known: Prepared) -> Item:
    """The item of a video of which it is not known what is to be done."""
    source = known.source
    return Item(known.video, {}, (str(known.path),), 0.0, name=source.file_name, path=source.relative)


def refused(item: Item, why: str) -> Item:
    """The item of a video for which what is asked for cannot be had: it fails, and says ``why``."""
    return replace(item, payload={"refused": why})


def _untouched(frames: int, seconds: float) -> dict[str, Value]:
    """The values of a video that was copied."""
    return {
        "copied": True,
        "frames": frames,
        "duration_seconds": seconds,
        "not_carried": [],
        "converted": [],
        "damaged_frames": 0,
        "sound_late_seconds": 0.0,
    }


def _result(item: Item, values: dict[str, Value]) -> StageResult:
    detail: dict[str, Any] = {"work": item.payload["work"]}
    return StageResult(values, detail)
