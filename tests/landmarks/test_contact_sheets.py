"""Contact sheets of samples, and their selection for the report."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.landmarks.contact_sheets import ContactSheet, PreviewRow, choose_previews
from tasks.landmarks.points import SKELETONS
from tasks.landmarks.sequence import Points, RgbImage, Source, Sources

HANDS = SKELETONS["hands"]
MISSING = np.zeros(2, np.uint8)
MARGIN, CAPTION, CELL = 12, 32, 260


def create_image(value: int, width: int = 320, height: int = 240) -> RgbImage:
    return np.full((height, width, 3), value, np.uint8)


def create_hand() -> tuple[Points, Sources]:
    """Return a left hand that is a line through the middle, without a right hand."""
    points = np.full((HANDS.points, 4), np.nan, np.float32)
    points[:21] = (0.1, 0.5, 0, 1)
    points[1:5] = (0.9, 0.5, 0, 1)
    return points, np.array([Source.DETECTED, Source.MISSING], np.uint8)


def decode_image(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def measure_levels(sheet: np.ndarray, cells: int, cell_height: int = 195) -> list[int]:
    """Return the mean brightness of the upper part of each cell."""
    levels = []
    for number in range(cells):
        row, column = divmod(number, 3)
        left, top = MARGIN + column * (CELL + MARGIN), MARGIN + row * (cell_height + CAPTION + MARGIN)
        levels.append(round(float(sheet[top + 10 : top + 60, left + 20 : left + 240].mean())))
    return levels


def create_sheet(frames: int, has_length: bool) -> ContactSheet:
    """Return the contact sheet of a sample whose frames become brighter."""
    contact_sheet, no_points = (
        ContactSheet(HANDS, frames if has_length else None),
        np.full((HANDS.points, 4), np.nan, np.float32),
    )
    for number in range(frames):
        contact_sheet.add(number, create_image(round(250 * number / max(1, frames - 1))), no_points, MISSING)
    return contact_sheet


def test_known_length_gives_evenly_spaced_frames() -> None:
    sheet = decode_image(create_sheet(101, has_length=True).encode_jpeg())
    assert sheet.shape == (2 * (195 + CAPTION + MARGIN) + MARGIN, 3 * (CELL + MARGIN) + MARGIN, 3)
    assert measure_levels(sheet, 6) == pytest.approx([0, 50, 100, 150, 200, 250], abs=3)


def test_other_frames_are_not_scaled() -> None:
    contact_sheet, (points, source) = ContactSheet(HANDS, 101), create_hand()
    assert [number for number in range(101) if contact_sheet.needs(number)] == [0, 20, 40, 60, 80, 100]
    contact_sheet.add(1, None, points, source)
    assert contact_sheet._kept == []


@pytest.mark.parametrize("frames", [7, 12, 13, 14, 100, 1000])
def test_unknown_length_keeps_a_bounded_number_of_frames(frames: int) -> None:
    contact_sheet, no_points = ContactSheet(HANDS), np.full((HANDS.points, 4), np.nan, np.float32)
    image = create_image(9, 8, 6)
    for number in range(frames):
        contact_sheet.add(number, image, no_points, MISSING)
        assert len(contact_sheet._kept) <= 12
    indices = [kept.frame_index for kept in contact_sheet._kept]
    assert indices[0] == 0
    assert len(indices) >= 6
    assert frames - indices[-1] <= indices[1]  # the last kept frame is within a stride of the end
    assert len(set(np.diff(indices))) == 1


def test_unknown_length_gives_about_the_same_frames() -> None:
    assert measure_levels(decode_image(create_sheet(100, has_length=False).encode_jpeg()), 6) == pytest.approx(
        [0, 50, 100, 150, 200, 250], abs=30
    )


@pytest.mark.parametrize(("frames", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 3, 2)])
@pytest.mark.parametrize("has_length", [True, False])
def test_short_sample_shows_all_its_frames(frames: int, columns: int, rows: int, has_length: bool) -> None:
    sheet = decode_image(create_sheet(frames, has_length).encode_jpeg())
    assert sheet.shape[:2] == (MARGIN + rows * (195 + CAPTION + MARGIN), MARGIN + columns * (CELL + MARGIN))


def test_contact_sheet_shows_the_skeleton() -> None:
    points, source = create_hand()
    with_hand, without = ContactSheet(HANDS, 1), ContactSheet(HANDS, 1)
    with_hand.add(0, create_image(120), points, source)
    without.add(0, create_image(120), points, MISSING)
    middle = slice(MARGIN + 95, MARGIN + 101), slice(MARGIN + 60, MARGIN + 200)
    blue, red = (decode_image(with_hand.encode_jpeg())[middle][..., channel].mean(axis=0) for channel in (0, 2))
    assert (blue > red + 30).all()
    assert abs(decode_image(without.encode_jpeg())[middle].astype(int) - 120).max() < 5


def test_bad_frame_has_an_empty_cell() -> None:
    points, source = create_hand()
    contact_sheet = ContactSheet(HANDS, 2)
    contact_sheet.add(0, None, points, MISSING)
    contact_sheet.add(1, create_image(200), points, source)
    dark, bright = measure_levels(decode_image(contact_sheet.encode_jpeg()), 2)
    assert dark < 60
    assert bright > 190


def test_later_changes_of_the_arrays_have_no_effect() -> None:
    points, source = create_hand()
    image = create_image(200, 260, 195)  # as large as a thumbnail, so that it is not scaled
    contact_sheets = ContactSheet(HANDS, 1), ContactSheet(HANDS, 1)
    for contact_sheet in contact_sheets:
        contact_sheet.add(0, image, points, source)
    expected = contact_sheets[0].encode_jpeg()
    image[:], points[:], source[:] = 0, 0, 0
    assert contact_sheets[1].encode_jpeg() == expected


@pytest.mark.parametrize(("width", "height"), [(210, 260), (1, 1), (1920, 1080), (10, 2000)])
def test_images_of_any_shape_fit(width: int, height: int) -> None:
    points, source = create_hand()
    contact_sheet = ContactSheet(HANDS, 1)
    contact_sheet.add(0, create_image(200, width, height), points, source)
    sheet = decode_image(contact_sheet.encode_jpeg())
    assert sheet.shape[1] == CELL + 2 * MARGIN
    assert sheet.shape[0] <= CELL + CAPTION + 2 * MARGIN


def test_same_frames_give_the_same_bytes() -> None:
    assert create_sheet(20, has_length=True).encode_jpeg() == create_sheet(20, has_length=True).encode_jpeg()


def test_contact_sheet_without_frames_raises_value_error() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        ContactSheet(HANDS).encode_jpeg()
    with pytest.raises(ValueError, match="frames=0"):
        ContactSheet(HANDS, 0)


SHEET = b"\xff\xd8\xff and more data"


def create_row(
    folder: Path, name: str, hand: float | None, pose: float | None = 1.0, content: bytes = SHEET
) -> PreviewRow:
    path = folder / "train/previews" / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    coverage = {"hand_coverage": hand, "pose_coverage": pose, "longest_gap_frames": 3.0}
    return PreviewRow(name, "train", coverage, 50, f"train/previews/{name}.jpg")


def list_titles(rows: list[PreviewRow], folder: Path, max_samples: int = 6) -> list[str]:
    return [image.title.removeprefix("train/") for image in choose_previews(rows, folder, max_samples)]


def test_worst_samples_come_first_then_the_best(tmp_path: Path) -> None:
    rows = [create_row(tmp_path, f"s{number}", number / 10) for number in (3, 9, 0, 5, 1, 7, 2, 8)]
    assert list_titles(rows, tmp_path) == ["s0", "s1", "s2", "s9", "s8", "s7"]
    assert list_titles(rows, tmp_path, max_samples=3) == ["s0", "s1", "s9"]
    assert list_titles(rows, tmp_path, max_samples=1) == ["s0"]
    assert list_titles(rows, tmp_path, max_samples=0) == []


def test_samples_are_ranked_by_hands_then_pose_then_name(tmp_path: Path) -> None:
    rows = [
        create_row(tmp_path, "d", 0.5, 0.9),
        create_row(tmp_path, "c", 0.5, 0.1),
        create_row(tmp_path, "b", 0.5, 0.9),
        create_row(tmp_path, "a", 0.9, 0.0),
    ]
    assert list_titles(rows, tmp_path) == ["c", "b", "a", "d"]
    assert list_titles(rows[::-1], tmp_path) == ["c", "b", "a", "d"]


@pytest.mark.parametrize("count", range(7))
def test_each_sample_appears_once_if_there_are_few(tmp_path: Path, count: int) -> None:
    rows = [create_row(tmp_path, f"s{number}", 0.5) for number in range(count)]
    assert sorted(list_titles(rows, tmp_path)) == sorted(row.name for row in rows)


def test_splits_may_have_samples_with_the_same_name(tmp_path: Path) -> None:
    first = create_row(tmp_path, "a", 0.5)
    second = PreviewRow("a", "dev", first.coverage, 50, first.path)
    assert [image.title for image in choose_previews([first, second], tmp_path)] == ["dev/a", "train/a"]


def test_missing_or_changed_contact_sheets_are_replaced_by_the_next(tmp_path: Path) -> None:
    rows = [create_row(tmp_path, f"s{number}", number / 10) for number in range(8)]
    (tmp_path / rows[0].path).unlink()
    create_row(tmp_path, "s7", 0.7, content=b"not an image")
    digest = hashlib.sha256(SHEET).hexdigest()
    rows[1] = PreviewRow("s1", "train", rows[1].coverage, 50, rows[1].path, "0" * 64)
    rows[2] = PreviewRow("s2", "train", rows[2].coverage, 50, rows[2].path, digest)
    assert list_titles(rows, tmp_path, max_samples=4) == ["s2", "s3", "s6", "s5"]


def test_caption_has_the_available_figures(tmp_path: Path) -> None:
    rows = [
        create_row(tmp_path, "a", 0.126),
        create_row(tmp_path, "b", None, 0.5),
        create_row(tmp_path, "c", 1.0, None),
    ]
    worst, *best = choose_previews(rows, tmp_path)
    assert worst.caption == "Among the lowest coverage: pose 50%, 50 frames"
    assert [image.caption for image in best] == [
        "Among the highest coverage: hand 100%, 50 frames",
        "Among the highest coverage: hand 13%, pose 100%, 50 frames",
    ]
    assert {(image.data, image.media_type) for image in [worst, *best]} == {(SHEET, "image/jpeg")}


def test_single_sample_has_no_rank_in_its_caption(tmp_path: Path) -> None:
    (image,) = choose_previews([create_row(tmp_path, "a", 0.126)], tmp_path)
    assert image.caption == "hand 13%, pose 100%, 50 frames"
