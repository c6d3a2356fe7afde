"""The stage that shows what was done to a video: a sheet of frames before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pydantic import TypeAdapter

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import NoParams, Stage, StageResult, Workspace
from tasks.overlays.pictures import comparison_sheet
from tasks.overlays.video_source import VideoSource
from tasks.overlays.work import VideoWork

_WORK = TypeAdapter(VideoWork)


class PreviewStage(Stage):
    """Shows one video. The item's only input is the video; what was cleaned enters the key by its digest."""

    name: ClassVar[str] = "previews"
    version: ClassVar[int] = 1
    memory_bytes: ClassVar[int] = 768 * 2**20
    timeout_seconds: ClassVar[float] = 1800.0
    packages: ClassVar[tuple[str, ...]] = ("av", "opencv-contrib-python-headless")

    def __init__(self) -> None:
        super().__init__(NoParams())

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Make the sheet. Raises BadInput where a video cannot be read."""
        video = _WORK.validate_python(item.payload["work"])
        found, overlays = video.survey(work.output_dir), video.overlays(work.output_dir)
        source, cleaned = work.input(item.inputs[0]), work.output_dir / video.cleaned
        work.output(sheet_path(video.video)).write_bytes(comparison_sheet(source, found, cleaned, overlays))
        return StageResult()


def preview_item(source: VideoSource, work: Mapping[str, Any], digests: Iterable[str]) -> Item:
    """The item of a video; ``work`` is its VideoWork as JSON, ``digests`` are those of what was cleaned."""
    payload = {"work": dict(work), "digests": list(digests)}
    return Item(source.id, payload, (str(source.path),), name=source.file_name, path=source.relative)


def sheet_path(video: str) -> str:
    """Where the sheet of the video with that id is published, relative to the output folder."""
    return f"previews/{video}.jpg"
