"""The frames stage of dataset_prep: extract the frames of all samples of one video."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Scalar, Stage, StageResult, Workspace
from tasks.frames.encoding import encode_image
from tasks.frames.hashing import compute_phash
from tasks.frames.media_files import AUDIO, CLIP, FOLDERS, write_media_files
from tasks.frames.params import FramesParams
from tasks.frames.processing import get_image_options, process_image
from tasks.frames.sampling import Pick, SampleRequest, Selection, Video, select_frames
from tasks.frames.shots import detect_cuts
from tasks.frames.verification import ExtractedFrame, choose_frames, hash_image, verify_frames
from tasks.media.color_names import describe_color
from tasks.media.damage import OnDamage, check_truncation, get_truncation_values, make_damage_error
from tasks.media.orientation import Converter, ImageArray
from tasks.media.reading import DamagedFrame, FrameImage, UnreliableIndexError, VideoInfo, VideoReader
from tasks.media.truncation import Truncation

_MISSING = "is missing: the file is truncated before this time"


@dataclass(frozen=True)
class FrameRow:
    """One written frame. ``path`` is relative to the output folder; ``sha256`` is the digest of the file.

    ``phash`` is the perceptual hash of the image; None if it has too little texture for one. ``sar`` is the pixel
    aspect ratio of the upright frame, ``color`` its matrix, primaries, transfer and range, as the file states them.
    """

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
    size_bytes: int
    sha256: str
    phash: str | None
    sar: str
    color: str
    interlaced: bool


@dataclass(frozen=True)
class BadFrameRow:
    """One requested frame that cannot be read. ``frame_index`` is None if the file ends before it."""

    source: str
    requested_seconds: float
    frame_index: int | None
    reason: str


@dataclass(frozen=True)
class Extraction:
    """Everything read from one video.

    Rows by sample, reasons of damage by index, extracted frames by index, rows of clips and audio by sample.
    """

    info: VideoInfo
    offset: Fraction
    truncation: Truncation | None
    selections: Mapping[str, Selection]
    rows: Mapping[str, Sequence[FrameRow]]
    bad: Mapping[int, str]
    extracted: Mapping[int, ExtractedFrame]
    media: Mapping[str, Mapping[str, Any]]


class FramesStage(Stage):
    """Extract the frames of every sample of one video, decoding the video once.

    The item's only input is the video; its payload is ``{"video": relative path, "samples": [{"id",
    "support_seconds", "start", "end"}, ...]}``, without limits that are not set. Frames are published as
    ``frames/<sample id>/NNNN.<format>``.
    """

    name: ClassVar[str] = "frames"
    version: ClassVar[int] = 4
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
        samples = [
            SampleRequest(str(row["id"]), tuple(row["support_seconds"]), row.get("start"), row.get("end"))
            for row in item.payload["samples"]
        ]
        try:
            extraction = self._extract(path, samples, work, by_decoding=False)
        except UnreliableIndexError:
            for folder in FOLDERS:
                shutil.rmtree(work.outputs / folder, ignore_errors=True)
            extraction = self._extract(path, samples, work, by_decoding=True)
        verified = self._verify(item.id, path, extraction)
        return _create_result(item.payload["video"], extraction, verified)

    def _extract(self, path: Path, samples: Sequence[SampleRequest], work: Workspace, by_decoding: bool) -> Extraction:
        with VideoReader(path, by_decoding, options=get_image_options(self.params)) as reader:
            check_truncation(path.name, reader.truncation, self.params.on_damage)
            video = self._describe_video(reader)
            selections = {sample.id: select_frames(video, sample, self.params) for sample in samples}
            media = write_media_files(reader, selections, self.params, work)
            if not self.params.frames:
                selections = {sample: replace(selection, picks=()) for sample, selection in selections.items()}
            rows, bad, extracted = self._write_frames(reader, selections, work)
            _check_damage(path.name, bad, bool(extracted), self.params.on_damage)
            return Extraction(reader.info, reader.offset, reader.truncation, selections, rows, bad, extracted, media)

    def _describe_video(self, reader: VideoReader) -> Video:
        """Return the properties by which frames are selected. Detecting shots decodes the whole video."""
        return Video(
            reader.timeline,
            offset=reader.offset if self.params.time_origin == "file" else Fraction(0),
            keyframes=reader.keyframes if self.params.keyframes else (),
            cuts=detect_cuts(reader) if self.params.shots else (),
            full_seconds=_get_full_duration(reader.truncation),
        )

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
        digits = {sample: max(4, len(str(len(selection.picks) - 1))) for sample, selection in selections.items()}
        origin = float(reader.offset) if self.params.time_origin == "file" else 0.0
        for frame in reader.read_frames_or_damage(list(requests)):
            if isinstance(frame, DamagedFrame):
                bad[frame.frame_index] = frame.reason
                continue
            extracted[frame.frame_index] = ExtractedFrame(frame.pts, self._hash_image(frame))
            image = process_image(frame.image, frame.pixel_aspect, self.params)
            data = encode_image(image, self.params)
            written = _Written(image, data, frame.actual_seconds + origin)
            for sample, pick in requests[frame.frame_index]:
                number = f"{len(rows[sample]):0{digits[sample]}d}"
                relative = f"frames/{sample}/{number}.{self.params.image_format}"
                work.output(relative).write_bytes(data)
                rows[sample].append(_create_row(relative, pick, frame, written))
        return rows, bad, extracted

    def _hash_image(self, frame: FrameImage) -> str:
        return hash_image(frame.image) if self.params.verify_frames else ""

    def _verify(self, item_id: str, path: Path, extraction: Extraction) -> int:
        """Return the number of verified frames. Raises FrameMismatchError if they differ from a full decode."""
        chosen = choose_frames(item_id, list(extraction.extracted), self.params.verify_frames)
        if chosen:
            is_damaged = bool(extraction.bad) or extraction.truncation is not None
            converter = Converter(options=get_image_options(self.params))
            verify_frames(path, {index: extraction.extracted[index] for index in chosen}, is_damaged, converter)
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


class _Written:
    """An image as it is written, with the figures that all its rows share."""

    def __init__(self, image: ImageArray, data: bytes, actual_seconds: float) -> None:
        self.height_px, self.width_px = image.shape[:2]
        self.size_bytes = len(data)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.phash = compute_phash(image)
        self.actual_seconds = actual_seconds


def _create_row(relative: str, pick: Pick, frame: FrameImage, written: _Written) -> FrameRow:
    """Return the row of a frame written to ``relative``."""
    return FrameRow(
        path=relative,
        source=pick.source,
        requested_seconds=pick.requested_seconds,
        actual_seconds=written.actual_seconds,
        pts=frame.pts,
        time_base=str(frame.time_base),
        frame_index=frame.frame_index,
        keyframe_distance_frames=frame.keyframe_distance_frames,
        width_px=written.width_px,
        height_px=written.height_px,
        size_bytes=written.size_bytes,
        sha256=written.sha256,
        phash=written.phash,
        sar=f"{frame.pixel_aspect.numerator}:{frame.pixel_aspect.denominator}",
        color=describe_color(frame.color),
        interlaced=frame.interlaced,
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
        "left_out_frames": sum(selection.left_out for selection in selections.values()),
        "clips": sum(bool((row.get(CLIP) or {}).get("path")) for row in extraction.media.values()),
        "audio_files": sum(bool(row.get(AUDIO)) for row in extraction.media.values()),
        "width_px": info.width_px,
        "height_px": info.height_px,
        "offset_seconds": float(extraction.offset),
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
        "frames": [dict(vars(row)) for row in extraction.rows[sample]],
        "bad_frames": [dict(vars(row)) for row in _list_bad_rows(selection, extraction.bad)],
        "outside_seconds": _replace_non_finite(selection.outside),
        "repeated_seconds": list(selection.repeated),
        "dropped_seconds": list(selection.dropped),
        "left_out_frames": selection.left_out,
        "offset_seconds": float(extraction.offset),
        "shot_seconds": list(selection.shots),
        **extraction.media[sample],
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
