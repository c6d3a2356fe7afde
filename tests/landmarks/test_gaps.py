"""Gap filling: which gaps are filled and how; all other points stay unchanged."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.landmarks.gaps import fill_gaps
from tasks.landmarks.points import SKELETONS
from tasks.landmarks.sequence import BadFrame, LandmarkSequence, Source

HANDS = SKELETONS["hands"]
LEFT, RIGHT = HANDS.parts


def create_hands(left, right=None, times=None):
    """Return a sequence whose left hand is present if ``left`` has an x; same for the right hand, default absent."""
    frames = len(left)
    right = [np.nan] * frames if right is None else right
    points = np.full((frames, HANDS.points, 4), np.nan, np.float32)
    for part, list_xs in ((LEFT, left), (RIGHT, right)):
        x = np.array(list_xs, np.float32)[:, None]
        visibility = np.where(np.isnan(x), np.nan, 1)
        points[:, part.span] = np.stack(np.broadcast_arrays(x, 10 * x, -x, visibility), axis=-1)
    source = np.where(np.isnan(np.array([left, right])), Source.MISSING, Source.DETECTED).T.astype(np.uint8)
    times_seconds = np.arange(frames) / 25 if times is None else np.array(times, float)
    return LandmarkSequence("hands", HANDS, points, source, times_seconds, 25.0, 320, 240)


def list_xs(sequence, part=LEFT):
    return [round(float(x), 5) for x in sequence.points[:, part.start, 0]]


NAN = np.nan


def test_gap_is_filled_by_linear_interpolation():
    filled = fill_gaps(create_hands([1, NAN, NAN, 4]), 2)
    assert list_xs(filled) == [1, 2, 3, 4]
    np.testing.assert_allclose(filled.points[1, LEFT.span], np.tile([2, 20, -2, 1], (21, 1)), rtol=1e-6)
    assert filled.source[:, 0].tolist() == [Source.DETECTED, Source.FILLED, Source.FILLED, Source.DETECTED]


def test_interpolation_uses_times_instead_of_frame_numbers():
    assert list_xs(fill_gaps(create_hands([1, NAN, NAN, 5], times=[0, 0.3, 0.35, 0.4]), 2)) == [1, 4, 4.5, 5]


def test_frames_with_equal_times_are_filled_with_the_midpoint():
    assert list_xs(fill_gaps(create_hands([1, NAN, 5], times=[0.2, 0.2, 0.2]), 1)) == [1, 3, 5]


@pytest.mark.parametrize(("max_frames", "filled"), [(0, set()), (1, {1}), (2, {1, 3, 4}), (3, {1, 3, 4, 6, 7, 8})])
def test_gap_longer_than_the_maximum_stays(max_frames, filled):
    sequence = fill_gaps(create_hands([0, NAN, 2, NAN, NAN, 5, NAN, NAN, NAN, 9]), max_frames)
    assert set(np.flatnonzero(sequence.source[:, 0] == Source.FILLED)) == filled
    present = sequence.get_presence("left_hand_landmarks")
    assert np.isfinite(sequence.points[present][:, LEFT.span]).all()
    assert np.isnan(sequence.points[~present][:, LEFT.span]).all()


def test_gaps_at_the_ends_stay():
    sequence = create_hands([NAN, 1, NAN])
    np.testing.assert_array_equal(fill_gaps(sequence, 10).points, sequence.points)
    np.testing.assert_array_equal(fill_gaps(sequence, 10).source, sequence.source)


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_part_that_is_never_present_stays_missing(frames):
    assert (fill_gaps(create_hands([NAN] * frames), 5).source == Source.MISSING).all()


def test_each_part_is_filled_independently():
    filled = fill_gaps(create_hands([0, NAN, 2, NAN, NAN, 5], [3, 3, NAN, NAN, NAN, 3]), 2)
    assert list_xs(filled) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(list_xs(filled, RIGHT), [3, 3, NAN, NAN, NAN, 3])


def test_visibility_is_the_lower_of_both_sides():
    pose = SKELETONS["pose"]
    points = np.ones((3, pose.points, 4), np.float32)
    points[0, :, 3], points[2, :, 3] = 0.9, np.linspace(0, 1, pose.points)
    points[1] = np.nan
    source = np.array([[1], [0], [1]], np.uint8)
    filled = fill_gaps(LandmarkSequence("pose", pose, points, source, np.arange(3) / 25, 25.0, 320, 240), 1)
    np.testing.assert_allclose(filled.points[1, :, 3], np.minimum(0.9, np.linspace(0, 1, pose.points)), rtol=1e-6)


def test_detected_points_and_the_input_do_not_change():
    rng = np.random.default_rng(3)
    sequence = create_hands(
        np.where(rng.random(200) < 0.4, NAN, rng.random(200)), np.where(rng.random(200) < 0.6, NAN, 0.3)
    )
    is_present = sequence.source == Source.DETECTED
    sequence.source[is_present] = rng.choice([Source.DETECTED, Source.RESCUED], is_present.sum())
    before = replace(sequence, points=sequence.points.copy(), source=sequence.source.copy())
    filled = fill_gaps(sequence, 3)
    np.testing.assert_array_equal(sequence.points, before.points)
    np.testing.assert_array_equal(sequence.source, before.source)
    for number, part in enumerate(HANDS.parts):
        is_present = sequence.source[:, number] != Source.MISSING
        np.testing.assert_array_equal(
            filled.points[is_present][:, part.span], sequence.points[is_present][:, part.span]
        )
        np.testing.assert_array_equal(filled.source[is_present, number], sequence.source[is_present, number])
    assert (filled.source == Source.FILLED).sum() > 20


def test_filling_twice_equals_filling_once_with_the_larger_maximum():
    sequence = create_hands([0, NAN, 5, NAN, NAN, 2, NAN, NAN, NAN, 9, NAN])
    np.testing.assert_array_equal(fill_gaps(fill_gaps(sequence, 1), 3).points, fill_gaps(sequence, 3).points)


def test_bad_frame_is_filled_and_still_listed():
    sequence = replace(create_hands([1, NAN, 3]), bad_frames=(BadFrame(1, "000002.png", "truncated"),))
    filled = fill_gaps(sequence, 1)
    assert list_xs(filled) == [1, 2, 3]
    assert filled.bad_frames == sequence.bad_frames


def test_negative_maximum_is_rejected():
    with pytest.raises(ValueError, match="max_frames: -1; allowed: 0 or more"):
        fill_gaps(create_hands([1]), -1)
