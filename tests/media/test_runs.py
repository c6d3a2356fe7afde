"""Planning the runs of packets that must be decoded for chosen frames."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import numpy as np

from tasks.media.index import PacketIndex
from tasks.media.runs import find_decoding_starts, plan_runs


def make_index(pts: list[int], keyframes: set[int]) -> PacketIndex:
    """Return an index of packets with these presentation times, and keyframes at ``keyframes``."""
    count = len(pts)
    none, times = np.zeros(count, dtype=bool), np.array(pts, dtype=np.int64)
    keyframe = np.isin(np.arange(count), list(keyframes))
    zeros, order = none.astype(np.int64), np.arange(count)
    return PacketIndex(times, order, zeros, times + 1, keyframe, keyframe, none, none, none, none, Fraction(1, 25))


# In decoding order: a group I B B P, then an open group whose first B-frames are shown before its keyframe.
OPEN = make_index([0, 3, 1, 2, 6, 4, 5, 9, 7, 8], {0, 4})


def test_leading_frame_needs_the_previous_gop() -> None:
    assert find_decoding_starts(OPEN, [4, 5, 6, 7, 8]) == [4, 0, 0, 4, 4]


def test_overlapping_runs_are_merged() -> None:
    (run,) = plan_runs(OPEN, [9, 5])
    assert (run.start, run.stop, run.wanted) == (0, 10, (5, 9))


def test_distant_runs_are_not_merged() -> None:
    first, second = plan_runs(OPEN, [1, 7])
    assert (first.start, first.stop, second.start, second.stop) == (0, 2, 4, 8)


def test_keyframe_shown_before_earlier_packets_is_no_seek_point() -> None:
    assert make_index([0, 5, 3, 4], {0, 2}).seek_points.tolist() == [0]


def test_without_keyframes_decoding_starts_at_the_first_packet() -> None:
    assert find_decoding_starts(make_index([0, 1, 2], set()), [2]) == [0]


def test_runs_cover_requested_packets_and_never_overlap() -> None:
    rng = random.Random(0)
    for _ in range(200):
        count = rng.randrange(1, 60)
        packets = make_index(list(range(count)), {0, *rng.sample(range(count), rng.randrange(count))})
        requested = sorted(rng.sample(range(count), rng.randrange(1, count + 1)))
        runs = plan_runs(packets, requested)
        assert [position for run in runs for position in run.wanted] == requested
        assert all(packets.keyframe[run.start] for run in runs)
        assert all(before.stop <= after.start for before, after in itertools.pairwise(runs))
