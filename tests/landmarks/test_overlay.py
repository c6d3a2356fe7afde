"""Overlays: playable, reproducible clips that are encoded without keeping frames in memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tasks.landmarks.overlay import Overlay, compute_clip_size
from tasks.landmarks.points import SKELETONS
from tasks.landmarks.sequence import Points, RgbImage, Source, Sources

HANDS = SKELETONS["hands"]
DETECTED: Sources = np.array([Source.DETECTED, Source.MISSING], np.uint8)
MISSING: Sources = np.zeros(2, np.uint8)


@dataclass(frozen=True)
class Clip:
    """A clip as PyAV reads it; images are RGB."""

    images: list[np.ndarray]
    times: list[float]
    seconds: float
    rate: Fraction
    pixel_format: str

    @property
    def sizes(self) -> set[tuple[int, int]]:
        return {(image.shape[1], image.shape[0]) for image in self.images}


def read_clip(path: Path | None) -> Clip:
    assert path is not None
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return Clip(
            [frame.to_ndarray(format="rgb24") for frame in frames],
            [frame.time for frame in frames],
            container.duration / av.time_base,
            stream.average_rate,
            frames[0].format.name,
        )


def create_image(colour: tuple[int, int, int] = (120, 120, 120), width: int = 64, height: int = 48) -> RgbImage:
    return np.full((height, width, 3), colour, np.uint8)


def create_hand(y: float = 0.5) -> Points:
    """Return a left hand that is a horizontal line, without a right hand."""
    points = np.full((HANDS.points, 4), np.nan, np.float32)
    points[:21] = (0.1, y, 0, 1)
    points[1:5] = (0.9, y, 0, 1)
    return points


def create_overlay(folder: Path, fps: float = 25.0) -> Overlay:
    return Overlay(folder, "sample", HANDS, fps)


def write_clip(folder: Path, images: list[RgbImage | None], fps: float = 25.0) -> Path | None:
    folder.mkdir(exist_ok=True)
    clip = create_overlay(folder, fps)
    for number, frame in enumerate(images):
        clip.add(frame, create_hand(0.2 + 0.6 * number / len(images)), DETECTED)
    return clip.close()


def test_clip_has_all_frames_times_and_format(tmp_path: Path) -> None:
    path = write_clip(tmp_path, [create_image()] * 12, fps=12.5)
    clip = read_clip(path)
    assert path == tmp_path / "sample.mp4"
    assert len(clip.images) == 12
    assert clip.sizes == {(128, 96)}
    assert clip.times == pytest.approx([number / 12.5 for number in range(12)])
    assert clip.seconds == pytest.approx(12 / 12.5)
    assert clip.rate == Fraction(25, 2)
    assert clip.pixel_format == "yuv420p"


@pytest.mark.parametrize("fps", [30_000 / 1001, 24_000 / 1001, 5, 1 / 3, 240])
def test_frame_rates_are_kept(tmp_path: Path, fps: float) -> None:
    clip = read_clip(write_clip(tmp_path, [create_image()] * 5, fps))
    assert clip.times == pytest.approx([number / fps for number in range(5)], abs=1e-4)


def test_skeleton_is_on_its_frame(tmp_path: Path) -> None:
    clip = read_clip(write_clip(tmp_path, [create_image(width=320, height=240)] * 10))
    for number, canvas in enumerate(clip.images):
        row = round((0.2 + 0.6 * number / 10) * 480)
        line = canvas[row - 1 : row + 1, 200:440].astype(int).mean(axis=(0, 1))
        assert line[2] > line[0] + 40  # the left hand's blue
        assert abs(canvas[(row + 240) % 400, 200:440].astype(int) - 120).max() < 12


def test_colours_are_preserved(tmp_path: Path) -> None:
    colour = (200, 60, 30)
    path = tmp_path / "sample.mp4"
    clip = create_overlay(tmp_path)
    for _ in range(3):
        clip.add(create_image(colour, 320, 240), create_hand(), MISSING)
    clip.close()
    assert abs(read_clip(path).images[1][:200].mean(axis=(0, 1)) - colour).max() < 4
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (5, 1)  # BT.601, limited


def test_index_is_at_the_front(tmp_path: Path) -> None:
    path = write_clip(tmp_path, [create_image()] * 5)
    assert path is not None
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (30, 48, 64, 3), np.uint8)
    first, second = (write_clip(tmp_path / name, list(noise)) for name in ("a", "b"))
    assert first is not None
    assert second is not None
    assert first.read_bytes() == second.read_bytes()


def test_given_times_are_kept_and_never_decrease(tmp_path: Path) -> None:
    clip = create_overlay(tmp_path)
    for time in (0.0, 0.1, 0.5, 0.4, 1.0):
        clip.add(create_image(), create_hand(), DETECTED, time)
    assert read_clip(clip.close()).times == pytest.approx([0, 0.1, 0.5, 0.5, 1.0], abs=1e-3)


def test_single_frame_becomes_a_jpeg(tmp_path: Path) -> None:
    path = write_clip(tmp_path, [create_image(width=320, height=240)])
    assert path == tmp_path / "sample.jpg"
    still = cv2.imread(str(path))
    assert still.shape == (480, 640, 3)
    assert still[96, 320, 0] > still[96, 320, 2] + 40  # BGR
    assert [entry.name for entry in tmp_path.iterdir()] == ["sample.jpg"]


@pytest.mark.parametrize("bad", [{0, 1}, {3}, {6, 7}, {0, 2, 4, 7}, {1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 3, 4, 5, 6}])
def test_bad_frames_become_grey_placeholders(tmp_path: Path, bad: set[int]) -> None:
    clip = read_clip(
        write_clip(tmp_path, [None if number in bad else create_image((240, 240, 240)) for number in range(8)])
    )
    assert len(clip.images) == 8
    assert clip.sizes == {(128, 96)}
    assert {number for number, canvas in enumerate(clip.images) if canvas[2:8, 2:8].mean() < 150} == bad
    words = clip.images[min(bad)][30:66]
    assert words.max() - words.min() > 40


@pytest.mark.parametrize("images", [[], [None], [None, None, None]])
def test_without_readable_frames_no_file_is_written(tmp_path: Path, images: list[RgbImage | None]) -> None:
    assert write_clip(tmp_path, images) is None
    assert list(tmp_path.iterdir()) == []


def test_other_image_sizes_are_fitted_into_the_first(tmp_path: Path) -> None:
    light = (240, 240, 240)
    tall = create_image(light, 100, 400)
    clip = read_clip(write_clip(tmp_path, [create_image(light, 400, 200), tall, create_image(light, 40, 20)]))
    assert clip.sizes == {(400, 200)}
    assert clip.images[1][20, 180:220].mean() > 200
    assert clip.images[1][:, :160].mean() < 20
    assert clip.images[2][:50].mean() > 200


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (210, 260, (420, 520)),
        (320, 240, (640, 480)),
        (640, 360, (640, 360)),
        (1920, 1080, (640, 360)),
        (720, 1280, (360, 640)),
        (620, 1080, (368, 640)),
        (333, 555, (332, 556)),
        (1, 1, (16, 16)),
        (3000, 3, (640, 16)),
    ],
)
def test_clip_size_is_even_and_bounded(tmp_path: Path, width: int, height: int, expected: tuple[int, int]) -> None:
    assert compute_clip_size(create_image(width=width, height=height)) == expected
    assert read_clip(write_clip(tmp_path, [create_image(width=width, height=height)] * 2)).sizes == {expected}


@pytest.mark.parametrize(("width", "height"), [(620, 1080), (333, 555)])
def test_rounding_leaves_no_black_rim(tmp_path: Path, width: int, height: int) -> None:
    canvas = read_clip(write_clip(tmp_path, [create_image((240, 240, 240), width, height)] * 2)).images[0]
    assert canvas[:100, [0, -1]].min() > 200
    assert canvas[0].min() > 200


def test_frames_are_not_kept_in_memory(tmp_path: Path) -> None:
    clip, frame, points = create_overlay(tmp_path), create_image(width=320, height=240), create_hand()
    for _ in range(3):
        clip.add(frame, points, DETECTED)
    tracemalloc.start()
    for _ in range(60):
        clip.add(frame, points, DETECTED)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    clip.close()
    canvas = 640 * 480 * 3
    assert kept < canvas  # keeping all images would take 60 times as much
    assert peak < 8 * canvas


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_invalid_frame_rate_raises_value_error(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps must be above 0"):
        create_overlay(tmp_path, fps)
