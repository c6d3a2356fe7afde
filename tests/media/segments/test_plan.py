"""Test that segments cover each frame once, with equal lengths and not below the minimum."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest

from tasks.media.segments.clock import build_clock
from tasks.media.segments.plan import Cut, choose_segment_seconds, plan_segments
from tasks.media.timeline import Timeline


def make_timeline(frames: int, ticks: int = 512, start: int = 0) -> Timeline:
    times = np.arange(frames, dtype=np.int64) * ticks
    return Timeline(times, times + start, frames * ticks, Fraction(1, 12_800))


def test_segments_cover_each_frame_once_and_evenly() -> None:
    rng = random.Random(0)
    for _ in range(300):
        frames, align = rng.randrange(1, 900), rng.choice([1, 2, 5])
        cut = Cut(count=rng.randrange(1, 40), min_segment_frames=rng.randrange(1, 80), align_frames=align)
        segments = plan_segments(make_timeline(frames), cut)
        covered = [index for segment in segments for index in range(segment.start_frame, segment.end_frame)]
        assert covered == list(range(frames))
        assert [segment.number for segment in segments] == list(range(len(segments)))
        lengths = [len(segment) for segment in segments]
        assert max(lengths) - min(lengths) < 2 * align
        assert all(segment.start_frame % align == 0 for segment in segments)
        assert len(segments) == 1 or min(lengths[:-1]) >= cut.min_segment_frames
        assert len(segments) == 1 or lengths[-1] > cut.min_segment_frames - align


def test_context_stays_within_the_video() -> None:
    segments = plan_segments(make_timeline(100), Cut(count=3, min_segment_frames=1, context_frames=40))
    assert [(segment.read_start, segment.read_end) for segment in segments] == [(0, 73), (0, 100), (26, 100)]


def test_segments_are_not_shorter_than_the_minimum() -> None:
    assert len(plan_segments(make_timeline(100), Cut(count=7, min_segment_frames=60))) == 1
    assert len(plan_segments(make_timeline(1), Cut(count=7))) == 1
    assert len(plan_segments(make_timeline(420), Cut(count=7, min_segment_frames=60))) == 7


def test_automatic_count_is_a_multiple_of_the_slots() -> None:
    assert len(plan_segments(make_timeline(25 * 3600), Cut(slots=8))) == 120
    assert len(plan_segments(make_timeline(25 * 100), Cut(slots=4))) == 4
    assert len(plan_segments(make_timeline(25 * 100), Cut(seconds=10.0, slots=4))) == 10


@pytest.mark.parametrize(
    "options", [{"count": 0}, {"count": 2, "seconds": 1.0}, {"seconds": -1.0}, {"slots": 0}, {"context_frames": -1}]
)
def test_invalid_cut_is_an_error(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"at least|not both|positive"):
        Cut(**options)  # type: ignore[arg-type]


def test_clock_with_ratio_one_equals_the_timeline() -> None:
    clock = build_clock(make_timeline(10, 512, start=777))
    assert clock.pts.tolist() == [777 + 512 * index for index in range(10)]
    assert (clock.end_pts, clock.time_base, clock.moved) == (777 + 5120, Fraction(1, 12_800), 0)
    assert clock.rate == 25


def test_bobbed_frames_are_halfway_at_variable_frame_rate() -> None:
    times = np.array([0, 10, 21, 50], dtype=np.int64)
    clock = build_clock(Timeline(times, times + 3, 60, Fraction(1, 100)), 2)
    assert clock.time_base == Fraction(1, 200)
    assert (clock.pts - 6).tolist() == [0, 10, 20, 31, 42, 71, 100, 110]
    assert clock.durations.sum() == clock.end_pts - clock.pts[0] == 120


def test_clock_of_inverse_telecine() -> None:
    clock = build_clock(make_timeline(50, 1001), Fraction(4, 5))
    assert len(clock) == 40
    assert set(np.diff(clock.pts).tolist()) == {5005}
    assert clock.written(20, 45) == (16, 36)


def test_parts_of_a_clock_add_up() -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.integers(1, 9, 100)).astype(np.int64)
    for ratio in (1, 2, Fraction(4, 5), Fraction(5, 2)):
        clock = build_clock(Timeline(times - times[0], times, int(times[-1] - times[0]) + 5, Fraction(1, 90)), ratio)
        parts = [clock.part(start, start + 20) for start in range(0, 100, 20)]
        whole = np.concatenate([part.durations for part in parts])
        assert whole.tolist() == clock.durations.tolist()
        assert all(part.pts[0] == 0 for part in parts)


def test_repeated_times_are_separated() -> None:
    times = np.array([0, 10, 10, 10, 11, 30], dtype=np.int64)
    clock = build_clock(Timeline(times, times, 40, Fraction(1, 100)))
    assert clock.pts.tolist() == [0, 10, 11, 12, 13, 30]
    assert clock.moved == 3


@pytest.mark.parametrize(
    ("seconds", "context_frames", "share", "length"),
    [(30, 0, 0.1, 4.0), (160, 0, 0.1, 10.0), (3600, 0, 0.1, 30.0), (60, 15, 0.1, 12.0), (60, 15, 0.05, 24.0)],
)
def test_default_length_depends_on_duration_and_context(
    seconds: int, context_frames: int, share: float, length: float
) -> None:
    """Use 25 frames per second; more context frames make segments longer."""
    assert choose_segment_seconds(make_timeline(25 * seconds), context_frames, share) == pytest.approx(length)
