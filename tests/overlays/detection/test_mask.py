"""Masks that the user gives: images and boxes, and their problems."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from tasks.engine.contract.errors import Problem
from tasks.media.orientation import turn_image
from tasks.media.segments.source import survey_video
from tasks.overlays.boxes import Box
from tasks.overlays.components import read_shape
from tasks.overlays.detection.mask.parsing import (
    ImageMask,
    _turn_to_stored,
    check_mask,
    make_mask_overlay,
    parse_mask,
    place_mask,
)
from tasks.overlays.overlay import FrameRange, Overlay

FORMATS = ["yuv420p", "yuv422p10le", "yuv444p", "gray", "gbrp"]


def write_image(path: Path, pixels: np.ndarray) -> str:
    assert cv2.imwrite(str(path), pixels)
    return str(path)


def draw_mark(channels: tuple[int, ...] = (), dtype: type = np.uint8) -> np.ndarray:
    """Return 48 x 64 pixels with a mark of 20 x 9 at 11,7, white or opaque."""
    pixels = np.zeros((48, 64, *channels), dtype)
    pixels[7:16, 11:31] = np.iinfo(dtype).max
    return pixels


def test_box_is_parsed() -> None:
    assert parse_mask("20,16,180x64") == Box(20, 16, 180, 64)
    assert parse_mask(" 0, 0, 1 X 1 ") == Box(0, 0, 1, 1)


@pytest.mark.parametrize("given", ["20,16,180,64", "20x16+180+64", "1,2,3", "-1,0,4x4", "1.5,0,4x4", "1,2,30x"])
def test_invalid_box_is_a_problem_with_the_right_notation(given: str) -> None:
    problem = parse_mask(given)
    assert isinstance(problem, Problem)
    assert "is not a box" in problem.given
    assert "LEFT,TOP,WIDTHxHEIGHT" in str(problem)


@pytest.mark.parametrize("given", ["4,4,0x3", "4,4,3x0"])
def test_empty_box_is_refused(given: str) -> None:
    problem = parse_mask(given)
    assert isinstance(problem, Problem)
    assert "is empty" in problem.given


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_box_overlay_covers_exactly_the_box(pixel_format: str) -> None:
    shape = read_shape(pixel_format)
    overlay = make_mask_overlay(Box(11, 7, 20, 9), shape, 65, 49, 30)
    assert overlay.ranges == (FrameRange(0, 30),)
    assert (overlay.source, overlay.confidence, overlay.is_known) == ("mask", 1.0, False)
    for layer, (across, down) in zip(overlay.layers, shape.divisors, strict=True):
        rows, columns = np.nonzero(layer.mask)
        assert (columns.min() + overlay.box.x // across, rows.min() + overlay.box.y // down) == (
            11 // across,
            7 // down,
        )
        assert (columns.max() + overlay.box.x // across, rows.max() + overlay.box.y // down) == (
            30 // across,
            15 // down,
        )
        assert layer.mask.sum() == (30 // across - 11 // across + 1) * (15 // down - 7 // down + 1)
        assert np.isnan(layer.alpha[layer.mask]).all()
        assert not layer.alpha[~layer.mask].any()
        assert np.isnan(layer.color).all()


def test_box_at_the_last_pixel_of_an_odd_frame() -> None:
    overlay = make_mask_overlay(Box(64, 48, 1, 1), read_shape("yuv420p"), 65, 49, 1)
    assert (overlay.box.right, overlay.box.bottom) == (65, 49)
    assert [int(layer.mask.sum()) for layer in overlay.layers] == [1, 1, 1]


@pytest.mark.parametrize(
    "pixels",
    [
        draw_mark(),
        draw_mark((3,)),
        draw_mark(dtype=np.uint16),
        draw_mark((4,)),
        np.dstack(
            [np.full((48, 64, 3), 255, np.uint8), draw_mark()]
        ),  # white all over, and transparent except for the mark
        np.dstack([draw_mark((3,)), np.full((48, 64), 255, np.uint8)]),  # opaque all over
    ],
    ids=[
        "grey",
        "colour",
        "16 bits",
        "black mark, rest transparent",
        "white everywhere",
        "an uninformative alpha channel",
    ],
)
def test_mask_is_read_from_an_image(tmp_path: Path, pixels: np.ndarray) -> None:
    given = parse_mask(write_image(tmp_path / "mask.png", pixels))
    assert isinstance(given, ImageMask)
    np.testing.assert_array_equal(given.mask, draw_mark() > 0)
    overlay = make_mask_overlay(given, read_shape("yuv420p"), 64, 48, 5)
    assert overlay.box == Box(10, 6, 22, 10)
    np.testing.assert_array_equal(overlay.layers[0].mask, (draw_mark() > 0)[6:16, 10:32])


def test_mask_of_another_size_is_a_problem_with_both_sizes(tmp_path: Path) -> None:
    given = parse_mask(write_image(tmp_path / "mask.png", draw_mark()))
    assert isinstance(given, ImageMask)
    assert check_mask(given, 64, 48, "a.mp4") is None
    problem = check_mask(given, 1920, 1080, "a.mp4")
    assert "mask.png has 64x48 pixels and a.mp4 1920x1080" in str(problem)


def test_box_outside_the_frame_is_a_problem() -> None:
    assert check_mask(Box(0, 0, 64, 48), 64, 48, "a.mp4") is None
    assert "ends at 65,48" in str(check_mask(Box(1, 0, 64, 48), 64, 48, "a.mp4"))
    assert "ends at 64,49" in str(check_mask(Box(0, 1, 64, 48), 64, 48, "a.mp4"))


def test_files_that_are_not_masks_are_problems(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    empty = tmp_path / "empty.png"
    empty.touch()
    sized = bytearray(Path(write_image(tmp_path / "huge.png", draw_mark())).read_bytes())
    sized[16:24] = (60_000).to_bytes(4, "big") * 2
    (tmp_path / "huge.png").write_bytes(sized)
    bitmap = bytearray(Path(write_image(tmp_path / "huge.bmp", draw_mark())).read_bytes())
    bitmap[18:26] = (60_000).to_bytes(4, "little") * 2
    (tmp_path / "huge.bmp").write_bytes(bitmap)
    black = Image.new("1", (10_000, 10_000))  # some kilobytes, packed
    black.save(tmp_path / "huge.tiff", compression="group4")
    black.save(tmp_path / "whole.png")
    with (tmp_path / "large.png").open("wb") as stream:
        stream.truncate(2**28 + 1)
    cases = {
        str(text): "not an image",
        str(empty): "not an image",
        str(tmp_path / "huge.png"): "not an image",  # its checksum does not fit
        str(tmp_path / "whole.png"): "more than 67,108,864 pixels",
        str(tmp_path / "huge.bmp"): "more than 67,108,864 pixels",
        str(tmp_path / "huge.tiff"): "more than 67,108,864 pixels",
        str(tmp_path / "large.png"): "268,435,457 bytes",
        str(tmp_path): "a folder",
        str(tmp_path / "absent.png"): "not a file or a box",
        write_image(tmp_path / "black.png", draw_mark() * 0): "marks no pixels",
        write_image(tmp_path / "white.png", draw_mark() | 255): "leaves no pixels",
    }
    for given, reason in cases.items():
        problem = parse_mask(given)
        assert isinstance(problem, Problem), given
        assert reason in problem.given


TURNS = [(1, 0, 0, 1), (0, 1, -1, 0), (0, -1, 1, 0), (-1, 0, 0, -1), (-1, 0, 0, 1), (0, 1, 1, 0), (0, -1, -1, 0)]


@pytest.mark.parametrize("turn", TURNS)
def test_boxes_and_masks_are_rotated_to_the_stored_frame(turn: tuple[int, int, int, int]) -> None:
    stored = np.zeros((50, 80, 3), np.uint8)
    stored[10:17, 20:45] = 255
    stored[16, 44] = 0  # a corner, so that no turn looks like another
    shown = turn_image(stored, turn)[:, :, 0] > 0
    rows, columns = np.nonzero(shown)
    box = Box(int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
    assert _turn_to_stored(box, turn, 80, 50) == Box(20, 10, 25, 7)
    given = _turn_to_stored(ImageMask(shown, "a.png"), turn, 80, 50)
    assert isinstance(given, ImageMask)
    np.testing.assert_array_equal(given.mask, stored[:, :, 0] > 0)


def test_mask_fits_the_upright_frame_of_a_rotated_video(tmp_path: Path) -> None:
    """Frames are stored as 96x64 and shown as 64x96: the lower left is stored at the upper left."""
    flat, shown = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    source = ["-f", "lavfi", "-i", "color=red:size=96x64:rate=10:duration=1", "-pix_fmt", "yuv420p"]
    subprocess.run([*program, *source, str(flat)], check=True)
    subprocess.run([*program, "-display_rotation", "90", "-i", str(flat), "-c", "copy", str(shown)], check=True)
    survey = survey_video(shown)
    assert (survey.picture.width_px, survey.picture.height_px) == (96, 64)
    overlay = place_mask(Box(0, 76, 30, 20), survey, "turned.mp4")
    assert isinstance(overlay, Overlay)
    assert overlay.box == Box(0, 0, 20, 30)
    assert overlay.ranges == (FrameRange(0, 10),)
    assert "within 64x96" in str(place_mask(Box(60, 0, 30, 20), survey, "turned.mp4"))
