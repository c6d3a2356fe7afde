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

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Scalar, Stage, StageResult, Workspace
from tasks.frames.encoding import encoded, resized
from tasks.frames.params import FramesParams
from tasks.frames.sampling import Pick, Selection, select
from tasks.frames.verification import Extracted, choose_frames, image_digest, verify_frames
from tasks.media.damage import OnDamage, check_truncation, damaged_frames_error, truncation_values
from tasks.media.reading import DamagedFrame, FrameImage, UnreliableIndexError, VideoInfo, VideoReader
from tasks.media.truncation import Truncation

_BEYOND = "is missing: the file is truncated before this time"


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


@dataclass(frozen=True)
class BadFrameRow:
    """One frame that a sample should have got and that cannot be read. ``frame_index`` is None if it is not there."""

    source: str
    requested_seconds: float
    frame_index: int | None
    reason: str


@dataclass(frozen=True)
class Taken:
    """Everything that was read of one video: frames by sample, damaged ones by index, extracted ones by index."""

    info: VideoInfo
    truncation: Truncation | None
    selections: Mapping[str, Selection]
    rows: Mapping[str, Sequence[FrameRow]]
    bad: Mapping[int, str]
    extracted: Mapping[int, Extracted]


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
        """Write the frames of the item's samples.

        Raises BadInput if not one wanted frame can be read, or with ``on_damage="fail"`` if any cannot; and
        FrameMismatchError if the frames are not those of a full decode.
        """
        path = work.input(item.inputs[0])
        samples = [Sample(str(row["id"]), tuple(row["support_seconds"])) for row in item.payload["samples"]]
        try:
            taken = self._take(path, samples, work, by_decoding=False)
        except UnreliableIndexError:
            shutil.rmtree(work.outputs / "frames", ignore_errors=True)
            taken = self._take(path, samples, work, by_decoding=True)
        verified = self._verify(item.id, path, taken)
        return _result(item.payload["video"], taken, verified)

    def _take(self, path: Path, samples: Sequence[Sample], work: Workspace, by_decoding: bool) -> Taken:
        with VideoReader(path, by_decoding) as reader:
            check_truncation(path.name, reader.truncation, self.params.on_damage)
            selections = {
                sample.id: select(
                    reader.timeline, sample.support_seconds, self.params, _whole_seconds(reader.truncation)
                )
                for sample in samples
            }
            rows, bad, extracted = self._write(reader, selections, work)
            _check_damage(path.name, bad, bool(extracted), self.params.on_damage)
            return Taken(reader.info, reader.truncation, selections, rows, bad, extracted)

    def _write(
        self, reader: VideoReader, selections: Mapping[str, Selection], work: Workspace
    ) -> tuple[dict[str, list[FrameRow]], dict[int, str], dict[int, Extracted]]:
        """Read the union of all wanted frames in one pass, and write each for every sample that wants it.

        Returns the rows by sample, the reasons why frames cannot be read, by index, and what was read, by index.
        """
        wishes: dict[int, list[tuple[str, Pick]]] = defaultdict(list)
        for sample, selection in selections.items():
            for pick in selection.picks:
                wishes[pick.index].append((sample, pick))
        rows: dict[str, list[FrameRow]] = {sample: [] for sample in selections}
        bad: dict[int, str] = {}
        extracted: dict[int, Extracted] = {}
        for frame in reader.frames_or_damage(list(wishes)):
            if isinstance(frame, DamagedFrame):
                bad[frame.frame_index] = frame.reason
                continue
            extracted[frame.frame_index] = Extracted(frame.pts, self._digest(frame))
            picture = resized(frame.image, self.params.resize)
            data = encoded(picture, self.params)
            digest = hashlib.sha256(data).hexdigest()
            for sample, pick in wishes[frame.frame_index]:
                relative = f"frames/{sample}/{len(rows[sample]):04d}.{self.params.image_format}"
                work.output(relative).write_bytes(data)
                rows[sample].append(_row(relative, pick, frame, picture.shape[:2], digest))
        return rows, bad, extracted

    def _digest(self, frame: FrameImage) -> str:
        return image_digest(frame.image) if self.params.verify_frames else ""

    def _verify(self, item_id: str, path: Path, taken: Taken) -> int:
        """Return the number of verified frames. Raises FrameMismatchError if they differ from a full decode."""
        chosen = choose_frames(item_id, list(taken.extracted), self.params.verify_frames)
        if chosen:
            is_damaged = bool(taken.bad) or taken.truncation is not None
            verify_frames(path, {index: taken.extracted[index] for index in chosen}, is_damaged)
        return len(chosen)


def _whole_seconds(truncation: Truncation | None) -> float:
    """Return the duration of the whole video, if it is truncated: infinity if unknown; else 0."""
    if truncation is None:
        return 0.0
    return math.inf if truncation.stated_seconds is None else truncation.stated_seconds


def _check_damage(name: str, bad: Mapping[int, str], has_good: bool, on_damage: OnDamage) -> None:
    """Raise BadInput if the frames at ``bad`` are not accepted, or there are no others."""
    if bad and (on_damage == "fail" or not has_good):
        frames = sorted(bad)
        raise damaged_frames_error(name, frames, bad[frames[0]])


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


def _result(video: str, taken: Taken, verified: int) -> StageResult:
    """The columns and the detail of one finished video."""
    info, selections = taken.info, taken.selections
    values: dict[str, Scalar] = {
        "samples": len(selections),
        "frames": sum(len(frames) for frames in taken.rows.values()),
        "bad_frames": sum(len(_bad_rows(selection, taken.bad)) for selection in selections.values()),
        "verified_frames": verified,
        "outside_timestamps": sum(len(selection.outside) for selection in selections.values()),
        "repeated_timestamps": sum(len(selection.repeated) for selection in selections.values()),
        "dropped_timestamps": sum(len(selection.dropped) for selection in selections.values()),
        "width_px": info.width_px,
        "height_px": info.height_px,
        "fps": info.fps,
        "duration_seconds": info.duration_seconds,
        "video_frames": info.frames,
        "video_codec": info.codec,
        **truncation_values(taken.truncation),
    }
    detail = [_sample_detail(sample, video, selections[sample], taken) for sample in selections]
    return StageResult(values, {"samples": detail})


def _sample_detail(sample: str, video: str, selection: Selection, taken: Taken) -> dict[str, Any]:
    """A sample's entry in the record, JSON values only."""
    return {
        "id": sample,
        "video": video,
        "frames": [asdict(row) for row in taken.rows[sample]],
        "bad_frames": [asdict(row) for row in _bad_rows(selection, taken.bad)],
        "outside_seconds": _finite(selection.outside),
        "repeated_seconds": list(selection.repeated),
        "dropped_seconds": list(selection.dropped),
    }


def _bad_rows(selection: Selection, bad: Mapping[int, str]) -> list[BadFrameRow]:
    """The frames that the sample should have got and did not, in time order."""
    damaged = [
        BadFrameRow(pick.source, pick.requested_seconds, pick.index, bad[pick.index])
        for pick in selection.picks
        if pick.index in bad
    ]
    missing = [BadFrameRow("support", seconds, None, _BEYOND) for seconds in sorted(selection.missing)]
    return [*damaged, *missing]


def _finite(seconds: Sequence[float]) -> list[float | None]:
    """The same, with ``None`` for what JSON has no word for: infinities and what is not a number."""
    return [time if math.isfinite(time) else None for time in seconds]
