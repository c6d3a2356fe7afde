"""Assignment of hands to sides, on photographs and with contradicting labels."""

import logging

import cv2
import numpy as np
import pytest

from tasks.landmarks.detection.handedness import Hand, assign_sides

# In each photo the person faces the camera and shows one hand, in two of them both hands.
PHOTOS = ("call_0413d5c5", "call_044768ad", "four_0c960166", "rock_20e2164d", "call_17d804b5", "rock_18e20af8")
WRISTS = {"left": 15, "right": 16}  # of the pose


def create_hand(x, label, score, size=0.2):
    grid = np.linspace(0, size, 21, dtype=np.float32)
    return Hand(np.stack([x + grid, 0.5 + grid, 0 * grid, 1 + 0 * grid], axis=1), label, score)


def list_labels(sides):
    return {side: (create_hand.label, create_hand.score) for side, create_hand in sides.items()}


def test_no_hands_give_no_sides():
    assert assign_sides([]) == {}


@pytest.mark.parametrize("label", ["left", "right"])
def test_single_hand_gets_the_side_of_its_label(label):
    assert list_labels(assign_sides([create_hand(0.1, label, 0.6)])) == {label: (label, 0.6)}


def test_two_labels_give_two_sides_in_any_order():
    hands = [create_hand(0.1, "right", 0.7), create_hand(0.6, "left", 0.9)]
    assert (
        list_labels(assign_sides(hands))
        == list_labels(assign_sides(hands[::-1]))
        == {"left": ("left", 0.9), "right": ("right", 0.7)}
    )


@pytest.mark.parametrize(("label", "other"), [("left", "right"), ("right", "left")])
def test_hand_with_the_lower_score_gets_the_other_side(label, other):
    hands = [create_hand(0.6, label, 0.54), create_hand(0.1, label, 0.96)]
    assert (
        list_labels(assign_sides(hands))
        == list_labels(assign_sides(hands[::-1]))
        == {label: (label, 0.96), other: (label, 0.54)}
    )


@pytest.mark.parametrize("label", ["left", "right"])
def test_duplicate_detection_is_dropped_and_logged(label, caplog):
    with caplog.at_level(logging.WARNING):
        assert list_labels(assign_sides([create_hand(0.1, "right", 0.9), create_hand(0.12, label, 0.6)])) == {
            "right": ("right", 0.9)
        }
    assert f"a {label} hand was found twice" in caplog.text


def test_touching_hands_are_two_hands():
    assert len(assign_sides([create_hand(0.1, "right", 0.9), create_hand(0.2, "right", 0.6)])) == 2


def test_distance_considers_the_aspect_ratio():
    pair = [
        create_hand(0.1, "right", 0.9),
        create_hand(0.155, "right", 0.6),
    ]  # a fifth of the hand's size apart if the image is square
    assert len(assign_sides(pair, aspect=1.0)) == 1
    assert len(assign_sides(pair, aspect=4.0)) == 2


def test_third_hand_is_dropped_and_logged(caplog):
    with caplog.at_level(logging.WARNING):
        sides = assign_sides(
            [create_hand(0.1, "right", 0.9), create_hand(0.4, "left", 0.8), create_hand(0.7, "left", 0.7)]
        )
    assert list_labels(sides) == {"right": ("right", 0.9), "left": ("left", 0.8)}
    assert "more than two hands" in caplog.text


@pytest.mark.parametrize("name", PHOTOS)
def test_sides_agree_with_the_wrists_of_the_pose(shared_data, landmarkers, name):
    image = cv2.imread(str(shared_data / "hands" / "gestures" / f"{name}.jpg"))[..., ::-1]
    hands, pose = landmarkers("hands"), landmarkers("pose")
    points, body = hands.detect(image, 0), pose.detect(image, 0)
    first_points = {part.name.split("_")[0]: points[part.start, :2] for part in hands.skeleton.parts}
    wrists = {side: wrist for side, wrist in first_points.items() if np.isfinite(wrist).all()}
    assert wrists
    for side, wrist in wrists.items():
        distances = {name: np.hypot(*(body[number, :2] - wrist)) for name, number in WRISTS.items()}
        assert min(distances, key=distances.get) == side
