"""Frame selection for any video and any requested times."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest

from tasks.frames.params import FramesParams
from tasks.frames.sampling import select_frames
from tasks.media.timeline import Timeline


def create_timeline(frames: int, seed: int | None = None) -> Timeline:
    """Return a timeline of ``frames`` frames at 25 fps, or at uneven times drawn from ``seed``."""
    rng = random.Random(seed)
    gaps = [4] * frames if seed is None else [rng.choice([1, 2, 4, 50]) for _ in range(frames)]
    ticks = np.cumsum([0, *gaps])
    return Timeline(ticks[:-1], ticks[:-1], int(ticks[-1]), Fraction(1, 100))


def draw_timestamps(rng: random.Random, line: Timeline) -> list[float]:
    """Return support timestamps inside and outside the video, some repeated."""
    times = [rng.uniform(-1, line.duration_seconds + 1) for _ in range(rng.randrange(12))]
    return times + times[: rng.randrange(3)] + rng.choice([[], [math.nan], [math.inf, -0.0]])


@pytest.mark.parametrize("strategy", ["support-then-uniform", "uniform", "support"])
@pytest.mark.parametrize("seed", range(60))
def test_selection_is_sorted_complete_and_within_limits(strategy: str, seed: int) -> None:
    rng = random.Random(seed)
    line = create_timeline(rng.choice([1, 2, 7, 8, 9, 40, 500]), seed)
    params = FramesParams(max_frames=rng.choice([1, 2, 8, 30]), strategy=strategy)
    support = draw_timestamps(rng, line)
    selection = select_frames(line, support, params)

    indices = [pick.index for pick in selection.picks]
    assert indices == sorted(set(indices))
    assert all(0 <= index < len(line) for index in indices)
    inside = {line.index_at(time) for time in support} - {None}
    assert len(selection.outside) == sum(line.index_at(time) is None for time in support)
    if strategy != "support":
        assert len(indices) == min(params.max_frames, len(line))
    if strategy != "uniform":
        supported = [pick for pick in selection.picks if pick.source == "support"]
        assert len(supported) == min(params.max_frames, len(inside))
        assert all(line.index_at(pick.requested_seconds) == pick.index for pick in supported)
        accounted = len(supported) + len(selection.outside) + len(selection.repeated) + len(selection.dropped)
        assert accounted == len(support)
    if strategy == "support":
        assert set(indices) <= inside


def test_uniform_frames_are_the_middles_of_equal_parts() -> None:
    selection = select_frames(create_timeline(80), [], FramesParams(max_frames=8))
    assert [pick.index for pick in selection.picks] == [5, 15, 25, 35, 45, 55, 65, 75]
    assert {pick.source for pick in selection.picks} == {"uniform"}


def test_uniform_frames_are_even_in_time_when_frames_are_uneven() -> None:
    ticks = np.array([*range(50), 50, 75, 100, 125, 150, 175])  # 50 frames in half of the time
    selection = select_frames(Timeline(ticks, ticks, 200, Fraction(1, 100)), [], FramesParams(max_frames=4))
    assert [pick.index for pick in selection.picks] == [25, 51, 53, 55]


def test_uniform_frame_moves_away_from_a_support_frame() -> None:
    selection = select_frames(create_timeline(80), [0.2, 0.6], FramesParams(max_frames=6))  # frames 5 and 15
    assert [pick.index for pick in selection.picks] == [5, 10, 15, 30, 50, 70]
    selection = select_frames(create_timeline(80), [0.4], FramesParams(max_frames=5))  # frame 10 is also a middle
    assert [pick.index for pick in selection.picks] == [9, 10, 30, 50, 70]
    assert [pick.source for pick in selection.picks] == ["uniform", "support", "uniform", "uniform", "uniform"]


def test_support_timestamps_beyond_max_frames_are_dropped_in_given_order() -> None:
    selection = select_frames(create_timeline(80), [3.0, 0.1, 2.0, 1.0, 0.11], FramesParams(max_frames=2))
    assert [pick.index for pick in selection.picks] == [2, 75]
    assert selection.dropped == (2.0, 1.0)
    assert selection.repeated == (0.11,)


def test_timestamp_outside_the_video_selects_no_frame() -> None:
    selection = select_frames(create_timeline(25), [-0.5, 1.0, 7], FramesParams(max_frames=3, strategy="support"))
    assert selection.picks == ()
    assert selection.outside == (-0.5, 1.0, 7)
