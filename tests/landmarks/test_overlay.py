"""Overlays: clips that play, the same bytes each time, nothing kept in memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tasks.landmarks.overlay import Overlay, clip_size
from tasks.landmarks.points import SKELETONS
from tasks.landmarks.sequence import Points, RgbImage, Source, Sources

HANDS = SKELETONS["hands"]
FOUND: Sources = np.array([Source.DETECTED, Source.MISSING], np.uint8)
NOTHING: Sources = np.zeros(2, np.uint8)


@dataclass(frozen=True)
class Clip:
    """A clip as PyAV reads it; pictures are RGB."""

    pictures: list[np.ndarray]
    times: list[float]
    seconds: float
    rate: Fraction
    pixel_format: str

    @property
    def sizes(self) -> set[tuple[int, int]]:
        return {(image.shape[1], image.shape[0]) for image in self.pictures}


def opened(path: Path | None) -> Clip:
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


def image(colour: tuple[int, int, int] = (120, 120, 120), width: int = 64, height: int = 48) -> RgbImage:
    return np.full((height, width, 3), colour, np.uint8)


def hand(y: float = 0.5) -> Points:
    """A left hand that is a horizontal line, and no right one."""
    points = np.full((HANDS.points, 4), np.nan, np.float32)
    points[:21] = (0.1, y, 0, 1)
    points[1:5] = (0.9, y, 0, 1)
    return points


def overlay(folder: Path, fps: float = 25.0) -> Overlay:
    return Overlay(folder, "sample", HANDS, fps)


def written(folder: Path, pictures: list[RgbImage | None], fps: float = 25.0) -> Path | None:
    folder.mkdir(exist_ok=True)
    clip = overlay(folder, fps)
    for number, one in enumerate(pictures):
        clip.add(one, hand(0.2 + 0.6 * number / len(pictures)), FOUND)
    return clip.close()


def test_number_size_times_and_format(tmp_path: Path) -> None:
    path = written(tmp_path, [image()] * 12, fps=12.5)
    clip = opened(path)
    assert path == tmp_path / "sample.mp4"
    assert len(clip.pictures) == 12
    assert clip.sizes == {(128, 96)}
    assert clip.times == pytest.approx([number / 12.5 for number in range(12)])
    assert clip.seconds == pytest.approx(12 / 12.5)
    assert clip.rate == Fraction(25, 2)
    assert clip.pixel_format == "yuv420p"


@pytest.mark.parametrize("fps", [30_000 / 1001, 24_000 / 1001, 5, 1 / 3, 240])
def test_all_frame_rates(tmp_path: Path, fps: float) -> None:
    clip = opened(written(tmp_path, [image()] * 5, fps))
    assert clip.times == pytest.approx([number / fps for number in range(5)], abs=1e-4)


def test_the_skeleton_moves_with_its_frame(tmp_path: Path) -> None:
    clip = opened(written(tmp_path, [image(width=320, height=240)] * 10))
    for number, page in enumerate(clip.pictures):
        row = round((0.2 + 0.6 * number / 10) * 480)
        line = page[row - 1 : row + 1, 200:440].astype(int).mean(axis=(0, 1))
        assert line[2] > line[0] + 40  # the left hand's blue
        assert abs(page[(row + 240) % 400, 200:440].astype(int) - 120).max() < 12


def test_colours_are_the_pictures(tmp_path: Path) -> None:
    colour = (200, 60, 30)
    path = tmp_path / "sample.mp4"
    clip = overlay(tmp_path)
    for _ in range(3):
        clip.add(image(colour, 320, 240), hand(), NOTHING)
    clip.close()
    assert abs(opened(path).pictures[1][:200].mean(axis=(0, 1)) - colour).max() < 4
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (5, 1)  # BT.601, limited


def test_the_index_is_in_front(tmp_path: Path) -> None:
    path = written(tmp_path, [image()] * 5)
    assert path is not None
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_same_bytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (30, 48, 64, 3), np.uint8)
    first, second = (written(tmp_path / name, list(noise)) for name in ("a", "b"))
    assert first is not None
    assert second is not None
    assert first.read_bytes() == second.read_bytes()


def test_given_times_are_kept_and_never_fall(tmp_path: Path) -> None:
    clip = overlay(tmp_path)
    for time in (0.0, 0.1, 0.5, 0.4, 1.0):
        clip.add(image(), hand(), FOUND, time)
    assert opened(clip.close()).times == pytest.approx([0, 0.1, 0.5, 0.5, 1.0], abs=1e-3)


def test_one_frame_is_a_picture(tmp_path: Path) -> None:
    path = written(tmp_path, [image(width=320, height=240)])
    assert path == tmp_path / "sample.jpg"
    still = cv2.imread(str(path))
    assert still.shape == (480, 640, 3)
    assert still[96, 320, 0] > still[96, 320, 2] + 40  # BGR
    assert [entry.name for entry in tmp_path.iterdir()] == ["sample.jpg"]


@pytest.mark.parametrize("bad", [{0, 1}, {3}, {6, 7}, {0, 2, 4, 7}, {1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 3, 4, 5, 6}])
def test_bad_frames_are_grey_cards_in_their_places(tmp_path: Path, bad: set[int]) -> None:
    clip = opened(written(tmp_path, [None if number in bad else image((240, 240, 240)) for number in range(8)]))
    assert len(clip.pictures) == 8
    assert clip.sizes == {(128, 96)}
    assert {number for number, page in enumerate(clip.pictures) if page[2:8, 2:8].mean() < 150} == bad
    words = clip.pictures[min(bad)][30:66]
    assert words.max() - words.min() > 40


@pytest.mark.parametrize("pictures", [[], [None], [None, None, None]])
def test_no_readable_frame_is_no_file(tmp_path: Path, pictures: list[RgbImage | None]) -> None:
    assert written(tmp_path, pictures) is None
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_other_sizes_are_fitted_into_the_first(tmp_path: Path) -> None:
    light = (240, 240, 240)
    tall = image(light, 100, 400)
    clip = opened(written(tmp_path, [image(light, 400, 200), tall, image(light, 40, 20)]))
    assert clip.sizes == {(400, 200)}
    assert clip.pictures[1][20, 180:220].mean() > 200
    assert clip.pictures[1][:, :160].mean() < 20
    assert clip.pictures[2][:50].mean() > 200


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
def test_sizes_are_even_and_bounded(tmp_path: Path, width: int, height: int, expected: tuple[int, int]) -> None:
    assert clip_size(image(width=width, height=height)) == expected
    assert opened(written(tmp_path, [image(width=width, height=height)] * 2)).sizes == {expected}


@pytest.mark.parametrize(("width", "height"), [(620, 1080), (333, 555)])
def test_rounding_leaves_no_black_rim(tmp_path: Path, width: int, height: int) -> None:
    page = opened(written(tmp_path, [image((240, 240, 240), width, height)] * 2)).pictures[0]
    assert page[:100, [0, -1]].min() > 200
    assert page[0].min() > 200


def test_frames_are_not_kept(tmp_path: Path) -> None:
    clip, frame, points = overlay(tmp_path), image(width=320, height=240), hand()
    for _ in range(3):
        clip.add(frame, points, FOUND)
    tracemalloc.start()
    for _ in range(60):
        clip.add(frame, points, FOUND)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    clip.close()
    page = 640 * 480 * 3
    assert kept < page  # drawn pages would be 60 times that
    assert peak < 8 * page


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_frame_rate_that_is_none(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps must be above 0"):
        overlay(tmp_path, fps)
