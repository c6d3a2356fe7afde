"""Gaps: which are filled, with what, and that nothing else is touched."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.landmarks.gaps import fill_gaps
from tasks.landmarks.points import SKELETONS
from tasks.landmarks.sequence import BadFrame, LandmarkSequence, Source

HANDS = SKELETONS["hands"]
LEFT, RIGHT = HANDS.parts


def hands(left, right=None, times=None):
    """A sequence whose left hand is there where ``left`` has an x; the right one likewise, or never."""
    frames = len(left)
    right = [np.nan] * frames if right is None else right
    points = np.full((frames, HANDS.points, 4), np.nan, np.float32)
    for part, xs in ((LEFT, left), (RIGHT, right)):
        x = np.array(xs, np.float32)[:, None]
        visibility = np.where(np.isnan(x), np.nan, 1)
        points[:, part.span] = np.stack(np.broadcast_arrays(x, 10 * x, -x, visibility), axis=-1)
    source = np.where(np.isnan(np.array([left, right])), Source.MISSING, Source.DETECTED).T.astype(np.uint8)
    shown = np.arange(frames) / 25 if times is None else np.array(times, float)
    return LandmarkSequence("hands", HANDS, points, source, shown, 25.0, 320, 240)


def xs(sequence, part=LEFT):
    return [round(float(x), 5) for x in sequence.points[:, part.start, 0]]


NO = np.nan


def test_a_gap_is_filled_straight_from_one_side_to_the_other():
    filled = fill_gaps(hands([1, NO, NO, 4]), 2)
    assert xs(filled) == [1, 2, 3, 4]
    np.testing.assert_allclose(filled.points[1, LEFT.span], np.tile([2, 20, -2, 1], (21, 1)), rtol=1e-6)
    assert filled.source[:, 0].tolist() == [Source.DETECTED, Source.FILLED, Source.FILLED, Source.DETECTED]


def test_by_time_and_not_by_number():
    assert xs(fill_gaps(hands([1, NO, NO, 5], times=[0, 0.3, 0.35, 0.4]), 2)) == [1, 4, 4.5, 5]


def test_frames_that_are_shown_at_once_are_filled_half_way():
    assert xs(fill_gaps(hands([1, NO, 5], times=[0.2, 0.2, 0.2]), 1)) == [1, 3, 5]


@pytest.mark.parametrize(("most", "filled"), [(0, set()), (1, {1}), (2, {1, 3, 4}), (3, {1, 3, 4, 6, 7, 8})])
def test_a_gap_longer_than_allowed_stays(most, filled):
    sequence = fill_gaps(hands([0, NO, 2, NO, NO, 5, NO, NO, NO, 9]), most)
    assert set(np.flatnonzero(sequence.source[:, 0] == Source.FILLED)) == filled
    present = sequence.get_presence("left_hand_landmarks")
    assert np.isfinite(sequence.points[present][:, LEFT.span]).all()
    assert np.isnan(sequence.points[~present][:, LEFT.span]).all()


def test_gaps_at_the_ends_stay():
    sequence = hands([NO, 1, NO])
    np.testing.assert_array_equal(fill_gaps(sequence, 10).points, sequence.points)
    np.testing.assert_array_equal(fill_gaps(sequence, 10).source, sequence.source)


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_a_part_that_is_never_there_stays_missing(frames):
    assert (fill_gaps(hands([NO] * frames), 5).source == Source.MISSING).all()


def test_each_part_has_gaps_of_its_own():
    filled = fill_gaps(hands([0, NO, 2, NO, NO, 5], [3, 3, NO, NO, NO, 3]), 2)
    assert xs(filled) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(xs(filled, RIGHT), [3, 3, NO, NO, NO, 3])


def test_visibility_is_the_lower_of_both_sides():
    pose = SKELETONS["pose"]
    points = np.ones((3, pose.points, 4), np.float32)
    points[0, :, 3], points[2, :, 3] = 0.9, np.linspace(0, 1, pose.points)
    points[1] = np.nan
    source = np.array([[1], [0], [1]], np.uint8)
    filled = fill_gaps(LandmarkSequence("pose", pose, points, source, np.arange(3) / 25, 25.0, 320, 240), 1)
    np.testing.assert_allclose(filled.points[1, :, 3], np.minimum(0.9, np.linspace(0, 1, pose.points)), rtol=1e-6)


def test_what_was_found_is_not_touched_and_the_given_sequence_neither():
    rng = np.random.default_rng(3)
    sequence = hands(np.where(rng.random(200) < 0.4, NO, rng.random(200)), np.where(rng.random(200) < 0.6, NO, 0.3))
    found = sequence.source == Source.DETECTED
    sequence.source[found] = rng.choice([Source.DETECTED, Source.RESCUED], found.sum())
    before = replace(sequence, points=sequence.points.copy(), source=sequence.source.copy())
    filled = fill_gaps(sequence, 3)
    np.testing.assert_array_equal(sequence.points, before.points)
    np.testing.assert_array_equal(sequence.source, before.source)
    for number, part in enumerate(HANDS.parts):
        found = sequence.source[:, number] != Source.MISSING
        np.testing.assert_array_equal(filled.points[found][:, part.span], sequence.points[found][:, part.span])
        np.testing.assert_array_equal(filled.source[found, number], sequence.source[found, number])
    assert (filled.source == Source.FILLED).sum() > 20


def test_filling_twice_is_filling_once_with_the_larger_bound():
    sequence = hands([0, NO, 5, NO, NO, 2, NO, NO, NO, 9, NO])
    np.testing.assert_array_equal(fill_gaps(fill_gaps(sequence, 1), 3).points, fill_gaps(sequence, 3).points)


def test_a_bad_frame_is_filled_as_any_other_and_still_named():
    sequence = replace(hands([1, NO, 3]), bad_frames=(BadFrame(1, "000002.png", "truncated"),))
    filled = fill_gaps(sequence, 1)
    assert xs(filled) == [1, 2, 3]
    assert filled.bad_frames == sequence.bad_frames


def test_a_negative_bound_is_refused():
    with pytest.raises(ValueError, match="most_frames: -1; allowed: 0 or more"):
        fill_gaps(hands([1]), -1)
