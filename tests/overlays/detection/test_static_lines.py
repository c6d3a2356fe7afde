"""Subtitles found without training: lines over a real video, each with its mask and its frames."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tasks.media.segments.source import survey
from tasks.overlays.detection.static import find_static
from tasks.overlays.detection.static_lines import find_lines
from tasks.overlays.overlay import FrameRange

SHOWN = ((10, 60), (71, 101))
WORDS = ("winter came down from the hills", "the river carried us far")


def drawn(words: str, size: tuple[int, int]) -> Image.Image:
    """White letters with a dark rim near the bottom, on a page that is seen through."""
    page = Image.new("RGBA", size)
    place, font = (size[0] / 2, size[1] * 0.9), ImageFont.load_default(24)
    ImageDraw.Draw(page).text(place, words, (245, 245, 245), font, "mm", stroke_width=2, stroke_fill=(12, 12, 12))
    return page


@pytest.fixture(scope="module")
def subtitled(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    """The first cuts of a real video with two lines over it, and which pixels each of them covers."""
    folder = tmp_path_factory.mktemp("subtitled")
    source, target = shared_data / "video" / "skv_bikes.mp4", folder / "subtitled.mp4"
    picture = survey(source).picture
    pages = [drawn(words, (picture.width_px, picture.height_px)) for words in WORDS]
    inputs: list[str] = []
    for number, page in enumerate(pages):
        page.save(folder / f"{number}.png")
        inputs += ["-i", str(folder / f"{number}.png")]
    over = [f"overlay=enable='between(n,{start},{end - 1})'" for start, end in SHOWN]
    graph = f"[0:v][1:v]{over[0]}[a];[a][2:v]{over[1]},format=yuv420p"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(source), *inputs, "-filter_complex", graph]
    command += ["-frames:v", "110", "-an", "-threads", "1", "-c:v", "libx264", "-crf", "18", str(target)]
    subprocess.run(command, check=True, timeout=60)
    return target, [np.asarray(page)[..., 3] > 12 for page in pages]


def test_lines_have_their_masks_and_frames(subtitled):
    path, truths = subtitled
    found = find_static(path, survey(path))
    assert [one.ranges for one in found.overlays] == [(FrameRange(*bounds),) for bounds in SHOWN]
    for one, truth in zip(found.overlays, truths, strict=True):
        page = np.zeros(truth.shape, bool)
        page[one.box.y : one.box.bottom, one.box.x : one.box.right] = one.layers[0].mask
        assert (page & truth).sum() / (page | truth).sum() >= 0.75
    assert "2 lines" in found.reason


@pytest.mark.parametrize("name", ["skv_bikes.mp4", "mpy_chaplin.mp4", "nasa_13013.mp4", "cv_box.mp4"])
def test_no_lines_in_clean_clips(shared_data, name):
    path = shared_data / "video" / name
    assert list(find_lines(path, survey(path))) == []
