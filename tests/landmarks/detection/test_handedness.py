"""Which hand is which, on photographs and where the labels contradict each other."""

import logging

import cv2
import numpy as np
import pytest

from tasks.landmarks.detection.handedness import Hand, by_side

# In each the person faces the camera and shows one hand; two of them both hands.
PHOTOS = ("call_0413d5c5", "call_044768ad", "four_0c960166", "rock_20e2164d", "call_17d804b5", "rock_18e20af8")
WRISTS = {"left": 15, "right": 16}  # of the pose


def hand(x, label, score, size=0.2):
    grid = np.linspace(0, size, 21, dtype=np.float32)
    return Hand(np.stack([x + grid, 0.5 + grid, 0 * grid, 1 + 0 * grid], axis=1), label, score)


def labels(sides):
    return {side: (found.label, found.score) for side, found in sides.items()}


def test_no_hands():
    assert by_side([]) == {}


@pytest.mark.parametrize("label", ["left", "right"])
def test_a_single_hand_is_what_its_label_says(label):
    assert labels(by_side([hand(0.1, label, 0.6)])) == {label: (label, 0.6)}


def test_two_labels_are_two_sides_in_any_order():
    found = [hand(0.1, "right", 0.7), hand(0.6, "left", 0.9)]
    assert labels(by_side(found)) == labels(by_side(found[::-1])) == {"left": ("left", 0.9), "right": ("right", 0.7)}


@pytest.mark.parametrize(("label", "other"), [("left", "right"), ("right", "left")])
def test_of_two_hands_of_one_label_the_less_sure_one_is_the_other(label, other):
    found = [hand(0.6, label, 0.54), hand(0.1, label, 0.96)]
    assert labels(by_side(found)) == labels(by_side(found[::-1])) == {label: (label, 0.96), other: (label, 0.54)}


@pytest.mark.parametrize("label", ["left", "right"])
def test_one_hand_seen_twice_is_one_hand_and_is_logged(label, caplog):
    with caplog.at_level(logging.WARNING):
        assert labels(by_side([hand(0.1, "right", 0.9), hand(0.12, label, 0.6)])) == {"right": ("right", 0.9)}
    assert f"a {label} hand was found twice" in caplog.text


def test_hands_that_touch_are_two():
    assert len(by_side([hand(0.1, "right", 0.9), hand(0.2, "right", 0.6)])) == 2


def test_nearness_is_of_the_picture_as_it_is_seen():
    pair = [hand(0.1, "right", 0.9), hand(0.155, "right", 0.6)]  # a fifth of a square picture's hand apart
    assert len(by_side(pair, aspect=1.0)) == 1
    assert len(by_side(pair, aspect=4.0)) == 2


def test_a_third_hand_is_logged(caplog):
    with caplog.at_level(logging.WARNING):
        found = by_side([hand(0.1, "right", 0.9), hand(0.4, "left", 0.8), hand(0.7, "left", 0.7)])
    assert labels(found) == {"right": ("right", 0.9), "left": ("left", 0.8)}
    assert "more than two hands" in caplog.text


@pytest.mark.parametrize("name", PHOTOS)
def test_left_and_right_are_the_persons_own(shared_data, landmarkers, name):
    picture = cv2.imread(str(shared_data / "hands" / "gestures" / f"{name}.jpg"))[..., ::-1]
    hands, pose = landmarkers("hands"), landmarkers("pose")
    points, body = hands.detect(picture, 0), pose.detect(picture, 0)
    found = {part.name.split("_")[0]: points[part.start, :2] for part in hands.skeleton.parts}
    there = {side: wrist for side, wrist in found.items() if np.isfinite(wrist).all()}
    assert there
    for side, wrist in there.items():
        distances = {own: np.hypot(*(body[number, :2] - wrist)) for own, number in WRISTS.items()}
        assert min(distances, key=distances.get) == side
