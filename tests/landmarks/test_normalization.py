"""Coordinates in shoulder widths: invariance, and preserved values."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.landmarks.gaps import fill_gaps
from tasks.landmarks.normalization import check_normalization, measure_shoulders, normalize
from tasks.landmarks.points import MODEL_KINDS, POSE_NAMES, SKELETONS
from tasks.landmarks.sequence import LandmarkSequence, Source

POSE = SKELETONS["pose"]
LEFT, RIGHT = POSE_NAMES.index("left_shoulder"), POSE_NAMES.index("right_shoulder")


def create_sequence(pixels, width=640, height=360, source=None):
    """Return a pose sequence of ``pixels``: [frames, 33, (x, y, z)], in square pixels."""
    frames = len(pixels)
    points = np.ones((frames, POSE.points, 4), np.float32)
    points[..., :3] = pixels / (width, height, width)
    sources = np.ones((frames, 1), np.uint8) if source is None else np.array(source, np.uint8)[:, None]
    points[sources[:, 0] == Source.MISSING] = np.nan
    return LandmarkSequence("pose", POSE, points, sources, np.arange(frames) / 25, 25.0, width, height)


@pytest.fixture
def person():
    """Return a moving person: pixels [40, 33, 3], shoulders 100 px apart around (300, 150)."""
    rng = np.random.default_rng(1)
    pixels = rng.normal((300, 150, 0), 50, (40, POSE.points, 3))
    pixels[:, LEFT], pixels[:, RIGHT] = (350, 150, -5), (250, 150, 5)
    return pixels


def test_shoulders_are_half_a_unit_from_the_origin(person):
    points = normalize(create_sequence(person), "shoulders").points
    np.testing.assert_allclose(points[:, LEFT, :3], np.tile([0.5, 0, -0.05], (40, 1)), atol=1e-5)
    np.testing.assert_allclose(points[:, RIGHT, :3], np.tile([-0.5, 0, 0.05], (40, 1)), atol=1e-5)


def test_all_axes_have_the_same_unit(person):
    points = normalize(create_sequence(person), "shoulders").points
    np.testing.assert_allclose(points[..., :3], (person - (300, 150, 0)) / 100, atol=1e-5)


@pytest.mark.parametrize("size", [(640, 360), (210, 260), (1080, 1920)])
def test_result_does_not_depend_on_image_size_and_position(person, size):
    moved = create_sequence(0.37 * person + (20, 35, 0), *size)
    expected = normalize(create_sequence(person), "shoulders").points
    np.testing.assert_allclose(normalize(moved, "shoulders").points, expected, atol=1e-4)


def test_movement_of_the_body_is_preserved(person):
    person[:, :, 0] += np.linspace(-50, 50, 40)[:, None]  # walks one shoulder width
    middle = normalize(create_sequence(person), "shoulders").points[:, [LEFT, RIGHT], 0].mean(axis=1)
    assert middle[-1] - middle[0] == pytest.approx(1, abs=1e-5)


def test_outlier_frames_do_not_change_the_shoulders(person):
    expected = measure_shoulders(create_sequence(person))
    person[:5, LEFT] = person[:5, RIGHT]
    person[5:10] += (500, 100, 0)
    assert measure_shoulders(create_sequence(person)) == expected


def test_filled_frames_do_not_change_the_shoulders(person):
    person[20:] *= 1.5
    source = [1] * 19 + [0] * 10 + [1] * 11
    raw = create_sequence(person, source=source)
    assert measure_shoulders(fill_gaps(raw, 10)) == measure_shoulders(raw)


def test_visibility_missing_points_and_sources_are_preserved(person):
    raw = create_sequence(person, source=[0, 2, *[1] * 38])
    raw.points[..., 3] *= 0.25
    normal = normalize(raw, "shoulders")
    np.testing.assert_array_equal(normal.points[..., 3], raw.points[..., 3])
    assert np.isnan(normal.points[0]).all()
    assert np.isfinite(normal.points[1:]).all()
    np.testing.assert_array_equal(normal.source, raw.source)
    assert normal.points.dtype == np.float32


def test_hands_and_face_use_the_same_origin_and_unit():
    skeleton = SKELETONS["holistic"]
    points = np.full((2, skeleton.points, 4), 0.5, np.float32)
    points[:, LEFT, 0], points[:, RIGHT, 0] = 0.6, 0.4
    source = np.ones((2, 4), np.uint8)
    raw = LandmarkSequence("holistic", skeleton, points, source, np.arange(2) / 25, 25.0, 200, 100)
    normal = normalize(raw, "shoulders")
    for name in ("face_landmarks", "left_hand_landmarks", "right_hand_landmarks"):
        np.testing.assert_allclose(normal.get_part_points(name)[..., :2], 0, atol=1e-6)
        np.testing.assert_allclose(normal.get_part_points(name)[..., 2], 2.5, atol=1e-6)


@pytest.mark.parametrize("case", ["no person", "no frames", "coinciding shoulders"])
def test_without_shoulders_every_point_is_missing(person, case):
    if case == "coinciding shoulders":
        person[:, LEFT] = person[:, RIGHT] + 0.2
    raw = create_sequence(
        person[:0] if case == "no frames" else person, source=[0] * 40 if case == "no person" else None
    )
    normal = normalize(raw, "shoulders")
    assert measure_shoulders(raw) is None
    assert normal.points.shape == raw.points.shape
    assert np.isnan(normal.points).all()
    assert (normal.source == Source.MISSING).all()


def test_hands_without_a_pose_become_missing():
    skeleton = SKELETONS["holistic"]
    points = np.full((3, skeleton.points, 4), np.nan, np.float32)
    source = np.zeros((3, 4), np.uint8)
    points[:, skeleton.find_part("left_hand_landmarks").span], source[:, 2] = 0.5, 1
    raw = LandmarkSequence("holistic", skeleton, points, source, np.arange(3) / 25, 25.0, 200, 100)
    assert np.isnan(normalize(raw, "shoulders").points).all()


def test_none_returns_the_sequence(person):
    raw = create_sequence(person)
    assert normalize(raw, "none") is raw


def test_input_sequence_is_not_modified(person):
    raw = create_sequence(person)
    before = raw.points.copy()
    normalize(raw, "shoulders")
    np.testing.assert_array_equal(raw.points, before)


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_models_without_shoulders_are_a_problem(kind):
    assert check_normalization(kind, "none") is None
    problem = check_normalization(kind, "shoulders")
    assert (problem is None) == (kind in ("holistic", "pose"))
    if problem:
        assert str(problem) == (
            f"--normalize: shoulders with a model without shoulders ({kind}); allowed: none; "
            "use --model holistic or pose"
        )


def test_model_without_shoulders_raises_value_error(person):
    hands = replace(create_sequence(person), kind="hands", skeleton=SKELETONS["hands"])
    with pytest.raises(ValueError, match="without shoulders"):
        normalize(hands, "shoulders")
