"""The second look for lost hands, on real frames: what it finds, what it must not find, and when it gives up."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.landmarks.detection.rescue import HandRescue
from tasks.landmarks.points import SKELETONS
from tests.landmarks.detection.conftest import frames_of

SKELETON = SKELETONS["holistic"]
LEFT, RIGHT = (SKELETON.part(f"{side}_hand_landmarks").span for side in ("left", "right"))
POSE = SKELETON.part("pose_landmarks").span
NOTHING = np.full((SKELETON.points, 4), np.nan, np.float32)


@pytest.fixture
def rescue(models):
    made = HandRescue(models["hands"])
    yield made
    made.close()


@pytest.fixture
def looks(rescue, monkeypatch):
    """The sizes of the pictures that the model was shown, in order."""
    shown, look = [], rescue._graph.detect_alone

    def counted(picture):
        shown.append(picture.shape[:2])
        return look(picture)

    monkeypatch.setattr(rescue._graph, "detect_alone", counted)
    return shown


@pytest.fixture(scope="module")
def signing(shared_data, models):
    """Frames of a woman with one hand up and one down under a camera that moves, and what the holistic model finds."""
    from tasks.landmarks.detection.landmarker import Landmarker

    photo = cv2.imread(str(shared_data / "hands" / "gestures" / "rock_18e20af8.jpg"))
    frames = [np.ascontiguousarray(np.roll(photo, 4 * number, axis=1)[..., ::-1]) for number in range(4)]
    with Landmarker("holistic", models["holistic"]) as landmarker:
        points = [landmarker.detect(frame, 80 * number) for number, frame in enumerate(frames)]
    assert not any(np.isnan(found).any() for found in points), "both hands are there in every frame"
    return list(zip(frames, points, strict=True))


@pytest.fixture(scope="module")
def asl_hand(shared_data):
    """A forearm and a hand that signs, nothing else: 1080 x 620."""
    return frames_of(shared_data / "hands" / "handonly" / "tfjs_asl_hand.25fps.mp4", range(0, 60, 6))


def without(points, *spans):
    lost = points.copy()
    for span in spans:
        lost[span] = np.nan
    return lost


def distance(one, other, size):
    """Mean distance of points, as a share of the hand's extent."""
    pixels = np.stack([one[:, :2], other[:, :2]]) * (size[1], size[0])
    return np.hypot(*(pixels[0] - pixels[1]).T).mean() / np.ptp(pixels[1], axis=0).max()


def test_a_lost_hand_is_found_where_it_was(rescue, signing):
    picture, points = signing[0]
    lost = without(points, RIGHT)
    assert rescue.rescue(picture, lost, 0) == {"right_hand_landmarks"}
    assert distance(lost[RIGHT], points[RIGHT], picture.shape) < 0.1
    np.testing.assert_array_equal(lost[RIGHT, 3], 1.0)
    np.testing.assert_array_equal(np.delete(lost, np.r_[RIGHT], axis=0), np.delete(points, np.r_[RIGHT], axis=0))


def test_depth_is_in_the_scale_of_the_whole_picture(rescue, signing):
    picture, points = signing[0]
    lost = without(points, RIGHT)
    rescue.rescue(picture, lost, 0)
    assert np.ptp(lost[RIGHT, 2]) == pytest.approx(np.ptp(points[RIGHT, 2]), rel=0.5)


def test_nothing_is_looked_for_where_nothing_is_lost(rescue, looks, signing):
    for number, (picture, points) in enumerate(signing):
        whole = points.copy()
        assert rescue.rescue(picture, whole, 80 * number) == frozenset()
        np.testing.assert_array_equal(whole, points)
    assert looks == []


def test_a_hand_is_followed_from_where_it_was(rescue, looks, signing):
    """The pose is gone, and the left hand is not: what is known of the right one is where it was."""
    picture, points = signing[0]
    rescue.rescue(picture, points.copy(), 0)
    picture, points = signing[1]
    lost = without(points, RIGHT, POSE)
    assert rescue.rescue(picture, lost, 80) == {"right_hand_landmarks"}
    assert distance(lost[RIGHT], points[RIGHT], picture.shape) < 0.1
    assert looks[0] < picture.shape[:2]


