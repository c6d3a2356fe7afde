"""Images are oriented like in a player, and their colors equal those of ffmpeg."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tasks.media.reading import VideoReader

FLIPS = [[], ["-display_hflip"], ["-display_vflip"]]


def read_first_image(path: Path) -> np.ndarray:
    with VideoReader(path) as reader:
        image = next(reader.read_frames([0])).image
        assert (reader.info.height_px, reader.info.width_px) == image.shape[:2]
    return image


def decode_with_ffmpeg(ffmpeg: Callable[..., bytes], path: Path, shape: tuple[int, ...]) -> np.ndarray:
    raw = ffmpeg("-i", str(path), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "bgr24", "-")
    return np.frombuffer(raw, np.uint8).reshape(shape)


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("degrees", ["0", "90", "180", "270"])
def test_display_matrix_is_applied_as_in_ffmpeg(
    degrees: str, flip: list[str], defect: Callable[[str], Path], ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", degrees, *flip, "-i", str(defect("plain.mp4")), "-c", "copy", str(path))
    image = read_first_image(path)
    assert image.shape == ((320, 180, 3) if degrees in {"90", "270"} else (180, 320, 3))
    np.testing.assert_array_equal(image, decode_with_ffmpeg(ffmpeg, path, image.shape))


@pytest.mark.parametrize("name", ["nasa_13013_rotated.mp4", "bt709_full_range.mp4", "skv_bigbuckbunny.mp4"])
def test_colors_of_real_videos_equal_ffmpeg(name: str, shared_data: Path, ffmpeg: Callable[..., bytes]) -> None:
    path = shared_data / "video" / name
    image = read_first_image(path)
    np.testing.assert_array_equal(image, decode_with_ffmpeg(ffmpeg, path, image.shape))


def test_odd_size_is_kept(defect: Callable[[str], Path]) -> None:
    assert read_first_image(defect("odd-size.mp4")).shape == (181, 321, 3)


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("degrees", ["0", "90"])
def test_all_frames_are_turned_like_single_frames(
    degrees: str, flip: list[str], tmp_path: Path, ffmpeg: Callable[..., bytes], defect: Callable[[str], Path]
) -> None:
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", degrees, *flip, "-i", str(defect("odd-size.mp4")), "-c", "copy", str(path))
    with VideoReader(path) as reader:
        chosen = [frame.image for frame in reader.read_frames(range(len(reader.timeline)))]
        every = [frame.image for frame in reader.read_frames_or_damage()]
    np.testing.assert_array_equal(chosen, every)


def test_decoded_frames_are_freed(defect: Callable[[str], Path]) -> None:
    """Otherwise a long video fills the memory of a slot."""
    from av.video.frame import VideoFrame

    gc.collect()
    gc.disable()
    try:
        with VideoReader(defect("odd-size.mp4")) as reader:
            before = sum(type(thing) is VideoFrame for thing in gc.get_objects())
            frames = sum(1 for _ in reader.read_frames_or_damage())
            alive = sum(type(thing) is VideoFrame for thing in gc.get_objects()) - before
    finally:
        gc.enable()
    assert frames >= 20
    assert alive <= 4
