"""Which frames a sample gets, for any video and any wishes."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest

from tasks.frames.params import FramesParams
from tasks.frames.sampling import select
from tasks.media.timeline import Timeline


def timeline(frames: int, seed: int | None = None) -> Timeline:
    """``frames`` frames at 25 fps, or at uneven times drawn from ``seed``."""
    rng = random.Random(seed)
    gaps = [4] * frames if seed is None else [rng.choice([1, 2, 4, 50]) for _ in range(frames)]
    ticks = np.cumsum([0, *gaps])
    return Timeline(ticks[:-1], ticks[:-1], int(ticks[-1]), Fraction(1, 100))


def wishes(rng: random.Random, line: Timeline) -> list[float]:
    """Support timestamps inside and outside the video, some twice."""
    times = [rng.uniform(-1, line.duration_seconds + 1) for _ in range(rng.randrange(12))]
    return times + times[: rng.randrange(3)] + rng.choice([[], [math.nan], [math.inf, -0.0]])


@pytest.mark.parametrize("strategy", ["support-then-uniform", "uniform", "support"])
@pytest.mark.parametrize("seed", range(60))
def test_properties(strategy: str, seed: int) -> None:
    rng = random.Random(seed)
    line = timeline(rng.choice([1, 2, 7, 8, 9, 40, 500]), seed)
    params = FramesParams(max_frames=rng.choice([1, 2, 8, 30]), strategy=strategy)
    support = wishes(rng, line)
    found = select(line, support, params)

    indices = [pick.index for pick in found.picks]
    assert indices == sorted(set(indices))
    assert all(0 <= index < len(line) for index in indices)
    inside = {line.index_at(time) for time in support} - {None}
    assert len(found.outside) == sum(line.index_at(time) is None for time in support)
    if strategy != "support":
        assert len(indices) == min(params.max_frames, len(line))
    if strategy != "uniform":
        supported = [pick for pick in found.picks if pick.source == "support"]
        assert len(supported) == min(params.max_frames, len(inside))
        assert all(line.index_at(pick.requested_seconds) == pick.index for pick in supported)
        accounted = len(supported) + len(found.outside) + len(found.repeated) + len(found.dropped)
        assert accounted == len(support)
    if strategy == "support":
        assert set(indices) <= inside


def test_uniform_frames_are_the_middles_of_equal_parts() -> None:
    found = select(timeline(80), [], FramesParams(max_frames=8))
    assert [pick.index for pick in found.picks] == [5, 15, 25, 35, 45, 55, 65, 75]
    assert {pick.source for pick in found.picks} == {"uniform"}


def test_uniform_frames_are_even_in_time_where_frames_are_not() -> None:
    ticks = np.array([*range(50), 50, 75, 100, 125, 150, 175])  # 50 frames in half of the time
    found = select(Timeline(ticks, ticks, 200, Fraction(1, 100)), [], FramesParams(max_frames=4))
    assert [pick.index for pick in found.picks] == [25, 51, 53, 55]


def test_a_uniform_frame_gives_way_to_a_supported_one() -> None:
    found = select(timeline(80), [0.2, 0.6], FramesParams(max_frames=6))  # frames 5 and 15
    assert [pick.index for pick in found.picks] == [5, 10, 15, 30, 50, 70]
    found = select(timeline(80), [0.4], FramesParams(max_frames=5))  # frame 10 is a middle too
    assert [pick.index for pick in found.picks] == [9, 10, 30, 50, 70]
    assert [pick.source for pick in found.picks] == ["uniform", "support", "uniform", "uniform", "uniform"]


def test_support_beyond_the_limit_is_reported_in_the_order_given() -> None:
    found = select(timeline(80), [3.0, 0.1, 2.0, 1.0, 0.11], FramesParams(max_frames=2))
    assert [pick.index for pick in found.picks] == [2, 75]
    assert found.dropped == (2.0, 1.0)
    assert found.repeated == (0.11,)


def test_a_timestamp_outside_is_not_moved() -> None:
    found = select(timeline(25), [-0.5, 1.0, 7], FramesParams(max_frames=3, strategy="support"))
    assert found.picks == ()
    assert found.outside == (-0.5, 1.0, 7)
