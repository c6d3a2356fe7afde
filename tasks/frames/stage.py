"""The stage of dataset_prep: one video in, the frames of all its samples out."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from tasks.engine.items import Item
from tasks.engine.stage import Scalar, Stage, StageResult, Workspace
from tasks.frames.encoding import encoded, resized
from tasks.frames.params import FramesParams
from tasks.frames.sampling import Pick, Selection, select
from tasks.media.reading import FrameImage, UnreliableIndexError, VideoReader


@dataclass(frozen=True)
class Sample:
    """One sample of a manifest that shows this video. ``support_seconds`` count from the first shown frame."""

    id: str
    support_seconds: tuple[float, ...]


@dataclass(frozen=True)
class FrameRow:
    """One written frame. ``path`` is relative to the output folder, ``sha256`` of the file's bytes."""

    path: str
    source: str
    requested_seconds: float
    actual_seconds: float
    pts: int
    time_base: str
    frame_index: int
    keyframe_distance_frames: int
    width_px: int
    height_px: int
    sha256: str


class FramesStage(Stage):
    """Takes the frames of every sample of one video, decoding the video once.

    The item's only input is the video; its payload is ``{"video": relative path, "samples": [{"id",
    "support_seconds"}, ...]}``. Frames are published as ``frames/<sample id>/NNNN.<format>``.
    """

    name: ClassVar[str] = "frames"
    version: ClassVar[int] = 2
    # Measured: 130 MiB for 720p, 190 for 1080p, 470 for 2160p; 10-bit HEVC at 2160p with its 16 references: 780.
    memory_bytes: ClassVar[int] = 512 * 2**20
    packages: ClassVar[tuple[str, ...]] = ("av", "opencv-contrib-python-headless")
    params: FramesParams

    def __init__(self, params: FramesParams) -> None:
        super().__init__(params)

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Write the frames of the item's samples. Raises BadInput where the video or a wanted frame is damaged."""
        path = work.input(item.inputs[0])
        samples = [Sample(str(row["id"]), tuple(row["support_seconds"])) for row in item.payload["samples"]]
        try:
            return self._take(path, item.payload["video"], samples, work, by_decoding=False)
        except UnreliableIndexError:
            shutil.rmtree(work.outputs / "frames", ignore_errors=True)
            return self._take(path, item.payload["video"], samples, work, by_decoding=True)

    def _take(
        self, path: Path, video: str, samples: Sequence[Sample], work: Workspace, by_decoding: bool
    ) -> StageResult:
        with VideoReader(path, by_decoding) as reader:
            selections = {sample.id: select(reader.timeline, sample.support_seconds, self.params) for sample in samples}
            rows = self._write(reader, selections, work)
            return _result(video, reader, selections, rows)

    def _write(
        self, reader: VideoReader, selections: Mapping[str, Selection], work: Workspace
    ) -> dict[str, list[FrameRow]]:
        """Read the union of all wanted frames in one pass, and write each for every sample that wants it."""
        wishes: dict[int, list[tuple[str, int, Pick]]] = defaultdict(list)
        for sample, selection in selections.items():
            for number, pick in enumerate(selection.picks):
                wishes[pick.index].append((sample, number, pick))
        rows: dict[str, list[FrameRow]] = {sample: [] for sample in selections}
        for frame in reader.frames(list(wishes)):
            picture = resized(frame.image, self.params.resize)
            data = encoded(picture, self.params)
            digest = hashlib.sha256(data).hexdigest()
            for sample, number, pick in wishes[frame.frame_index]:
                relative = f"frames/{sample}/{number:04d}.{self.params.image_format}"
                work.output(relative).write_bytes(data)
                rows[sample].append(_row(relative, pick, frame, picture.shape[:2], digest))
        return rows


def _row(relative: str, pick: Pick, frame: FrameImage, size: tuple[int, ...], digest: str) -> FrameRow:
    """What is said of a frame of ``size`` (height, width) that was written at ``relative``."""
    height, width = size
    return FrameRow(
        path=relative,
        source=pick.source,
        requested_seconds=pick.requested_seconds,
        actual_seconds=frame.actual_seconds,
        pts=frame.pts,
        time_base=str(frame.time_base),
        frame_index=frame.frame_index,
        keyframe_distance_frames=frame.keyframe_distance_frames,
        width_px=width,
        height_px=height,
        sha256=digest,
    )


def _result(
    video: str, reader: VideoReader, selections: Mapping[str, Selection], rows: Mapping[str, list[FrameRow]]
) -> StageResult:
    """The columns and the detail of one finished video."""
    info = reader.info
    values: dict[str, Scalar] = {
        "samples": len(selections),
        "frames": sum(len(frames) for frames in rows.values()),
        "outside_timestamps": sum(len(selection.outside) for selection in selections.values()),
        "repeated_timestamps": sum(len(selection.repeated) for selection in selections.values()),
        "dropped_timestamps": sum(len(selection.dropped) for selection in selections.values()),
        "width_px": info.width_px,
        "height_px": info.height_px,
        "fps": info.fps,
        "duration_seconds": info.duration_seconds,
        "video_frames": info.frames,
        "video_codec": info.codec,
    }
    detail = [_sample_detail(sample, video, selections[sample], rows[sample]) for sample in selections]
    return StageResult(values, {"samples": detail})


def _sample_detail(sample: str, video: str, selection: Selection, rows: Sequence[FrameRow]) -> dict[str, Any]:
    """A sample's entry in the record, JSON values only."""
    return {
        "id": sample,
        "video": video,
        "frames": [asdict(row) for row in rows],
        "outside_seconds": _finite(selection.outside),
        "repeated_seconds": list(selection.repeated),
        "dropped_seconds": list(selection.dropped),
    }


def _finite(seconds: Sequence[float]) -> list[float | None]:
    """The same, with ``None`` for what JSON has no word for: infinities and what is not a number."""
    return [time if math.isfinite(time) else None for time in seconds]
