"""The stage that downloads a video into the output folder."""

from __future__ import annotations

from typing import ClassVar

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Lane, NoParams, Stage, StageResult, Workspace
from tasks.overlays.sources import FetchLimits, fetch_video
from tasks.overlays.video_source import VideoSource


class FetchStage(Stage):
    """Downloads one video. The item has no input; its payload is the URL. The limits do not affect keys."""

    name: ClassVar[str] = "downloads"
    version: ClassVar[int] = 1
    lane: ClassVar[Lane] = "io"
    memory_bytes: ClassVar[int] = 256 * 2**20
    timeout_seconds: ClassVar[float] = 24 * 3600.0
    packages: ClassVar[tuple[str, ...]] = ("requests",)

    def __init__(self, limits: FetchLimits) -> None:
        super().__init__(NoParams())
        self._limits = limits

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Download the video. Raises BadInput for permanent failures, TransientError for temporary ones."""
        path = fetch_video(item.payload["url"], work.scratch, self._limits)
        path.replace(work.output(f"downloads/{item.id}{path.suffix}"))
        return StageResult({"url": item.payload["url"]})


def make_fetch_item(source: VideoSource) -> Item:
    """Return the item of a video with a URL."""
    return Item(source.id, {"url": source.url}, name=source.file_name)
