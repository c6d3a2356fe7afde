"""The sheet of a sample, and which of them the report shows."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.landmarks.pictures import PreviewRow, Strip, best_and_worst
from tasks.landmarks.points import SKELETONS
from tasks.landmarks.sequence import Points, RgbImage, Source, Sources

HANDS = SKELETONS["hands"]
NOTHING = np.zeros(2, np.uint8)
MARGIN, CAPTION, CELL = 12, 32, 260


def level(value: int, width: int = 320, height: int = 240) -> RgbImage:
    return np.full((height, width, 3), value, np.uint8)


def hand() -> tuple[Points, Sources]:
    """A left hand that is a line through the middle, and no right one."""
    points = np.full((HANDS.points, 4), np.nan, np.float32)
    points[:21] = (0.1, 0.5, 0, 1)
    points[1:5] = (0.9, 0.5, 0, 1)
    return points, np.array([Source.DETECTED, Source.MISSING], np.uint8)


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def levels(sheet: np.ndarray, cells: int, cell_height: int = 195) -> list[int]:
    """How bright the upper part of each cell is."""
    found = []
    for number in range(cells):
        row, column = divmod(number, 3)
        left, top = MARGIN + column * (CELL + MARGIN), MARGIN + row * (cell_height + CAPTION + MARGIN)
        found.append(round(float(sheet[top + 10 : top + 60, left + 20 : left + 240].mean())))
    return found


def strip_of(frames: int, known: bool) -> Strip:
    """The strip of a sample whose frames are ever brighter."""
    strip, nowhere = Strip(HANDS, frames if known else None), np.full((HANDS.points, 4), np.nan, np.float32)
    for number in range(frames):
        strip.add(number, level(round(250 * number / max(1, frames - 1))), nowhere, NOTHING)
    return strip


def test_a_known_length_gives_the_first_the_last_and_evenly_between() -> None:
    sheet = decoded(strip_of(101, known=True).jpeg())
    assert sheet.shape == (2 * (195 + CAPTION + MARGIN) + MARGIN, 3 * (CELL + MARGIN) + MARGIN, 3)
    assert levels(sheet, 6) == pytest.approx([0, 50, 100, 150, 200, 250], abs=3)


def test_frames_that_are_not_wanted_are_not_touched() -> None:
    strip, (points, source) = Strip(HANDS, 101), hand()
    assert [number for number in range(101) if strip.wants(number)] == [0, 20, 40, 60, 80, 100]
    strip.add(1, None, points, source)
    assert strip._kept == []


@pytest.mark.parametrize("frames", [7, 12, 13, 14, 100, 1000])
def test_an_unknown_length_is_spread_too_and_bounded(frames: int) -> None:
    strip, nowhere = Strip(HANDS), np.full((HANDS.points, 4), np.nan, np.float32)
    image = level(9, 8, 6)
    for number in range(frames):
        strip.add(number, image, nowhere, NOTHING)
        assert len(strip._kept) <= 12
    indices = [kept.frame_index for kept in strip._kept]
    assert indices[0] == 0
    assert len(indices) >= 6
    assert frames - indices[-1] <= indices[1]  # the last one is within a stride of the end
    assert len(set(np.diff(indices))) == 1


def test_an_unknown_length_looks_about_the_same() -> None:
    assert levels(decoded(strip_of(100, known=False).jpeg()), 6) == pytest.approx([0, 50, 100, 150, 200, 250], abs=30)


@pytest.mark.parametrize(("frames", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 3, 2)])
@pytest.mark.parametrize("known", [True, False])
def test_a_short_sample_shows_all_it_has(frames: int, columns: int, rows: int, known: bool) -> None:
    sheet = decoded(strip_of(frames, known).jpeg())
    assert sheet.shape[:2] == (MARGIN + rows * (195 + CAPTION + MARGIN), MARGIN + columns * (CELL + MARGIN))


def test_the_skeleton_is_on_it() -> None:
    points, source = hand()
    with_hand, without = Strip(HANDS, 1), Strip(HANDS, 1)
    with_hand.add(0, level(120), points, source)
    without.add(0, level(120), points, NOTHING)
    middle = slice(MARGIN + 95, MARGIN + 101), slice(MARGIN + 60, MARGIN + 200)
    blue, red = (decoded(with_hand.jpeg())[middle][..., channel].mean(axis=0) for channel in (0, 2))
    assert (blue > red + 30).all()
    assert abs(decoded(without.jpeg())[middle].astype(int) - 120).max() < 5


def test_a_bad_frame_has_an_empty_cell() -> None:
    points, source = hand()
    strip = Strip(HANDS, 2)
    strip.add(0, None, points, NOTHING)
    strip.add(1, level(200), points, source)
    dark, bright = levels(decoded(strip.jpeg()), 2)
    assert dark < 60
    assert bright > 190


def test_what_comes_after_does_not_change_what_was_added() -> None:
    points, source = hand()
    image = level(200, 260, 195)  # as large as a thumbnail: nothing needs scaling
    strips = Strip(HANDS, 1), Strip(HANDS, 1)
    for strip in strips:
        strip.add(0, image, points, source)
    expected = strips[0].jpeg()
    image[:], points[:], source[:] = 0, 0, 0
    assert strips[1].jpeg() == expected


@pytest.mark.parametrize(("width", "height"), [(210, 260), (1, 1), (1920, 1080), (10, 2000)])
def test_all_shapes_of_pictures(width: int, height: int) -> None:
    points, source = hand()
    strip = Strip(HANDS, 1)
    strip.add(0, level(200, width, height), points, source)
    sheet = decoded(strip.jpeg())
    assert sheet.shape[1] == CELL + 2 * MARGIN
    assert sheet.shape[0] <= CELL + CAPTION + 2 * MARGIN


def test_same_bytes() -> None:
    assert strip_of(20, known=True).jpeg() == strip_of(20, known=True).jpeg()


def test_a_strip_without_frames_says_so() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        Strip(HANDS).jpeg()
    with pytest.raises(ValueError, match="frames=0"):
        Strip(HANDS, 0)


SHEET = b"\xff\xd8\xff and the rest"


def row(folder: Path, name: str, hand: float | None, pose: float | None = 1.0, content: bytes = SHEET) -> PreviewRow:
    path = folder / "train/previews" / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    coverage = {"hand_coverage": hand, "pose_coverage": pose, "longest_gap_frames": 3.0}
    return PreviewRow(name, "train", coverage, 50, f"train/previews/{name}.jpg")


def titles(rows: list[PreviewRow], folder: Path, most: int = 6) -> list[str]:
    return [image.title.removeprefix("train/") for image in best_and_worst(rows, folder, most)]


def test_the_worst_come_first_and_then_the_best(tmp_path: Path) -> None:
    rows = [row(tmp_path, f"s{number}", number / 10) for number in (3, 9, 0, 5, 1, 7, 2, 8)]
    assert titles(rows, tmp_path) == ["s0", "s1", "s2", "s9", "s8", "s7"]
    assert titles(rows, tmp_path, most=3) == ["s0", "s1", "s9"]
    assert titles(rows, tmp_path, most=1) == ["s0"]
    assert titles(rows, tmp_path, most=0) == []


def test_hands_count_first_then_the_pose_then_the_name(tmp_path: Path) -> None:
    rows = [
        row(tmp_path, "d", 0.5, 0.9),
        row(tmp_path, "c", 0.5, 0.1),
        row(tmp_path, "b", 0.5, 0.9),
        row(tmp_path, "a", 0.9, 0.0),
    ]
    assert titles(rows, tmp_path) == ["c", "b", "a", "d"]
    assert titles(rows[::-1], tmp_path) == ["c", "b", "a", "d"]


@pytest.mark.parametrize("count", range(7))
def test_no_sample_comes_twice_and_none_is_left_out_of_a_few(tmp_path: Path, count: int) -> None:
    rows = [row(tmp_path, f"s{number}", 0.5) for number in range(count)]
    assert sorted(titles(rows, tmp_path)) == sorted(row.name for row in rows)


def test_two_splits_may_have_samples_of_one_name(tmp_path: Path) -> None:
    first = row(tmp_path, "a", 0.5)
    second = PreviewRow("a", "dev", first.coverage, 50, first.path)
    assert [image.title for image in best_and_worst([first, second], tmp_path)] == ["dev/a", "train/a"]


def test_sheets_that_are_gone_or_altered_make_room_for_the_next(tmp_path: Path) -> None:
    rows = [row(tmp_path, f"s{number}", number / 10) for number in range(8)]
    (tmp_path / rows[0].path).unlink()
    row(tmp_path, "s7", 0.7, content=b"no picture")
    digest = hashlib.sha256(SHEET).hexdigest()
    rows[1] = PreviewRow("s1", "train", rows[1].coverage, 50, rows[1].path, "0" * 64)
    rows[2] = PreviewRow("s2", "train", rows[2].coverage, 50, rows[2].path, digest)
    assert titles(rows, tmp_path, most=4) == ["s2", "s3", "s6", "s5"]


def test_the_caption_has_the_figures_that_there_are(tmp_path: Path) -> None:
    rows = [row(tmp_path, "a", 0.126), row(tmp_path, "b", None, 0.5), row(tmp_path, "c", 1.0, None)]
    worst, *best = best_and_worst(rows, tmp_path)
    assert worst.caption == "Among the lowest coverage: pose 50%, 50 frames"
    assert [image.caption for image in best] == [
        "Among the highest coverage: hand 100%, 50 frames",
        "Among the highest coverage: hand 13%, pose 100%, 50 frames",
    ]
    assert {(image.data, image.media_type) for image in [worst, *best]} == {(SHEET, "image/jpeg")}


def test_an_only_sample_is_neither_best_nor_worst(tmp_path: Path) -> None:
    (image,) = best_and_worst([row(tmp_path, "a", 0.126)], tmp_path)
    assert image.caption == "hand 13%, pose 100%, 50 frames"