def test_the_other_hand_is_not_taken_twice(rescue, signing):
    """The pose puts the left wrist where the right one is: what is found there is the right hand, which is known."""
    picture, points = signing[0]
    lost = without(points, LEFT)
    pose = SKELETON.part("pose_landmarks").point_names
    for name in ("wrist", "elbow", "pinky", "index", "thumb"):
        lost[pose.index(f"left_{name}")] = lost[pose.index(f"right_{name}")]
    assert rescue.rescue(picture, lost, 0) == frozenset()
    assert np.isnan(lost[LEFT]).all()


def test_one_hand_that_the_model_puts_elsewhere_is_still_one(rescue, signing):
    """As above, and the right hand that is known lies most of a palm beside the one that is found."""
    picture, points = signing[0]
    lost = without(points, LEFT)
    pose = SKELETON.part("pose_landmarks").point_names
    for name in ("wrist", "elbow", "pinky", "index", "thumb"):
        lost[pose.index(f"left_{name}")] = lost[pose.index(f"right_{name}")]
    knuckle, wrist = (lost[RIGHT][number, :2] * picture.shape[1::-1] for number in (9, 0))
    lost[RIGHT, 0] += 0.8 * np.hypot(*(knuckle - wrist)) / picture.shape[1]
    assert rescue.rescue(picture, lost, 0) == frozenset()


def test_hands_without_a_person_are_found_in_the_whole_picture(rescue, asl_hand):
    found = []
    for number, picture in enumerate(asl_hand):
        points = NOTHING.copy()
        found.append(rescue.rescue(picture, points, 240 * number))
    assert [len(parts) for parts in found] == [1] * len(asl_hand)
    assert len(set(found)) == 1, "it is one hand, and its side does not waver"


def test_in_a_picture_without_hands_nothing_is_found_and_looks_become_rare(rescue, looks):
    """Shoulders and wrists are there by the pose, and a meadow is all that there is to see."""
    noise = np.random.default_rng(1).integers(60, 120, (360, 640, 3), np.uint8)
    meadow = cv2.GaussianBlur(noise, (0, 0), 3)
    points = NOTHING.copy()
    points[POSE] = np.linspace((0.3, 0.3, 0, 1), (0.7, 0.7, 0, 1), 33)
    for number in range(100):
        assert rescue.rescue(meadow, points, 40 * number) == frozenset()
    assert np.isnan(points[LEFT]).all()
    assert np.isnan(points[RIGHT]).all()
    a_search = 3 + 100 // 9  # frames 0, 2, 5 and 10, then every ninth
    assert len(looks) <= 3 * (a_search + 1)


def test_a_hand_that_comes_back_is_found_again(rescue, asl_hand):
    empty = np.full_like(asl_hand[0], 180)
    for number in range(30):
        assert rescue.rescue(empty, NOTHING.copy(), 40 * number) == frozenset()
    found = [rescue.rescue(asl_hand[0], NOTHING.copy(), 1200 + 40 * number) for number in range(9)]
    assert any(found)


def test_wrists_outside_the_picture_are_not_looked_at(rescue, looks, signing):
    picture, points = signing[0]
    lost = without(points, RIGHT)
    lost[SKELETON.part("pose_landmarks").point_names.index("right_wrist"), 1] = 1.2
    assert rescue.rescue(picture, lost, 0) == frozenset()
    assert looks == []


def test_a_sample_does_not_depend_on_what_ran_before_it(models, signing, asl_hand):
    def sample(rescue, frames):
        rescue.restart()
        rows = []
        for number, (picture, points) in enumerate(frames):
            filled = points.copy()
            rescue.rescue(picture, filled, 80 * number)
            rows.append(filled)
        return np.stack(rows).tobytes()

    lost = [(picture, without(points, RIGHT)) for picture, points in signing]
    alone = [(picture, NOTHING) for picture in asl_hand]
    first = HandRescue(models["hands"])
    second = HandRescue(models["hands"])
    one, other = sample(first, lost), sample(second, alone)
    assert sample(first, alone) == other
    assert sample(second, lost) == one
    for made in (first, second):
        made.close()


def test_a_wrong_model_is_told(models):
    from tasks.engine.contract.errors import RunError

    with pytest.raises(RunError, match=Path(models["face"]).name):
        HandRescue(models["face"])
