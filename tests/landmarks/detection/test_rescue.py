"""The hand rescue on real frames: hands it finds, hands it must not find, and when it gives up."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.landmarks.detection.rescue import HandRescue
from tasks.landmarks.points import SKELETONS
from tests.landmarks.detection.conftest import read_frames

SKELETON = SKELETONS["holistic"]
LEFT, RIGHT = (SKELETON.find_part(f"{side}_hand_landmarks").span for side in ("left", "right"))
POSE = SKELETON.find_part("pose_landmarks").span
EMPTY = np.full((SKELETON.points, 4), np.nan, np.float32)


@pytest.fixture
def rescue(models):
    hand_rescue = HandRescue(models["hands"])
    yield hand_rescue
    hand_rescue.close()


@pytest.fixture
def search_sizes(rescue, monkeypatch):
    """List the sizes of the images that the model was run on, in order."""
    sizes, detect = [], rescue._graph.detect_image

    def record_size(image):
        sizes.append(image.shape[:2])
        return detect(image)

    monkeypatch.setattr(rescue._graph, "detect_image", record_size)
    return sizes


@pytest.fixture(scope="module")
def signing(shared_data, models):
    """Return frames of a woman with one hand up and one down under a moving camera, with the holistic landmarks."""
    from tasks.landmarks.detection.landmarker import Landmarker

    photo = cv2.imread(str(shared_data / "hands" / "gestures" / "rock_18e20af8.jpg"))
    frames = [np.ascontiguousarray(np.roll(photo, 4 * number, axis=1)[..., ::-1]) for number in range(4)]
    with Landmarker("holistic", models["holistic"]) as landmarker:
        points = [landmarker.detect(frame, 80 * number) for number, frame in enumerate(frames)]
    assert not any(np.isnan(found).any() for found in points), "both hands are there in every frame"
    return list(zip(frames, points, strict=True))


@pytest.fixture(scope="module")
def asl_hand(shared_data):
    """Return frames of a signing hand and its forearm without a person, 1080x620."""
    return read_frames(shared_data / "hands" / "handonly" / "tfjs_asl_hand.25fps.mp4", range(0, 60, 6))


def remove_points(points, *spans):
    remaining = points.copy()
    for span in spans:
        remaining[span] = np.nan
    return remaining


def distance(first, second, size):
    """Return the mean distance of the points as a share of the hand's extent."""
    pixels = np.stack([first[:, :2], second[:, :2]]) * (size[1], size[0])
    return np.hypot(*(pixels[0] - pixels[1]).T).mean() / np.ptp(pixels[1], axis=0).max()


def test_lost_hand_is_found_at_its_wrist(rescue, signing):
    image, points = signing[0]
    lost = remove_points(points, RIGHT)
    assert rescue.rescue(image, lost, 0) == {"right_hand_landmarks"}
    assert distance(lost[RIGHT], points[RIGHT], image.shape) < 0.1
    np.testing.assert_array_equal(lost[RIGHT, 3], 1.0)
    np.testing.assert_array_equal(np.delete(lost, np.r_[RIGHT], axis=0), np.delete(points, np.r_[RIGHT], axis=0))


def test_depth_is_in_the_scale_of_the_whole_image(rescue, signing):
    image, points = signing[0]
    lost = remove_points(points, RIGHT)
    rescue.rescue(image, lost, 0)
    assert np.ptp(lost[RIGHT, 2]) == pytest.approx(np.ptp(points[RIGHT, 2]), rel=0.5)


def test_no_search_runs_if_no_hand_is_missing(rescue, search_sizes, signing):
    for number, (image, points) in enumerate(signing):
        whole = points.copy()
        assert rescue.rescue(image, whole, 80 * number) == frozenset()
        np.testing.assert_array_equal(whole, points)
    assert search_sizes == []


def test_lost_hand_is_found_at_its_last_position(rescue, search_sizes, signing):
    """Remove the pose, so that only the last position of the right hand is known."""
    image, points = signing[0]
    rescue.rescue(image, points.copy(), 0)
    image, points = signing[1]
    lost = remove_points(points, RIGHT, POSE)
    assert rescue.rescue(image, lost, 80) == {"right_hand_landmarks"}
    assert distance(lost[RIGHT], points[RIGHT], image.shape) < 0.1
    assert search_sizes[0] < image.shape[:2]


