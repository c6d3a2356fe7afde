"""Subtitles detected without training: lines over a real video, with masks and frames."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageFont

from tasks.media.segments.source import survey_video
from tasks.overlays.detection.static.detector import find_static
from tasks.overlays.detection.text_lines.search import find_lines
from tasks.overlays.overlay import FrameRange

Mask = npt.NDArray[np.bool_]
WORDS = ("winter came down from the hills", "the river carried us far")


def draw_line(words: str, size: tuple[int, int]) -> Image.Image:
    """Return white letters with a dark outline near the bottom, on a transparent page."""
    page = Image.new("RGBA", size)
    place, font = (size[0] / 2, size[1] * 0.9), ImageFont.load_default(24)
    ImageDraw.Draw(page).text(place, words, (245, 245, 245), font, "mm", stroke_width=2, stroke_fill=(12, 12, 12))
    return page


def add_subtitles(
    source: Path, target: Path, shown: tuple[tuple[int, int], ...], frames: int, opacity: str
) -> list[Mask]:
    """Write ``source`` with lines over its first frames to ``target``. Return the pixels of each line."""
    picture = survey_video(source).picture
    pages = [draw_line(words, (picture.width_px, picture.height_px)) for words in WORDS[: len(shown)]]
    inputs, graph = [], ""
    for number, (page, (start, end)) in enumerate(zip(pages, shown, strict=True)):
        page.save(target.with_suffix(f".{number}.png"))
        inputs += ["-i", str(target.with_suffix(f".{number}.png"))]
        graph += f"[{number + 1}:v]format=rgba,colorchannelmixer=aa={opacity}[p{number}];"
        graph += f"[{f'v{number}' if number else '0:v'}][p{number}]overlay=enable='between(n,{start},{end - 1})'"
        graph += f"[v{number + 1}];"
    graph += f"[v{len(pages)}]format=yuv420p"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(source), *inputs, "-filter_complex", graph]
    command += ["-frames:v", str(frames), "-an", "-threads", "1", "-c:v", "libx264", "-crf", "18", str(target)]
    subprocess.run(command, check=True, timeout=60)
    return [np.asarray(page)[..., 3] > 12 for page in pages]


@pytest.mark.parametrize(
    ("name", "shown", "frames", "opacity"),
    [
        pytest.param("skv_bikes.mp4", ((10, 60), (71, 101)), 110, "1", id="over many cuts, one begins with one"),
        pytest.param("mpy_chaplin.mp4", ((25, 50),), 50, "0.5", id="translucent, camera stands, to the video's end"),
    ],
)
def test_subtitles_have_exact_masks_and_frames(shared_data, tmp_path, name, shown, frames, opacity):
    path = tmp_path / "subtitled.mp4"
    truths = add_subtitles(shared_data / "video" / name, path, shown, frames, opacity)
    findings = find_static(path, survey_video(path))
    assert [overlay.ranges for overlay in findings.overlays] == [(FrameRange(*bounds),) for bounds in shown]
    for overlay, truth in zip(findings.overlays, truths, strict=True):
        page = np.zeros(truth.shape, bool)
        page[overlay.box.y : overlay.box.bottom, overlay.box.x : overlay.box.right] = overlay.layers[0].mask
        assert (
            page & truth
        ).sum() / truth.sum() >= 0.95  # missing pixels remain visible, additional ones are filled in
        assert (page & truth).sum() / (page | truth).sum() >= 0.68
    if opacity != "1":
        layer = findings.overlays[0].layers[0]
        assert abs(float(np.quantile(layer.alpha[layer.mask], 0.9)) - float(opacity)) < 0.06
    assert f"{len(shown)} text line" in findings.reason


@pytest.mark.parametrize("name", ["skv_bikes.mp4", "mpy_chaplin.mp4", "nasa_13013.mp4", "psd_counter.mp4"])
def test_clean_clips_have_no_text_lines(shared_data, name):
    path = shared_data / "video" / name
    assert list(find_lines(path, survey_video(path))) == []
