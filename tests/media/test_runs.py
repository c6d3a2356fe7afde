"""What must be decoded for which frames."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import numpy as np

from tasks.media.index import PacketIndex
from tasks.media.runs import find_decoding_starts, plan_runs


def index(pts: list[int], keyframes: set[int]) -> PacketIndex:
    """Packets with these presentation times, of which those at ``keyframes`` are keyframes."""
    count = len(pts)
    none, times = np.zeros(count, dtype=bool), np.array(pts, dtype=np.int64)
    keyframe = np.isin(np.arange(count), list(keyframes))
    zeros, order = none.astype(np.int64), np.arange(count)
    return PacketIndex(times, order, zeros, times + 1, keyframe, keyframe, none, none, none, none, Fraction(1, 25))


# In decoding order: a group I B B P, then an open group whose first B pictures are shown before its keyframe.
OPEN = index([0, 3, 1, 2, 6, 4, 5, 9, 7, 8], {0, 4})


def test_a_leading_picture_needs_the_group_before() -> None:
    assert find_decoding_starts(OPEN, [4, 5, 6, 7, 8]) == [4, 0, 0, 4, 4]


def test_runs_join_where_one_needs_what_the_other_decodes() -> None:
    (run,) = plan_runs(OPEN, [9, 5])
    assert (run.start, run.stop, run.wanted) == (0, 10, (5, 9))


def test_runs_apart_stay_apart() -> None:
    first, second = plan_runs(OPEN, [1, 7])
    assert (first.start, first.stop, second.start, second.stop) == (0, 2, 4, 8)


def test_a_keyframe_shown_before_what_it_follows_is_no_place_to_start() -> None:
    assert index([0, 5, 3, 4], {0, 2}).seek_points.tolist() == [0]


def test_without_keyframes_decoding_starts_at_the_first_packet() -> None:
    assert find_decoding_starts(index([0, 1, 2], set()), [2]) == [0]


def test_runs_cover_what_is_wanted_and_never_overlap() -> None:
    rng = random.Random(0)
    for _ in range(200):
        count = rng.randrange(1, 60)
        packets = index(list(range(count)), {0, *rng.sample(range(count), rng.randrange(count))})
        wanted = sorted(rng.sample(range(count), rng.randrange(1, count + 1)))
        runs = plan_runs(packets, wanted)
        assert [position for run in runs for position in run.wanted] == wanted
        assert all(packets.keyframe[run.start] for run in runs)
        assert all(before.stop <= after.start for before, after in itertools.pairwise(runs))