def test_known_hand_is_not_rescued_as_the_other_one(rescue, signing):
    """Move the left wrist of the pose onto the right hand, which is already known."""
    image, points = signing[0]
    lost = remove_points(points, LEFT)
    pose = SKELETON.find_part("pose_landmarks").point_names
    for name in ("wrist", "elbow", "pinky", "index", "thumb"):
        lost[pose.index(f"left_{name}")] = lost[pose.index(f"right_{name}")]
    assert rescue.rescue(image, lost, 0) == frozenset()
    assert np.isnan(lost[LEFT]).all()


def test_displaced_known_hand_is_not_rescued_as_the_other_one(rescue, signing):
    """Repeat this with the known right hand displaced by most of a palm."""
    image, points = signing[0]
    lost = remove_points(points, LEFT)
    pose = SKELETON.find_part("pose_landmarks").point_names
    for name in ("wrist", "elbow", "pinky", "index", "thumb"):
        lost[pose.index(f"left_{name}")] = lost[pose.index(f"right_{name}")]
    knuckle, wrist = (lost[RIGHT][number, :2] * image.shape[1::-1] for number in (9, 0))
    lost[RIGHT, 0] += 0.8 * np.hypot(*(knuckle - wrist)) / image.shape[1]
    assert rescue.rescue(image, lost, 0) == frozenset()


def test_hand_without_a_person_is_found_in_the_whole_image(rescue, asl_hand):
    rescued = []
    for number, image in enumerate(asl_hand):
        points = EMPTY.copy()
        rescued.append(rescue.rescue(image, points, 240 * number))
    assert [len(parts) for parts in rescued] == [1] * len(asl_hand)
    assert len(set(rescued)) == 1, "one hand, and its side does not change"


def test_without_hands_no_hand_is_found_and_searches_become_rare(rescue, search_sizes):
    """Combine a pose with shoulders and wrists with an image of a meadow."""
    noise = np.random.default_rng(1).integers(60, 120, (360, 640, 3), np.uint8)
    meadow = cv2.GaussianBlur(noise, (0, 0), 3)
    points = EMPTY.copy()
    points[POSE] = np.linspace((0.3, 0.3, 0, 1), (0.7, 0.7, 0, 1), 33)
    for number in range(100):
        assert rescue.rescue(meadow, points, 40 * number) == frozenset()
    assert np.isnan(points[LEFT]).all()
    assert np.isnan(points[RIGHT]).all()
    per_search = 3 + 100 // 9  # frames 0, 2, 5 and 10, then every ninth
    assert len(search_sizes) <= 3 * (per_search + 1)


def test_hand_that_reappears_is_found_again(rescue, asl_hand):
    empty = np.full_like(asl_hand[0], 180)
    for number in range(30):
        assert rescue.rescue(empty, EMPTY.copy(), 40 * number) == frozenset()
    rescued = [rescue.rescue(asl_hand[0], EMPTY.copy(), 1200 + 40 * number) for number in range(9)]
    assert any(rescued)


def test_wrists_outside_the_image_are_not_searched(rescue, search_sizes, signing):
    image, points = signing[0]
    lost = remove_points(points, RIGHT)
    lost[SKELETON.find_part("pose_landmarks").point_names.index("right_wrist"), 1] = 1.2
    assert rescue.rescue(image, lost, 0) == frozenset()
    assert search_sizes == []


def test_result_does_not_depend_on_earlier_samples(models, signing, asl_hand):
    def run_sample(rescue, frames):
        rescue.restart()
        rows = []
        for number, (image, points) in enumerate(frames):
            filled = points.copy()
            rescue.rescue(image, filled, 80 * number)
            rows.append(filled)
        return np.stack(rows).tobytes()

    lost = [(image, remove_points(points, RIGHT)) for image, points in signing]
    alone = [(image, EMPTY) for image in asl_hand]
    first = HandRescue(models["hands"])
    second = HandRescue(models["hands"])
    first_rows, second_rows = run_sample(first, lost), run_sample(second, alone)
    assert run_sample(first, alone) == second_rows
    assert run_sample(second, lost) == first_rows
    for hand_rescue in (first, second):
        hand_rescue.close()


def test_wrong_model_is_rejected(models):
    from tasks.engine.contract.errors import RunError

    with pytest.raises(RunError, match=Path(models["face"]).name):
        HandRescue(models["face"])
