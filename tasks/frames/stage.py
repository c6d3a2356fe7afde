"""The frames stage of dataset_prep: extract the frames of all samples of one video."""

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
from tasks.frames.encoding import encode_image, resize_image
from tasks.frames.params import FramesParams
from tasks.frames.sampling import Pick, Selection, select_frames
from tasks.frames.verification import ExtractedFrame, choose_frames, hash_image, verify_frames
from tasks.media.damage import OnDamage, check_truncation, get_truncation_values, make_damage_error
from tasks.media.reading import DamagedFrame, FrameImage, UnreliableIndexError, VideoInfo, VideoReader
from tasks.media.truncation import Truncation

_MISSING = "is missing: the file is truncated before this time"


@dataclass(frozen=True)
class SampleRequest:
    """Request of one sample for frames of this video. ``support_seconds`` count from the first displayed frame."""

    id: str
    support_seconds: tuple[float, ...]


@dataclass(frozen=True)
class FrameRow:
    """One written frame. ``path`` is relative to the output folder; ``sha256`` is the digest of the file."""

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
    """One requested frame that cannot be read. ``frame_index`` is None if the file ends before it."""

    source: str
    requested_seconds: float
    frame_index: int | None
    reason: str


@dataclass(frozen=True)
class Extraction:
    """Everything read from one video: rows by sample, reasons of damage by index, extracted frames by index."""

    info: VideoInfo
    truncation: Truncation | None
    selections: Mapping[str, Selection]
    rows: Mapping[str, Sequence[FrameRow]]
    bad: Mapping[int, str]
    extracted: Mapping[int, ExtractedFrame]


