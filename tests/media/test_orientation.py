"""Pictures stand as a player shows them, in the colours that ffmpeg gives them."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tasks.media.reading import VideoReader

FLIPS = [[], ["-display_hflip"], ["-display_vflip"]]


def first_picture(path: Path) -> np.ndarray:
    with VideoReader(path) as reader:
        picture = next(reader.read_frames([0])).image
        assert (reader.info.height_px, reader.info.width_px) == picture.shape[:2]
    return picture


def shown_by_ffmpeg(ffmpeg: Callable[..., bytes], path: Path, shape: tuple[int, ...]) -> np.ndarray:
    raw = ffmpeg("-i", str(path), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "bgr24", "-")
    return np.frombuffer(raw, np.uint8).reshape(shape)


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("degrees", ["0", "90", "180", "270"])
def test_display_matrix(
    degrees: str, flip: list[str], defect: Callable[[str], Path], ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", degrees, *flip, "-i", str(defect("plain.mp4")), "-c", "copy", str(path))
    picture = first_picture(path)
    assert picture.shape == ((320, 180, 3) if degrees in {"90", "270"} else (180, 320, 3))
    np.testing.assert_array_equal(picture, shown_by_ffmpeg(ffmpeg, path, picture.shape))


@pytest.mark.parametrize("name", ["nasa_13013_rotated.mp4", "bt709_full_range.mp4", "skv_bigbuckbunny.mp4"])
def test_real_videos(name: str, shared_data: Path, ffmpeg: Callable[..., bytes]) -> None:
    path = shared_data / "video" / name
    picture = first_picture(path)
    np.testing.assert_array_equal(picture, shown_by_ffmpeg(ffmpeg, path, picture.shape))


def test_odd_size(defect: Callable[[str], Path]) -> None:
    assert first_picture(defect("odd-size.mp4")).shape == (181, 321, 3)


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("degrees", ["0", "90"])
def test_a_whole_video_is_turned_as_its_frames_are(
    degrees: str, flip: list[str], tmp_path: Path, ffmpeg: Callable[..., bytes], defect: Callable[[str], Path]
) -> None:
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", degrees, *flip, "-i", str(defect("odd-size.mp4")), "-c", "copy", str(path))
    with VideoReader(path) as reader:
        chosen = [frame.image for frame in reader.read_frames(range(len(reader.timeline)))]
        every = [frame.image for frame in reader.read_frames_or_damage()]
    np.testing.assert_array_equal(chosen, every)


def test_decoded_frames_do_not_pile_up(defect: Callable[[str], Path]) -> None:
    """As long as they live, a long video fills the memory of a slot."""
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
