"""The stage that shows a video before and after processing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace, get_published_file
from tasks.media.segment_stages.work import Work, WorkPayload
from tasks.media.segments.source import Survey


@dataclass(frozen=True)
class BeforeAfter:
    """A source video with its survey, and the video derived from it."""

    output_dir: Path
    source: Path
    survey: Survey
    result: Path


class PreviewStageBase(Stage, Generic[Work]):
    """Shows one video. The item's only input is the source; the digest of the joined video is part of the key."""

    name: ClassVar[str] = "previews"
    version: ClassVar[int] = 1
    memory_bytes: ClassVar[int] = 768 * 2**20
    timeout_seconds: ClassVar[float] = 1800.0
    packages: ClassVar[tuple[str, ...]] = ("av", "opencv-contrib-python")

    @property
    @abstractmethod
    def payload(self) -> WorkPayload[Work]:
        """The payload of this stage's items."""

    @abstractmethod
    def draw_sheet(self, video: Work, videos: BeforeAfter) -> bytes:
        """Return the contact sheet as a JPEG."""

    def write_clip(self, video: Work, videos: BeforeAfter, work: Workspace) -> None:
        """Write a clip, if the stage's parameters ask for one."""

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Write the contact sheet, and the clip if there is one. Raises BadInput if a video cannot be read."""
        video = self.payload.load_work(item.payload)
        output_dir = work.output_dir
        videos = BeforeAfter(
            output_dir=output_dir,
            source=work.input(item.inputs[0]),
            survey=video.load_survey(output_dir),
            result=get_published_file(output_dir, video.result_path),
        )
        work.output(get_sheet_path(video.id)).write_bytes(self.draw_sheet(video, videos))
        self.write_clip(video, videos, work)
        return StageResult()


def make_preview_item(item: Item, work: Mapping[str, Any], digests: Iterable[str]) -> Item:
    """Return the item that shows a video; ``item`` is any other item of that video.

    ``work`` is its work as JSON values, ``digests`` are the sha256 of the joined video's files.
    """
    payload = {"work": dict(work), "digests": list(digests)}
    return replace(item, payload=payload, cost=1.0, fields={})


def get_sheet_path(video: str) -> str:
    """Return the path of the contact sheet of the video with that ID, relative to the output folder."""
    return f"previews/{video}.jpg"
