"""Which frames a sample gets. Pure: a time line and the wishes in, frame numbers out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tasks.frames.params import FramesParams
from tasks.media.timeline import Timeline

Source = Literal["support", "uniform"]


@dataclass(frozen=True)
class Pick:
    """One frame to take: ``requested_seconds`` is what asked for it, ``index`` its rank among the shown frames."""

    index: int
    source: Source
    requested_seconds: float


@dataclass(frozen=True)
class Selection:
    """What a sample gets, and what became of its other support timestamps.

    picks     the frames, in time order, no frame twice, at most ``max_frames``
    outside   not in the video: negative, at or after its end, not a number
    missing   in the part of the video that a truncated file lacks
    repeated  name a frame that an earlier timestamp has taken
    dropped   in the video, but beyond ``max_frames``
    """

    picks: tuple[Pick, ...]
    outside: tuple[float, ...] = ()
    repeated: tuple[float, ...] = ()
    dropped: tuple[float, ...] = ()
    missing: tuple[float, ...] = ()


def select(
    timeline: Timeline, support_seconds: Sequence[float], params: FramesParams, whole_seconds: float = 0.0
) -> Selection:
    """The frames of one sample. Timestamps outside the video are reported whatever the strategy.

    ``whole_seconds`` is the duration that the video would have if its file were not truncated; infinity if unknown.
    """
    support = _support(timeline, support_seconds, params.max_frames)
    end = timeline.duration_seconds
    missing = tuple(time for time in support.outside if end <= time < whole_seconds)
    outside = tuple(time for time in support.outside if not end <= time < whole_seconds)
    support = replace(support, outside=outside, missing=missing)
    if params.strategy == "support":
        return support
    kept = support.picks if params.strategy == "support-then-uniform" else ()
    filled = _uniform(timeline, params.max_frames - len(kept), {pick.index for pick in kept})
    picks = _in_time_order([*kept, *filled])
    if params.strategy == "uniform":
        return Selection(picks, support.outside, missing=support.missing)
    return replace(support, picks=picks)


def _support(timeline: Timeline, seconds: Iterable[float], limit: int) -> Selection:
    """The frames at the timestamps; where there are too many, the first ones as they are given."""
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
    return Selection(_in_time_order(picks.values()), tuple(outside), tuple(repeated), tuple(dropped))


def _uniform(timeline: Timeline, count: int, used: set[int]) -> list[Pick]:
    """``count`` frames at the middles of as many equal parts of the video, none in ``used``; fewer if it has fewer."""
    count = min(count, len(timeline) - len(used))
    taken = set(used)
    picks = []
    for part in range(count):
        seconds = timeline.duration_seconds * (part + 0.5) / count
        index = timeline.index_at(seconds)
        index = _nearest_unused(len(timeline) - 1 if index is None else index, taken, len(timeline))
        taken.add(index)
        picks.append(Pick(index, "uniform", seconds))
    return picks


def _nearest_unused(index: int, used: set[int], total: int) -> int:
    """The frame nearest to ``index`` that is not in ``used``, the earlier of two; one must be left of ``total``."""
    candidates = (index + sign * distance for distance in range(total) for sign in (-1, 1))
    return next(candidate for candidate in candidates if 0 <= candidate < total and candidate not in used)


def _in_time_order(picks: Iterable[Pick]) -> tuple[Pick, ...]:
    return tuple(sorted(picks, key=lambda pick: pick.index))
