"""The stage that joins the cleaned segments of a video, adds its audio and verifies the result."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Value
from tasks.media.segment_stages.join_stage import JoinStageBase
from tasks.media.segment_stages.work import WorkPayload
from tasks.overlays.prepared import Prepared
from tasks.overlays.work import VIDEO_PAYLOAD, PlannedVideo, VideoWork


class JoinStage(JoinStageBase[VideoWork]):
    """Joins one video; a video without overlays has no segments and is copied."""

    name: ClassVar[str] = "videos"
    version: ClassVar[int] = 2
    copies_source: ClassVar[bool] = True

    @property
    def payload(self) -> WorkPayload[VideoWork]:
        """The payload of this stage's items."""
        return VIDEO_PAYLOAD

    def describe(self, item: Item, work: VideoWork) -> dict[str, Value]:
        """Return the columns of detection and removal."""
        return {
            "overlays": item.payload["found"],
            "reason": item.payload["reason"],
            "method": work.method,
            "copied": not item.payload["segments"],
        }


def make_join_item(planned: PlannedVideo) -> Item:
    """Return the item of a video whose segments are cleaned first."""
    prepared = planned.prepared
    payload = VIDEO_PAYLOAD.dump(planned.work, planned.segments)
    payload |= {"found": prepared.found, "reason": prepared.reason}
    frames = planned.segments[-1].end_frame if planned.segments else 1
    return replace(make_bare_item(prepared), payload=payload, cost=float(frames))


def make_bare_item(prepared: Prepared) -> Item:
    """Return the item of a video without a plan."""
    source = prepared.source
    return Item(prepared.video, {}, (str(prepared.path),), 0.0, name=source.file_name, path=source.relative)