class FramesStage(Stage):
    """Extract the frames of every sample of one video, decoding the video once.

    The item's only input is the video; its payload is ``{"video": relative path, "samples": [{"id",
    "support_seconds"}, ...]}``. Frames are published as ``frames/<sample id>/NNNN.<format>``.
    """

    name: ClassVar[str] = "frames"
    version: ClassVar[int] = 3
    # Measured: 130 MiB for 720p, 190 for 1080p, 470 for 2160p; 780 for 10-bit HEVC at 2160p with 16 references.
    memory_bytes: ClassVar[int] = 512 * 2**20
    packages: ClassVar[tuple[str, ...]] = ("av", "opencv-contrib-python")
    params: FramesParams

    def __init__(self, params: FramesParams) -> None:
        super().__init__(params)

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Write the frames of the item's samples.

        Raises BadInput if no requested frame can be read, or any cannot with ``on_damage="fail"``, and
        FrameMismatchError if the frames differ from a full decode.
        """
        path = work.input(item.inputs[0])
        samples = [SampleRequest(str(row["id"]), tuple(row["support_seconds"])) for row in item.payload["samples"]]
        try:
            extraction = self._extract(path, samples, work, by_decoding=False)
        except UnreliableIndexError:
            shutil.rmtree(work.outputs / "frames", ignore_errors=True)
            extraction = self._extract(path, samples, work, by_decoding=True)
        verified = self._verify(item.id, path, extraction)
        return _create_result(item.payload["video"], extraction, verified)

    def _extract(self, path: Path, samples: Sequence[SampleRequest], work: Workspace, by_decoding: bool) -> Extraction:
        with VideoReader(path, by_decoding) as reader:
            check_truncation(path.name, reader.truncation, self.params.on_damage)
            selections = {
                sample.id: select_frames(
                    reader.timeline, sample.support_seconds, self.params, _get_full_duration(reader.truncation)
                )
                for sample in samples
            }
            rows, bad, extracted = self._write_frames(reader, selections, work)
            _check_damage(path.name, bad, bool(extracted), self.params.on_damage)
            return Extraction(reader.info, reader.truncation, selections, rows, bad, extracted)

    def _write_frames(
        self, reader: VideoReader, selections: Mapping[str, Selection], work: Workspace
    ) -> tuple[dict[str, list[FrameRow]], dict[int, str], dict[int, ExtractedFrame]]:
        """Read all requested frames in one pass, and write each frame for every sample that requests it.

        Returns the rows by sample, the reasons of unreadable frames by index, and the extracted frames by index.
        """
        requests: dict[int, list[tuple[str, Pick]]] = defaultdict(list)
        for sample, selection in selections.items():
            for pick in selection.picks:
                requests[pick.index].append((sample, pick))
        rows: dict[str, list[FrameRow]] = {sample: [] for sample in selections}
        bad: dict[int, str] = {}
        extracted: dict[int, ExtractedFrame] = {}
        for frame in reader.read_frames_or_damage(list(requests)):
            if isinstance(frame, DamagedFrame):
                bad[frame.frame_index] = frame.reason
                continue
            extracted[frame.frame_index] = ExtractedFrame(frame.pts, self._hash_image(frame))
            image = resize_image(frame.image, self.params.resize)
            data = encode_image(image, self.params)
            digest = hashlib.sha256(data).hexdigest()
            for sample, pick in requests[frame.frame_index]:
                relative = f"frames/{sample}/{len(rows[sample]):04d}.{self.params.image_format}"
                work.output(relative).write_bytes(data)
                rows[sample].append(_create_row(relative, pick, frame, image.shape[:2], digest))
        return rows, bad, extracted

    def _hash_image(self, frame: FrameImage) -> str:
        return hash_image(frame.image) if self.params.verify_frames else ""

    def _verify(self, item_id: str, path: Path, extraction: Extraction) -> int:
        """Return the number of verified frames. Raises FrameMismatchError if they differ from a full decode."""
        chosen = choose_frames(item_id, list(extraction.extracted), self.params.verify_frames)
        if chosen:
            is_damaged = bool(extraction.bad) or extraction.truncation is not None
            verify_frames(path, {index: extraction.extracted[index] for index in chosen}, is_damaged)
        return len(chosen)


def _get_full_duration(truncation: Truncation | None) -> float:
    """Return the duration of the complete video if the file is truncated (infinity if unknown), else 0."""
    if truncation is None:
        return 0.0
    return math.inf if truncation.stated_seconds is None else truncation.stated_seconds


def _check_damage(name: str, bad: Mapping[int, str], has_good: bool, on_damage: OnDamage) -> None:
    """Raise BadInput if damaged frames are not allowed, or if no frame is readable."""
    if bad and (on_damage == "fail" or not has_good):
        frames = sorted(bad)
        raise make_damage_error(name, frames, bad[frames[0]])


def _create_row(relative: str, pick: Pick, frame: FrameImage, size: tuple[int, ...], digest: str) -> FrameRow:
    """Return the row of a frame written to ``relative``; ``size`` is (height, width)."""
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


def _create_result(video: str, extraction: Extraction, verified: int) -> StageResult:
    """Return the columns and the detail of one finished video."""
    info, selections = extraction.info, extraction.selections
    values: dict[str, Scalar] = {
        "samples": len(selections),
        "frames": sum(len(frames) for frames in extraction.rows.values()),
        "bad_frames": sum(len(_list_bad_rows(selection, extraction.bad)) for selection in selections.values()),
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
        **get_truncation_values(extraction.truncation),
    }
    detail = [_describe_sample(sample, video, selections[sample], extraction) for sample in selections]
    return StageResult(values, {"samples": detail})


def _describe_sample(sample: str, video: str, selection: Selection, extraction: Extraction) -> dict[str, Any]:
    """Return a sample's entry in the record (JSON values only)."""
    return {
        "id": sample,
        "video": video,
        "frames": [asdict(row) for row in extraction.rows[sample]],
        "bad_frames": [asdict(row) for row in _list_bad_rows(selection, extraction.bad)],
        "outside_seconds": _replace_non_finite(selection.outside),
        "repeated_seconds": list(selection.repeated),
        "dropped_seconds": list(selection.dropped),
    }


def _list_bad_rows(selection: Selection, bad: Mapping[int, str]) -> list[BadFrameRow]:
    """Return the requested frames that cannot be read, in time order."""
    damaged = [
        BadFrameRow(pick.source, pick.requested_seconds, pick.index, bad[pick.index])
        for pick in selection.picks
        if pick.index in bad
    ]
    missing = [BadFrameRow("support", seconds, None, _MISSING) for seconds in sorted(selection.missing)]
    return [*damaged, *missing]


def _replace_non_finite(seconds: Sequence[float]) -> list[float | None]:
    """Replace infinities and NaN by None, because JSON cannot represent them."""
    return [time if math.isfinite(time) else None for time in seconds]
