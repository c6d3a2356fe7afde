"""Select the frames of a sample. Pure functions: from a timeline and requested times to frame indices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tasks.frames.params import FramesParams
from tasks.media.timeline import Timeline

Source = Literal["support", "uniform"]


@dataclass(frozen=True)
class Pick:
    """One frame to extract: its index among the displayed frames, and the time that selected it."""

    index: int
    source: Source
    requested_seconds: float


@dataclass(frozen=True)
class Selection:
    """The selected frames of a sample, and the support timestamps that select no frame.

    picks     selected frames in time order, no duplicates, at most ``max_frames``
    outside   timestamps outside the video: negative, at or after its end, not a number
    missing   timestamps in the missing part of a truncated file
    repeated  timestamps whose frame an earlier timestamp already selected
    dropped   timestamps in the video, beyond ``max_frames``
    """

    picks: tuple[Pick, ...]
    outside: tuple[float, ...] = ()
    repeated: tuple[float, ...] = ()
    dropped: tuple[float, ...] = ()
    missing: tuple[float, ...] = ()


def select_frames(
    timeline: Timeline, support_seconds: Sequence[float], params: FramesParams, full_seconds: float = 0.0
) -> Selection:
    """Return the selection of one sample. Every strategy reports timestamps outside the video.

    ``full_seconds`` is the duration of the complete video if the file is truncated (infinity if unknown), else 0.
    """
    support = _select_support_frames(timeline, support_seconds, params.max_frames)
    end = timeline.duration_seconds
    missing = tuple(time for time in support.outside if end <= time < full_seconds)
    outside = tuple(time for time in support.outside if not end <= time < full_seconds)
    support = replace(support, outside=outside, missing=missing)
    if params.strategy == "support":
        return support
    kept = support.picks if params.strategy == "support-then-uniform" else ()
    filled = _select_uniform_frames(timeline, params.max_frames - len(kept), {pick.index for pick in kept})
    picks = _sort_by_index([*kept, *filled])
    if params.strategy == "uniform":
        return Selection(picks, support.outside, missing=support.missing)
    return replace(support, picks=picks)


def _select_support_frames(timeline: Timeline, seconds: Iterable[float], limit: int) -> Selection:
    """Select the frames at the timestamps; beyond ``limit``, the first ones in the given order win."""
    picks: dict[int, Pick] = {}
    outside, repeated, dropped = [], [], []
    for time in seconds:
        index = timeline.index_at(time)
        if index is None:
            outside.append(time)
        elif index in picks:
            repeated.append(time)
        elif len(picks) >= limit:
            dropped.append(time)
        else:
            picks[index] = Pick(index, "support", time)
    return Selection(_sort_by_index(picks.values()), tuple(outside), tuple(repeated), tuple(dropped))


def _select_uniform_frames(timeline: Timeline, count: int, used: set[int]) -> list[Pick]:
    """Select ``count`` unused frames, at the middles of ``count`` equal parts; fewer if the video is short."""
    count = min(count, len(timeline) - len(used))
    taken = set(used)
    picks = []
    for part in range(count):
        seconds = timeline.duration_seconds * (part + 0.5) / count
        index = timeline.index_at(seconds)
        index = _find_nearest_unused(len(timeline) - 1 if index is None else index, taken, len(timeline))
        taken.add(index)
        picks.append(Pick(index, "uniform", seconds))
    return picks


def _find_nearest_unused(index: int, used: set[int], total: int) -> int:
    """Return the unused frame nearest to ``index``, the earlier of two. At least one of ``total`` must be unused."""
    candidates = (index + sign * distance for distance in range(total) for sign in (-1, 1))
    return next(candidate for candidate in candidates if 0 <= candidate < total and candidate not in used)


def _sort_by_index(picks: Iterable[Pick]) -> tuple[Pick, ...]:
    return tuple(sorted(picks, key=lambda pick: pick.index))
