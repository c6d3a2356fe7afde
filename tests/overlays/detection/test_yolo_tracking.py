"""Tracked boxes: still, moving, vanishing and returning marks, weak and missing boxes, exact frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tasks.overlays.boxes import compute_ious
from tasks.overlays.detection.yolo.outputs import Detections
from tasks.overlays.detection.yolo.tracking import Piece, Rules, cut_tracks, follow_boxes, refine_track
from tasks.overlays.overlay import FrameRange, merge_ranges

RULES = Rules(score=0.5, weak=0.2)
Mark = Callable[[int], tuple[tuple[float, ...], float] | None]  # of a frame: its box and its score, if it shows


def look(marks: Sequence[Mark], frame: int) -> Detections:
    there = [box for mark in marks if (box := mark(frame)) is not None]
    boxes = np.array([box for box, _ in there], np.float32).reshape(-1, 4)
    return Detections(boxes, np.array([score for _, score in there], np.float32), np.zeros(len(there), np.int64))


def search(marks: Sequence[Mark], frames: int, every: int) -> tuple[Piece, ...]:
    """Search a video of ``frames`` frames as the detector does."""
    sampled = sorted({*range(0, frames, every), frames - 1})
    tracks = follow_boxes([(frame, look(marks, frame)) for frame in sampled], RULES)
    exact = [part for track in tracks for part in refine_track(track, sampled, lambda frame: look(marks, frame), RULES)]
    return cut_tracks(exact)


def make_still(first: int, end: int, box: tuple[float, ...] = (10, 20, 50, 40), score: float = 0.9) -> Mark:
    return lambda frame: (box, score) if first <= frame < end else None


def make_moving(pace: float, first: int = 0, end: int = 10**6) -> Mark:
    return lambda frame: ((pace * frame, 20, pace * frame + 40, 40), 0.9) if first <= frame < end else None


@pytest.mark.parametrize("every", [1, 5, 12])
@pytest.mark.parametrize(("first", "end"), [(0, 100), (17, 100), (0, 63), (31, 64), (24, 49)])
def test_still_mark_has_one_box_over_exactly_its_frames(every: int, first: int, end: int) -> None:
    (piece,) = search([make_still(first, end)], 100, every)
    assert piece.ranges == (FrameRange(first, end),)
    assert piece.box.tolist() == [10, 20, 50, 40]


def test_jittering_boxes_make_one_box_around_nearly_all() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 1.2, (200, 4))
    mark = lambda frame: (tuple(np.array([100, 100, 180, 130]) + noise[frame]), 0.8)  # noqa: E731
    (piece,) = search([mark], 200, 4)
    assert piece.ranges == (FrameRange(0, 200),)
    np.testing.assert_allclose(piece.box, [98, 98, 182, 132], atol=2)


def test_single_outlier_box_has_no_effect() -> None:
    wild = lambda frame: ((10, 20, 90, 60) if frame == 40 else (10, 20, 50, 40), 0.9)  # noqa: E731
    (piece,) = search([wild], 100, 5)
    assert piece.box.tolist() == [10, 20, 50, 40]


def test_missed_samples_are_bridged_and_weak_boxes_continue_tracks() -> None:
    def mark(frame: int) -> tuple[tuple[float, ...], float] | None:
        if frame in range(30, 45):
            return None
        return (10, 20, 50, 40), 0.3 if frame in range(50, 80) else 0.9

    (piece,) = search([mark], 100, 5)
    assert piece.ranges == (FrameRange(0, 30), FrameRange(45, 100))  # three samples in a row are too many
    two_missed = lambda frame: None if frame in {30, 35} else ((10, 20, 50, 40), 0.9)  # noqa: E731
    (piece,) = search([two_missed], 100, 5)
    assert piece.ranges == (FrameRange(0, 100),)


def test_only_weak_or_single_boxes_are_not_marks() -> None:
    assert search([make_still(0, 100, score=0.4)], 100, 5) == ()
    assert search([make_still(50, 51)], 100, 5) == ()


def test_video_of_one_frame_needs_no_second_sample() -> None:
    (piece,) = search([make_still(0, 1)], 1, 5)
    assert piece.ranges == (FrameRange(0, 1),)


def test_mark_that_returns_is_one_piece_with_two_ranges() -> None:
    mark = lambda frame: None if 40 <= frame < 80 else ((10, 20, 50, 40), 0.9)  # noqa: E731
    (piece,) = search([mark], 120, 5)
    assert piece.ranges == (FrameRange(0, 40), FrameRange(80, 120))


def test_successive_subtitles_are_separate_pieces() -> None:
    lines = [
        make_still(0, 33, (100, 200, 180, 220)),
        make_still(33, 70, (60, 200, 220, 220)),
        make_still(71, 100, (90, 180, 190, 220)),
    ]
    pieces = search(lines, 100, 5)
    assert [piece.ranges for piece in pieces] == [(FrameRange(0, 33),), (FrameRange(33, 70),), (FrameRange(71, 100),)]


@pytest.mark.parametrize("pace", [0.5, 2.0, -1.5, 6.0])
@pytest.mark.parametrize("every", [1, 4])
def test_moving_mark_is_covered_in_every_frame(pace: float, every: int) -> None:
    first, end = 13, 90
    place = lambda frame: (300 + pace * frame, 20, 340 + pace * frame, 40)  # noqa: E731
    mark = lambda frame: (place(frame), 0.9) if first <= frame < end else None  # noqa: E731
    pieces = search([mark], 100, every)
    for frame in range(100):
        covering = [piece for piece in pieces if any(frame in part for part in piece.ranges)]
        if not first <= frame < end:
            assert covering == []
            continue
        left, top, right, bottom = place(frame)
        assert any((piece.box <= [left, top, 400**2, 400**2]).all() for piece in covering)
        assert any(
            (piece.box[:2] <= (left, top)).all() and (piece.box[2:] >= (right, bottom)).all() for piece in covering
        )
        assert all(np.prod(piece.box[2:] - piece.box[:2]) <= 2.3 * 40 * 20 for piece in covering)


def test_crossing_marks_keep_their_tracks() -> None:
    first = lambda frame: ((4.0 * frame, 20, 4.0 * frame + 40, 40), 0.9)  # noqa: E731
    other = lambda frame: ((200 - 4.0 * frame, 30, 240 - 4.0 * frame, 50), 0.8)  # noqa: E731
    samples = [(frame, look([first, other], frame)) for frame in range(50)]
    first, second = follow_boxes(samples, RULES)
    assert [sighting.box[0] for sighting in first.sightings] == [4.0 * frame for frame in range(50)]
    assert [sighting.box[0] for sighting in second.sightings] == [200 - 4.0 * frame for frame in range(50)]


def test_ranges_need_few_additional_frames() -> None:
    looked: list[int] = []
    mark = make_still(300, 700)
    sampled = [*range(0, 1000, 64), 999]
    (track,) = follow_boxes([(frame, look([mark], frame)) for frame in sampled], RULES)
    (exact,) = refine_track(track, sampled, lambda frame: looked.append(frame) or look([mark], frame), RULES)
    assert (exact.sightings[0].frame, exact.sightings[-1].frame) == (300, 699)
    assert len(looked) == 12  # log2(64) at either end


def test_class_with_the_largest_score_sum_wins() -> None:
    box = np.array([[0, 0, 9, 9]], np.float32)
    scores = [(0, 0.9), (1, 0.6), (1, 0.6)]
    samples = [
        (frame, Detections(box, np.array([score], np.float32), np.array([kind])))
        for frame, (kind, score) in enumerate(scores)
    ]
    (track,) = follow_boxes(samples, RULES)
    assert track.kind == 1
    assert track.score == pytest.approx(0.7)


def test_adjacent_ranges_are_merged() -> None:
    given = [FrameRange(5, 9), FrameRange(0, 3), FrameRange(9, 12), FrameRange(2, 4)]
    assert merge_ranges(given) == (FrameRange(0, 4), FrameRange(5, 12))


def test_compute_ious() -> None:
    box = np.array([0, 0, 10, 10], np.float32)
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(compute_ious(box, others), [1, 1 / 3, 0, 0], atol=1e-6)
