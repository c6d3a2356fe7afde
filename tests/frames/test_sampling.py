"""Frame selection for any video and any requested times."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tasks.frames.params import FramesParams, check_frames, choose_frames
from tasks.frames.sampling import SampleRequest, Selection, Video
from tasks.frames.sampling import select_frames as select
from tasks.media.timeline import Timeline


def select_frames(line: Timeline, support: list[float], params: FramesParams) -> Selection:
    return select(Video(line), SampleRequest("a", tuple(support)), params)


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


def list_indices(params: FramesParams, start: float | None = None, end: float | None = None, **video: Any) -> list[int]:
    """Return the indices selected from 80 frames at 25 fps."""
    chosen = Video(create_timeline(80), **video)
    return [pick.index for pick in select(chosen, SampleRequest("a", (), start, end), params).picks]


RULES = [
    ({"fps": 1}, [0, 25, 50, 75]),
    ({"fps": 12.5}, list(range(0, 80, 2))),
    ({"fps": 1000}, list(range(80))),
    ({"fps": 10}, [index for five in range(0, 80, 5) for index in (five, five + 2)]),
    ({"every": "1s"}, [0, 25, 50, 75]),
    ({"every": "0.04s"}, list(range(80))),
    ({"every": "30"}, [0, 30, 60]),
    ({"all": True}, list(range(80))),
    ({"keyframes": True}, [0, 12, 70]),
    ({"shots": 1}, [20, 50, 70]),
    ({"shots": 2}, [10, 30, 45, 55, 65, 75]),
    ({"fps": 1, "max_frames": 2}, [25, 75]),
    ({"all": True, "max_frames": 4}, [10, 30, 50, 70]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "indices"), RULES, ids=[str(row[0]) for row in RULES])
def test_rule_selects_these_frames(options: dict[str, Any], indices: list[int]) -> None:
    params = FramesParams(**{"max_frames": None, **options})
    assert list_indices(params, keyframes=(0, 12, 70), cuts=(40, 60)) == indices


@pytest.mark.parametrize(
    ("options", "indices"),
    [
        ({"all": True}, list(range(26, 51))),
        ({"fps": 1}, [26]),
        ({"every": "10"}, [26, 36, 46]),
        ({"keyframes": True}, [30]),
        ({"shots": 1}, [33, 45]),
        ({"strategy": "uniform", "max_frames": 2}, [32, 44]),
    ],
)
def test_rule_stays_between_start_and_end(options: dict[str, Any], indices: list[int]) -> None:
    """The frame shown at 1.05 s is 26, and the last one that starts before 2.04 s is 50."""
    params = FramesParams(**{"max_frames": None, **options})
    assert list_indices(params, 1.05, 2.04, keyframes=(0, 30, 60), cuts=(20, 40)) == indices


def test_part_outside_the_video_gives_no_frames_and_is_reported() -> None:
    video = Video(create_timeline(80))
    for rule in ({"all": True}, {"fps": 2}, {"shots": 1}, {"random": 3}, {"strategy": "uniform"}):
        selection = select(video, SampleRequest("a", (), 3.2, 9.0), FramesParams(**rule))
        assert (selection.picks, selection.outside) == ((), (3.2, 9.0))


def test_support_timestamp_outside_the_part_selects_no_frame() -> None:
    request = SampleRequest("a", (0.5, 1.5), start=1.0, end=2.0)
    selection = select(Video(create_timeline(80)), request, FramesParams(strategy="support"))
    assert [pick.index for pick in selection.picks] == [37]
    assert selection.outside == (0.5,)


def test_random_frames_are_the_same_in_every_run_and_differ_by_seed_and_sample() -> None:
    def draw(sample: str = "a", **options: Any) -> list[int]:
        params = FramesParams(max_frames=None, random=10, **options)
        return [pick.index for pick in select(Video(create_timeline(500)), SampleRequest(sample), params).picks]

    assert draw() == draw(seed=0) == sorted(set(draw()))
    assert len({tuple(draw()), tuple(draw(seed=1)), tuple(draw("b"))}) == 3
    counts = np.bincount([index // 100 for number in range(200) for index in draw(f"s{number}")], minlength=5)
    assert counts.sum() == 2000
    assert counts.min() > 340


def test_support_frames_come_before_those_of_a_rule() -> None:
    params = FramesParams(max_frames=None, fps=1)
    selection = select_frames(create_timeline(80), [0.0, 0.5], params)
    assert [(pick.index, pick.source) for pick in selection.picks] == [
        (0, "support"), (12, "support"), (25, "fps"), (50, "fps"), (75, "fps"),
    ]  # fmt: skip
    only_rule = select_frames(create_timeline(80), [0.5], FramesParams(max_frames=None, fps=1, strategy="rule"))
    assert [pick.index for pick in only_rule.picks] == [0, 25, 50, 75]


def test_frames_beyond_the_maximum_are_counted() -> None:
    selection = select_frames(create_timeline(80), [0.1], FramesParams(max_frames=3, every="10"))
    assert (len(selection.picks), selection.left_out) == (3, 6)


def test_offset_moves_all_times_by_the_same_amount() -> None:
    offset = Fraction(3, 2)
    for options in ({"fps": 3}, {"every": "0.3s"}, {"strategy": "uniform"}, {"shots": 2}):
        params = FramesParams(**{"max_frames": None, **options})
        moved = select(Video(create_timeline(80), offset), SampleRequest("a", (2.0,), 1.7, 3.9), params)
        still = select(Video(create_timeline(80)), SampleRequest("a", (0.5,), 0.2, 2.4), params)
        assert [pick.index for pick in moved.picks] == [pick.index for pick in still.picks]
        for left, right in zip(moved.picks, still.picks, strict=True):
            assert left.requested_seconds == pytest.approx(right.requested_seconds + 1.5)
    early = select(Video(create_timeline(80), offset), SampleRequest("a", (1.4,)), FramesParams(strategy="support"))
    assert early.outside == (1.4,)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fps": 1.0, "all": True}, "--fps, --all: given together"),
        ({"fps": 1.0, "strategy": "uniform"}, "--strategy uniform: given with --fps"),
        ({"keyframes": True, "strategy": "support"}, "--strategy support: given with --keyframes"),
        ({"strategy": "rule"}, "--strategy rule: without a rule"),
        ({"seed": 3}, "--seed: given without --random"),
        ({"random": 9, "max_frames": 8}, "--random: 9, more than --max-frames 8"),
    ],
)
def test_contradicting_options_are_one_line(options: dict[str, Any], words: str) -> None:
    defaults = {**FramesParams().model_dump(), "max_frames": None}
    assert check_frames(defaults) == []
    (problem,) = check_frames({**defaults, **options})
    assert words in str(problem)


def test_rule_has_no_maximum_by_default() -> None:
    defaults = {**FramesParams().model_dump(), "max_frames": None}
    assert choose_frames(defaults) == FramesParams()
    assert choose_frames({**defaults, "all": True}).max_frames is None
    assert choose_frames({**defaults, "all": True, "max_frames": 5}).max_frames == 5
