"""Skeletons on pictures."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.landmarks import drawing
from tasks.landmarks.drawing import draw, found_words
from tasks.landmarks.points import MODEL_KINDS, SKELETONS, ModelKind, PartName
from tasks.landmarks.sequence import Points, RgbImage, Source, Sources

BODY = SKELETONS["pose"]
HANDS = SKELETONS["hands"]
WHOLE = SKELETONS["holistic"]
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW = 11, 12, 13, 14
BLUE, ORANGE = np.array((86, 180, 233)), np.array((240, 145, 20))


def grey(width: int = 200, height: int = 100) -> RgbImage:
    return np.full((height, width, 3), 120, np.uint8)


def empty(kind: ModelKind) -> Points:
    return np.full((SKELETONS[kind].points, 4), np.nan, np.float32)


def body(**places: tuple[float, float]) -> Points:
    """A body of which only the named points are visible."""
    points = np.tile(np.array([0.5, 0.5, 0, 0], np.float32), (BODY.points, 1))
    names = BODY.parts[0].point_names
    for name, place in places.items():
        points[names.index(name)] = (*place, 0, 1)
    return points


def arms() -> Points:
    return body(
        left_shoulder=(0.75, 0.25), left_elbow=(0.75, 0.75), right_shoulder=(0.25, 0.25), right_elbow=(0.25, 0.75)
    )


def found(*kinds: Source) -> Sources:
    return np.array(kinds, np.uint8)


def scattered(kind: ModelKind) -> Points:
    """Every point somewhere in the picture."""
    points = np.random.default_rng(1).uniform(0.1, 0.9, (SKELETONS[kind].points, 4)).astype(np.float32)
    points[:, 3] = 1
    return points


def changed(before: RgbImage, after: RgbImage) -> np.ndarray:
    return (before != after).any(axis=2)


def test_lines_lie_between_their_points_and_nothing_changes_far_from_them() -> None:
    image = grey()
    mask = changed(image, draw(image, arms(), BODY, found(Source.DETECTED)))
    assert mask[25:75, 150].all()  # the left upper arm
    assert mask[25:75, 50].all()  # the right one
    assert mask[25, 50:150].all()  # from shoulder to shoulder
    rows, columns = np.nonzero(mask)
    to_arms = np.minimum(abs(columns - 49.5), abs(columns - 149.5)) + np.maximum(0, abs(rows - 49.5) - 25)
    to_shoulders = abs(rows - 24.5) + np.maximum(0, abs(columns - 99.5) - 50)
    assert np.minimum(to_arms, to_shoulders).max() < 4


def test_the_persons_left_is_blue_their_right_is_orange_and_the_rest_is_light_grey() -> None:
    drawn = draw(grey(800, 400), arms(), BODY, found(Source.DETECTED)).astype(int)
    assert abs(drawn[200, 600] - BLUE).max() < 3
    assert abs(drawn[200, 200] - ORANGE).max() < 3
    assert drawn[100, 400].min() > 220


def test_the_picture_that_is_given_stays_as_it_is() -> None:
    image = grey()
    draw(image, arms(), BODY, found(Source.DETECTED), frame_index=3)
    assert (image == 120).all()


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_missing_parts_leave_the_picture_as_it_was(kind: ModelKind) -> None:
    image, skeleton = grey(), SKELETONS[kind]
    nothing = np.zeros(len(skeleton.parts), np.uint8)
    assert (draw(image, empty(kind), skeleton, nothing) == image).all()
    assert (draw(image, scattered(kind), skeleton, nothing) == image).all()
    assert (draw(image, empty(kind), skeleton, nothing + Source.DETECTED) == image).all()


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_each_part_of_each_model_is_drawn(kind: ModelKind) -> None:
    image, skeleton = grey(), SKELETONS[kind]
    for number in range(len(skeleton.parts)):
        source = np.zeros(len(skeleton.parts), np.uint8)
        source[number] = Source.DETECTED
        assert changed(image, draw(image, scattered(kind), skeleton, source)).sum() > 100


def test_a_point_that_the_model_guesses_is_not_drawn_nor_are_its_lines() -> None:
    image, points = grey(), arms()
    points[LEFT_ELBOW, 3] = 0.49
    mask = changed(image, draw(image, points, BODY, found(Source.DETECTED)))
    assert not mask[30:, 100:].any()
    assert mask[25:75, 50].all()


def test_what_leaves_the_picture_is_cut_at_its_border() -> None:
    image = grey()
    points = body(left_shoulder=(0.5, 0.5), left_elbow=(1.5, 0.5))
    assert changed(image, draw(image, points, BODY, found(Source.DETECTED)))[50, 100:].all()


@pytest.mark.parametrize("far", [1e30, -1e30, float("inf"), float("nan")])
def test_absurd_places_do_no_harm(far: float) -> None:
    points = body(left_shoulder=(0.5, 0.5), right_shoulder=(0.25, 0.5), left_elbow=(far, far))
    assert changed(grey(), draw(grey(), points, BODY, found(Source.DETECTED)))[50, 50:100].all()


def hand(name: PartName = "left_hand_landmarks") -> Points:
    """A hand whose wrist and thumb span the picture; its other points lie on the wrist."""
    points = empty("hands")
    part = HANDS.find_part(name)
    assert part is not None
    points[part.span] = (0.1, 0.5, 0, 1)
    points[part.start + 1 : part.start + 5] = (0.9, 0.5, 0, 1)
    return points


def test_a_rescued_hand_has_gaps_in_its_bones() -> None:
    image = grey()
    whole = changed(image, draw(image, hand(), HANDS, found(Source.DETECTED, Source.MISSING)))
    gaps = changed(image, draw(image, hand(), HANDS, found(Source.RESCUED, Source.MISSING)))
    assert whole[50, 25:175].all()
    assert gaps[50, 25:60].all()
    assert not gaps[:, 80:120].any()
    assert gaps[50, 140:175].all()


def test_what_was_filled_in_is_paler() -> None:
    detected = draw(grey(), hand(), HANDS, found(Source.DETECTED, Source.MISSING))[50, 100].astype(int)
    filled = draw(grey(), hand(), HANDS, found(Source.FILLED, Source.MISSING))[50, 100].astype(int)
    assert (filled > detected).all()
    assert filled[2] > filled[0]  # still blue


def test_hands_are_finer_than_the_body_and_the_face_is_finest() -> None:
    size = 960, 480
    arm = body(left_shoulder=(0.1, 0.5), left_elbow=(0.9, 0.5))
    on_body = changed(grey(*size), draw(grey(*size), arm, BODY, found(Source.DETECTED)))[:, 480].sum()
    on_hand = changed(grey(*size), draw(grey(*size), hand(), HANDS, found(Source.DETECTED, Source.MISSING)))
    brow = empty("face")
    brow[[300, 293]] = [(0.1, 0.5, 0, 1), (0.9, 0.5, 0, 1)]
    on_face = changed(grey(*size), draw(grey(*size), brow, SKELETONS["face"], found(Source.DETECTED)))[:, 480].sum()
    assert on_body > on_hand[:, 480].sum() > on_face > 0


def test_lines_grow_with_the_picture() -> None:
    widths = []
    for scale in (1, 2, 4):
        image = grey(480 * scale, 480 * scale)
        mask = changed(image, draw(image, arms(), BODY, found(Source.DETECTED)))
        widths.append(int(mask[240 * scale, : 240 * scale].sum()))
    soft = 3  # pixels that smooth the edges, on any scale
    assert widths[1] - soft == pytest.approx(2 * (widths[0] - soft), abs=2)
    assert widths[2] - soft == pytest.approx(4 * (widths[0] - soft), abs=4)


def test_a_small_part_is_drawn_finer_than_a_large_one() -> None:
    size, small = (800, 800), hand()
    small[:, :2] = 0.5 + (small[:, :2] - 0.5) * 0.05
    source = found(Source.DETECTED, Source.MISSING)
    large_line = changed(grey(*size), draw(grey(*size), hand(), HANDS, source))[:, 400].sum()
    assert 0 < changed(grey(*size), draw(grey(*size), small, HANDS, source))[:, 400].sum() < large_line


def test_the_bodys_own_few_points_of_a_hand_give_way_to_the_hand() -> None:
    points = empty("holistic")
    points[: BODY.points] = body(left_wrist=(0.2, 0.5), left_index=(0.2, 0.9))
    points[[part.start for part in WHOLE.parts[2:]]] = (0.8, 0.2, 0, 1)
    pose_alone = found(Source.DETECTED, Source.MISSING, Source.MISSING, Source.MISSING)
    with_left = found(Source.DETECTED, Source.MISSING, Source.DETECTED, Source.MISSING)
    with_right = found(Source.DETECTED, Source.MISSING, Source.MISSING, Source.DETECTED)
    assert changed(grey(), draw(grey(), points, WHOLE, pose_alone))[70, 40]
    assert changed(grey(), draw(grey(), points, WHOLE, with_right))[70, 40]
    assert not changed(grey(), draw(grey(), points, WHOLE, with_left))[70, 40]


def test_the_contours_of_the_face_are_mediapipes() -> None:
    from mediapipe.tasks.python import vision

    theirs = {frozenset((line.start, line.end)) for line in vision.FaceLandmarksConnections.FACE_LANDMARKS_CONTOURS}
    lines = drawing._shape("face_landmarks").lines
    assert {frozenset(ends) for side in lines.values() for ends in side.tolist()} == theirs
    eye = {frozenset((line.start, line.end)) for line in vision.FaceLandmarksConnections.FACE_LANDMARKS_LEFT_EYE}
    assert eye < {frozenset(ends) for ends in lines["left"].tolist()}


def test_the_legend_is_in_the_lower_left_corner_and_says_which_frame_it_is() -> None:
    image, nothing = grey(640, 360), np.zeros(4, np.uint8)
    legends = [draw(image, empty("holistic"), WHOLE, nothing, frame_index) for frame_index in (7, 8)]
    assert changed(*legends).any()
    rows, columns = np.nonzero(changed(image, legends[0]))
    assert rows.min() > 320
    assert columns.max() < 200


def test_the_legend_says_what_was_rescued_and_filled() -> None:
    source = found(Source.FILLED, Source.DETECTED, Source.RESCUED, Source.FILLED)
    words = [word for word, _ in drawing._legend(12, WHOLE, source)]
    assert words == ["12", "left rescued", "right filled", "body filled"]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 300), (300, 2), (40, 30)])
def test_a_picture_without_room_for_the_legend_is_drawn_all_the_same(width: int, height: int) -> None:
    drawn = draw(grey(width, height), arms(), BODY, found(Source.DETECTED), frame_index=123_456)
    assert drawn.shape == (height, width, 3)


def test_words_for_the_parts() -> None:
    source = found(Source.DETECTED, Source.MISSING, Source.RESCUED, Source.RESCUED)
    assert found_words(WHOLE, source, Source.RESCUED) == ["left", "right"]
    assert found_words(WHOLE, source, Source.DETECTED) == ["body"]
