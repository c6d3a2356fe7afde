"""Skeletons drawn on images."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.landmarks import drawing
from tasks.landmarks.drawing import draw, list_words
from tasks.landmarks.points import MODEL_KINDS, SKELETONS, ModelKind, PartName
from tasks.landmarks.sequence import Points, RgbImage, Source, Sources

BODY = SKELETONS["pose"]
HANDS = SKELETONS["hands"]
WHOLE = SKELETONS["holistic"]
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW = 11, 12, 13, 14
BLUE, ORANGE = np.array((86, 180, 233)), np.array((240, 145, 20))


def create_grey(width: int = 200, height: int = 100) -> RgbImage:
    return np.full((height, width, 3), 120, np.uint8)


def create_empty(kind: ModelKind) -> Points:
    return np.full((SKELETONS[kind].points, 4), np.nan, np.float32)


def create_body(**places: tuple[float, float]) -> Points:
    """Return a body with only the named points visible."""
    points = np.tile(np.array([0.5, 0.5, 0, 0], np.float32), (BODY.points, 1))
    names = BODY.parts[0].point_names
    for name, place in places.items():
        points[names.index(name)] = (*place, 0, 1)
    return points


def create_arms() -> Points:
    return create_body(
        left_shoulder=(0.75, 0.25), left_elbow=(0.75, 0.75), right_shoulder=(0.25, 0.25), right_elbow=(0.25, 0.75)
    )


def create_sources(*kinds: Source) -> Sources:
    return np.array(kinds, np.uint8)


def scatter_points(kind: ModelKind) -> Points:
    """Return random points within the image."""
    points = np.random.default_rng(1).uniform(0.1, 0.9, (SKELETONS[kind].points, 4)).astype(np.float32)
    points[:, 3] = 1
    return points


def compare(before: RgbImage, after: RgbImage) -> np.ndarray:
    return (before != after).any(axis=2)


def test_lines_connect_their_points_and_change_no_other_pixels() -> None:
    image = create_grey()
    mask = compare(image, draw(image, create_arms(), BODY, create_sources(Source.DETECTED)))
    assert mask[25:75, 150].all()  # the left upper arm
    assert mask[25:75, 50].all()  # the right one
    assert mask[25, 50:150].all()  # from shoulder to shoulder
    rows, columns = np.nonzero(mask)
    to_arms = np.minimum(abs(columns - 49.5), abs(columns - 149.5)) + np.maximum(0, abs(rows - 49.5) - 25)
    to_shoulders = abs(rows - 24.5) + np.maximum(0, abs(columns - 99.5) - 50)
    assert np.minimum(to_arms, to_shoulders).max() < 4


def test_left_is_blue_right_is_orange_and_the_middle_is_grey() -> None:
    drawn = draw(create_grey(800, 400), create_arms(), BODY, create_sources(Source.DETECTED)).astype(int)
    assert abs(drawn[200, 600] - BLUE).max() < 3
    assert abs(drawn[200, 200] - ORANGE).max() < 3
    assert drawn[100, 400].min() > 220


def test_input_image_is_not_modified() -> None:
    image = create_grey()
    draw(image, create_arms(), BODY, create_sources(Source.DETECTED), frame_index=3)
    assert (image == 120).all()


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_missing_parts_are_not_drawn(kind: ModelKind) -> None:
    image, skeleton = create_grey(), SKELETONS[kind]
    missing = np.zeros(len(skeleton.parts), np.uint8)
    assert (draw(image, create_empty(kind), skeleton, missing) == image).all()
    assert (draw(image, scatter_points(kind), skeleton, missing) == image).all()
    assert (draw(image, create_empty(kind), skeleton, missing + Source.DETECTED) == image).all()


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_each_part_of_each_model_is_drawn(kind: ModelKind) -> None:
    image, skeleton = create_grey(), SKELETONS[kind]
    for number in range(len(skeleton.parts)):
        source = np.zeros(len(skeleton.parts), np.uint8)
        source[number] = Source.DETECTED
        assert compare(image, draw(image, scatter_points(kind), skeleton, source)).sum() > 100


def test_guessed_points_and_their_lines_are_not_drawn() -> None:
    image, points = create_grey(), create_arms()
    points[LEFT_ELBOW, 3] = 0.49
    mask = compare(image, draw(image, points, BODY, create_sources(Source.DETECTED)))
    assert not mask[30:, 100:].any()
    assert mask[25:75, 50].all()


def test_lines_are_clipped_at_the_border() -> None:
    image = create_grey()
    points = create_body(left_shoulder=(0.5, 0.5), left_elbow=(1.5, 0.5))
    assert compare(image, draw(image, points, BODY, create_sources(Source.DETECTED)))[50, 100:].all()


@pytest.mark.parametrize("far", [1e30, -1e30, float("inf"), float("nan")])
def test_extreme_coordinates_are_ignored(far: float) -> None:
    points = create_body(left_shoulder=(0.5, 0.5), right_shoulder=(0.25, 0.5), left_elbow=(far, far))
    assert compare(create_grey(), draw(create_grey(), points, BODY, create_sources(Source.DETECTED)))[50, 50:100].all()


def create_hand(name: PartName = "left_hand_landmarks") -> Points:
    """Return a hand whose wrist and thumb span the image; its other points lie on the wrist."""
    points = create_empty("hands")
    part = HANDS.find_part(name)
    assert part is not None
    points[part.span] = (0.1, 0.5, 0, 1)
    points[part.start + 1 : part.start + 5] = (0.9, 0.5, 0, 1)
    return points


def test_rescued_hand_has_gaps_in_its_bones() -> None:
    image = create_grey()
    whole = compare(image, draw(image, create_hand(), HANDS, create_sources(Source.DETECTED, Source.MISSING)))
    gaps = compare(image, draw(image, create_hand(), HANDS, create_sources(Source.RESCUED, Source.MISSING)))
    assert whole[50, 25:175].all()
    assert gaps[50, 25:60].all()
    assert not gaps[:, 80:120].any()
    assert gaps[50, 140:175].all()


def test_filled_parts_are_paler() -> None:
    detected = draw(create_grey(), create_hand(), HANDS, create_sources(Source.DETECTED, Source.MISSING))[
        50, 100
    ].astype(int)
    filled = draw(create_grey(), create_hand(), HANDS, create_sources(Source.FILLED, Source.MISSING))[50, 100].astype(
        int
    )
    assert (filled > detected).all()
    assert filled[2] > filled[0]  # still blue


def test_hand_lines_are_thinner_than_body_lines_and_face_lines_thinnest() -> None:
    size = 960, 480
    arm = create_body(left_shoulder=(0.1, 0.5), left_elbow=(0.9, 0.5))
    on_body = compare(create_grey(*size), draw(create_grey(*size), arm, BODY, create_sources(Source.DETECTED)))[
        :, 480
    ].sum()
    on_hand = compare(
        create_grey(*size),
        draw(create_grey(*size), create_hand(), HANDS, create_sources(Source.DETECTED, Source.MISSING)),
    )
    brow = create_empty("face")
    brow[[300, 293]] = [(0.1, 0.5, 0, 1), (0.9, 0.5, 0, 1)]
    on_face = compare(
        create_grey(*size), draw(create_grey(*size), brow, SKELETONS["face"], create_sources(Source.DETECTED))
    )[:, 480].sum()
    assert on_body > on_hand[:, 480].sum() > on_face > 0


def test_line_width_grows_with_the_image() -> None:
    widths = []
    for scale in (1, 2, 4):
        image = create_grey(480 * scale, 480 * scale)
        mask = compare(image, draw(image, create_arms(), BODY, create_sources(Source.DETECTED)))
        widths.append(int(mask[240 * scale, : 240 * scale].sum()))
    soft = 3  # pixels of edge smoothing on any scale
    assert widths[1] - soft == pytest.approx(2 * (widths[0] - soft), abs=2)
    assert widths[2] - soft == pytest.approx(4 * (widths[0] - soft), abs=4)


def test_small_part_has_thinner_lines() -> None:
    size, small = (800, 800), create_hand()
    small[:, :2] = 0.5 + (small[:, :2] - 0.5) * 0.05
    source = create_sources(Source.DETECTED, Source.MISSING)
    large_line = compare(create_grey(*size), draw(create_grey(*size), create_hand(), HANDS, source))[:, 400].sum()
    assert 0 < compare(create_grey(*size), draw(create_grey(*size), small, HANDS, source))[:, 400].sum() < large_line


def test_hand_replaces_the_coarse_hand_points_of_the_body() -> None:
    points = create_empty("holistic")
    points[: BODY.points] = create_body(left_wrist=(0.2, 0.5), left_index=(0.2, 0.9))
    points[[part.start for part in WHOLE.parts[2:]]] = (0.8, 0.2, 0, 1)
    pose_alone = create_sources(Source.DETECTED, Source.MISSING, Source.MISSING, Source.MISSING)
    with_left = create_sources(Source.DETECTED, Source.MISSING, Source.DETECTED, Source.MISSING)
    with_right = create_sources(Source.DETECTED, Source.MISSING, Source.MISSING, Source.DETECTED)
    assert compare(create_grey(), draw(create_grey(), points, WHOLE, pose_alone))[70, 40]
    assert compare(create_grey(), draw(create_grey(), points, WHOLE, with_right))[70, 40]
    assert not compare(create_grey(), draw(create_grey(), points, WHOLE, with_left))[70, 40]


def test_face_contours_match_mediapipe() -> None:
    from mediapipe.tasks.python import vision

    theirs = {frozenset((line.start, line.end)) for line in vision.FaceLandmarksConnections.FACE_LANDMARKS_CONTOURS}
    lines = drawing._get_shape("face_landmarks").lines
    assert {frozenset(ends) for side in lines.values() for ends in side.tolist()} == theirs
    eye = {frozenset((line.start, line.end)) for line in vision.FaceLandmarksConnections.FACE_LANDMARKS_LEFT_EYE}
    assert eye < {frozenset(ends) for ends in lines["left"].tolist()}


def test_legend_with_frame_number_is_in_the_lower_left_corner() -> None:
    image, missing = create_grey(640, 360), np.zeros(4, np.uint8)
    legends = [draw(image, create_empty("holistic"), WHOLE, missing, frame_index) for frame_index in (7, 8)]
    assert compare(*legends).any()
    rows, columns = np.nonzero(compare(image, legends[0]))
    assert rows.min() > 320
    assert columns.max() < 200


def test_legend_names_rescued_and_filled_parts() -> None:
    source = create_sources(Source.FILLED, Source.DETECTED, Source.RESCUED, Source.FILLED)
    words = [word for word, _ in drawing._compose_legend(12, WHOLE, source)]
    assert words == ["12", "left rescued", "right filled", "body filled"]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 300), (300, 2), (40, 30)])
def test_tiny_image_with_legend_is_drawn(width: int, height: int) -> None:
    drawn = draw(create_grey(width, height), create_arms(), BODY, create_sources(Source.DETECTED), frame_index=123_456)
    assert drawn.shape == (height, width, 3)


def test_list_words_names_the_parts() -> None:
    source = create_sources(Source.DETECTED, Source.MISSING, Source.RESCUED, Source.RESCUED)
    assert list_words(WHOLE, source, Source.RESCUED) == ["left", "right"]
    assert list_words(WHOLE, source, Source.DETECTED) == ["body"]
