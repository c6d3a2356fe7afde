"""Where a tape is looked at: a few windows spread through it, and pairs of frames in each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tasks.engine.contract.errors import BadInput
from tasks.media.decoding import UnreliableIndexError
from tasks.media.segments.reading import SegmentFrame, SegmentReader
from tasks.media.timeline import Timeline

MOST_WINDOWS = 8
WINDOW_SECONDS = 2.0
# Twelve rounds of 3:2 telecine; more would be read in vain at 50 or 60 frames a second.
MOST_FRAMES = 60
PAIRS = 3


def plan_windows(timeline: Timeline) -> tuple[range, ...]:
    """The frames of each window, in order, without overlap.

    A tape of 16 s or more gets eight windows of 2 s, each in the middle of its eighth; a shorter one gets as many as
    it has room for, and at least one.
    """
    frames, seconds = len(timeline), max(timeline.duration_seconds, 1e-9)
    count = int(min(MOST_WINDOWS, max(1, seconds // WINDOW_SECONDS), frames))
    longest = min(MOST_FRAMES, max(1, round(frames / seconds * WINDOW_SECONDS)))
    bounds = [frames * number // count for number in range(count + 1)]
    return tuple(_middle(range(*pair), longest) for pair in itertools.pairwise(bounds))


def pair_starts(window: range) -> tuple[int, ...]:
    """The first frames of the pairs that are looked at closely, spread through ``window``; a lone frame is none's."""
    places = (len(window) * (2 * number + 1) // (2 * PAIRS) for number in range(PAIRS))
    return tuple(sorted({window[min(place, len(window) - 2)] for place in places})) if len(window) > 1 else ()


def read_window(reader: SegmentReader, window: range) -> Iterator[SegmentFrame]:
    """The sound frames of ``window``; they end before the first one that cannot be read."""
    try:
        yield from (frame for frame in reader.range(window.start, window.stop) if not frame.damage)
    except (BadInput, UnreliableIndexError):
        return


def _middle(part: range, longest: int) -> range:
    spare = max(0, len(part) - longest) // 2
    return part[spare : spare + longest]
