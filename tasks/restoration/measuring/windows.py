"""The windows in which a tape is measured, and the pairs of frames in each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tasks.engine.contract.errors import BadInput
from tasks.media.decoding import UnreliableIndexError
from tasks.media.segments.reading import SegmentFrame, SegmentReader
from tasks.media.timeline import Timeline

MAX_WINDOWS = 8
WINDOW_SECONDS = 2.0
# Twelve cycles of 3:2 telecine; at 50 or 60 frames per second, more frames add no information.
MAX_FRAMES = 60
PAIRS = 3


def plan_windows(timeline: Timeline) -> tuple[range, ...]:
    """Return the frames of each window, in order, without overlap.

    A tape of 16 s or more has eight windows of 2 s, each in the middle of its eighth. A shorter tape has fewer, at
    least one.
    """
    frames, seconds = len(timeline), max(timeline.duration_seconds, 1e-9)
    count = int(min(MAX_WINDOWS, max(1, seconds // WINDOW_SECONDS), frames))
    max_frames = min(MAX_FRAMES, max(1, round(frames / seconds * WINDOW_SECONDS)))
    bounds = [frames * number // count for number in range(count + 1)]
    return tuple(_cut_middle(range(*pair), max_frames) for pair in itertools.pairwise(bounds))


def choose_pairs(window: range) -> tuple[int, ...]:
    """Return the first frames of the pairs to measure, spread through ``window``; empty for a single frame."""
    positions = (len(window) * (2 * number + 1) // (2 * PAIRS) for number in range(PAIRS))
    return tuple(sorted({window[min(position, len(window) - 2)] for position in positions})) if len(window) > 1 else ()


def read_window(reader: SegmentReader, window: range) -> Iterator[SegmentFrame]:
    """Yield the intact frames of ``window``, up to the first one that cannot be read."""
    try:
        yield from (frame for frame in reader.range(window.start, window.stop) if not frame.damage)
    except (BadInput, UnreliableIndexError):
        return


def _cut_middle(part: range, max_frames: int) -> range:
    margin = max(0, len(part) - max_frames) // 2
    return part[margin : margin + max_frames]
