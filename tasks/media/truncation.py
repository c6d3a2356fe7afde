"""Truncation: detecting that the end of a video file is missing, and the stated duration of the whole video.

Each container marks its end in its own way: by stated sizes, by a marker at its end, or by the sizes of its parts. Only
this evidence counts. A video that is shorter than its file's stated duration may be whole (its audio may be
longer); only the duration that a Matroska file states for the video stream itself is evidence too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tasks.media.container_ends import find_missing_end, has_fragments, read_asf_duration
from tasks.media.index import NO_TIME, Int64s, PacketIndex

_MICROSECONDS = 1_000_000
# Matroska's statistics tag.
_HOURS_MINUTES_SECONDS = re.compile(r"(\d{1,6}):(\d\d):(\d\d(?:\.\d{1,12})?)")
# The duration that FFmpeg gives for other containers is an estimate from the times at the end of the file.
_STATED_BY_STREAM = ("mov,", "mxf")
_STATED_BY_CONTAINER = ("matroska,", "flv")
# Minimum missing frames of a truncated stream: the duration of the last frame is not always known.
_MIN_MISSING_FRAMES = 1.5
# Demuxers that return partial packets without flagging them as corrupt.
_UNFLAGGED = ("mpegts", "mpeg", "asf", "gif")


@dataclass(frozen=True)
class Truncation:
    """The truncation of a file whose end is missing.

    reason                  one clause
    stated_seconds          duration of the whole video as the container states it; None if it does not
    is_last_packet_partial  the last packet may be incomplete, even if it is not flagged as corrupt
    """

    reason: str
    stated_seconds: float | None
    is_last_packet_partial: bool


def find_truncation(
    container: InputContainer, stream: VideoStream, path: Path, index: PacketIndex, failure: str
) -> Truncation | None:
    """Return the truncation of the file at ``path``; None if there is no evidence of one.

    index     its packets
    failure   the demuxer's error, if one ended the reading before the end of the file
    """
    kind = container.format.name
    reason = find_missing_bytes(container, stream, path)
    stated = read_stated_seconds(container, stream, path)
    frame_seconds = 1 / (stream.guessed_rate or stream.average_rate or Fraction(25))
    start, end = _compute_span(index, frame_seconds)
    if stated is not None and _read_stream_end(stream) is not None:  # this is a time in the file, not a duration
        stated -= start
        lack = stated - (end - start)
        if not reason and lack > _MIN_MISSING_FRAMES * frame_seconds:
            reason = f"it ends {lack:.3f} s before the end that it states"
    if not reason and failure:
        reason = f"its container is damaged: {failure}"
    return Truncation(reason, stated, is_last_packet_partial=kind in _UNFLAGGED) if reason else None


def find_missing_bytes(container: InputContainer, stream: VideoStream, path: Path) -> str:
    """Return a clause if bytes are missing at the end of the file at ``path``; else an empty string."""
    kind = container.format.name
    return (_find_missing_samples(stream, path) if kind.startswith("mov,") else "") or find_missing_end(path, kind)


def _compute_span(index: PacketIndex, frame_seconds: Fraction) -> tuple[float, float]:
    """Return the start of the first frame and the end of the last one, in seconds; 0, 0 without times."""
    has_time = index.pts != NO_TIME
    if not has_time.any():
        return 0.0, 0.0
    times = index.pts[has_time]
    return float(int(times.min()) * index.time_base), float(int(times.max()) * index.time_base + frame_seconds)


def count_certain_frames(pts: Int64s, last_dts: int | None, frame_ticks: int) -> int:
    """Return the number of frames of a truncated video whose rank is certain.

    Missing frames may belong between existing ones, if their packets came later. They are shown after the last decoding
    time. Frames up to this time are therefore certain, and so are the following ones up to the first gap that is large
    enough for another frame.

    pts           presentation times, ascending
    last_dts      decoding time of the last packet; None if unknown
    frame_ticks   duration of a frame at the stream's rate
    """
    gaps = np.diff(pts)
    certain = 1 if last_dts is None else max(1, int(np.searchsorted(pts, last_dts, side="right")))
    max_gap = 1.5 * min(frame_ticks, gaps.min(initial=frame_ticks))
    while certain < len(pts) and gaps[certain - 1] <= max_gap:
        certain += 1
    return min(certain, len(pts))


def read_stated_seconds(container: InputContainer, stream: VideoStream, path: Path) -> float | None:
    """Return the duration of the video as its container states it; None if it does not."""
    kind, time_base = container.format.name, stream.time_base or Fraction(0)
    if kind == "avi":  # its duration counts the existing frames only
        return float(stream.frames * time_base) or None
    if kind == "asf":
        return read_asf_duration(path)
    if kind.startswith(_STATED_BY_STREAM):
        return float((stream.duration or 0) * time_base) or None if not _is_fragmented(kind, path) else None
    end = _read_stream_end(stream)
    if end is not None:
        return end
    if kind.startswith(_STATED_BY_CONTAINER) and container.duration:
        return container.duration / _MICROSECONDS
    return None


def _read_stream_end(stream: VideoStream) -> float | None:
    """Return the end of the stream in seconds from Matroska's tag DURATION; None without the tag."""
    tag = _HOURS_MINUTES_SECONDS.fullmatch(stream.metadata.get("DURATION", ""))
    if tag is None:
        return None
    hours, minutes, seconds = (Fraction(part) for part in tag.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def _is_fragmented(kind: str, path: Path) -> bool:
    return kind.startswith("mov,") and has_fragments(path)


def _find_missing_samples(stream: VideoStream, path: Path) -> str:
    """Return a clause if the container's index refers to data after the end of the file; else an empty string."""
    size = path.stat().st_size
    entries = stream.index_entries
    needed = max((entry.pos + entry.size for entry in map(entries.__getitem__, range(len(entries)))), default=0)
    return f"it has {size} of at least {needed} bytes" if needed > size else ""
