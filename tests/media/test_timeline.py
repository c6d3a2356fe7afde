"""Timelines are exact in any time base."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from tasks.media.timeline import Timeline, estimate_last_duration, make_continuous_ticks


def make_timeline(frames: int, ticks_per_frame: int, time_base: Fraction, start: int = 0) -> Timeline:
    ticks = np.arange(frames, dtype=np.int64) * ticks_per_frame
    return Timeline(ticks, ticks + start, frames * ticks_per_frame, time_base)


@pytest.mark.parametrize(
    "line", [make_timeline(500, 512, Fraction(1, 12_800)), make_timeline(500, 1, Fraction(1, 25), start=7)]
)
def test_decimal_time_selects_the_frame_that_starts_then(line: Timeline) -> None:
    for index in range(len(line)):
        assert line.index_at(round(index * 0.04, 2)) == index  # 0.12 is less than 3/25 in binary
        assert line.index_at(index * 0.04 + 0.039) == index


def test_time_rounded_to_six_decimals_selects_its_frame() -> None:
    line = make_timeline(500, 1001, Fraction(1, 30_000))
    for index in range(len(line)):
        assert line.index_at(round(index * 1001 / 30_000, 6)) == index


def test_a_frame_is_shown_until_the_next_one_starts() -> None:
    line = Timeline(np.array([0, 10, 100]), np.array([5, 15, 105]), 110, Fraction(1, 100))
    assert [line.index_at(time) for time in (0, 0.0999, 0.1, 0.5, 0.9999, 1.0, 1.0999)] == [0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("time", [-1e-9, -1, 1.1, 99, math.nan, math.inf, -math.inf])
def test_times_outside_select_no_frame(time: float) -> None:
    line = Timeline(np.array([0, 10, 100]), np.array([5, 15, 105]), 110, Fraction(1, 100))
    assert line.index_at(time) is None


def test_duration_of_last_frame_is_stated_or_median() -> None:
    ticks = np.array([0, 10, 20, 31])
    assert estimate_last_duration(ticks, 7, 40) == 7
    assert estimate_last_duration(ticks, 0, 40) == 10
    assert estimate_last_duration(ticks[:1], None, 40) == 40


def test_falling_times_are_sorted_or_continued() -> None:
    assert make_continuous_ticks([5, 6, 7], jump=10, step=1).tolist() == [0, 1, 2]
    assert make_continuous_ticks([0, 30, 10, 20, 40], jump=100, step=10).tolist() == [0, 10, 20, 30, 40]
    assert make_continuous_ticks([100, 110, 120, 100, 110], jump=15, step=10).tolist() == [0, 10, 20, 30, 40]
