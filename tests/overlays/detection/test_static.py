"""Detection without training: small videos with and without overlays."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest

from tasks.media.segments.source import survey_video
from tasks.overlays.detection.static.detector import find_static
from tasks.overlays.overlay import FrameRange, Overlay

WIDTH, HEIGHT, SCENES, FRAMES = 320, 180, 8, 80
COLOR = (220, 100, 150)
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Veil:
    """An overlay for luma: opacity per pixel, and its first and last frame."""

    alpha: npt.NDArray[np.float32]
    start: int = 0
    end: int = FRAMES


def draw_letters(opacity: float) -> npt.NDArray[np.float32]:
    """Return two letters with soft edges at the bottom right."""
    page = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.putText(page, "TV", (236, 150), cv2.FONT_HERSHEY_SIMPLEX, 1.3, 255, 6, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(page, (0, 0), 0.6), np.float32) / np.float32(255) * np.float32(opacity)


def make_texture(seed: int, size: tuple[int, int], low: int, high: int) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4) + 0.05 * cv2.GaussianBlur(noise, (0, 0), 1)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return np.asarray(low + (high - low) * smooth, np.float32)


def frames(scenes: int, drift_px: int, veil: Veil | None, bar_px: int = 0) -> list[bytes]:
    """Yield frames in yuv420p: textures that drift by ``drift`` per frame and change between scenes."""
    images, each = [], FRAMES // scenes
    for index in range(FRAMES):
        scene, left = index // each, drift_px * (index % each)
        level = 20 * (scene % 5)
        luma = make_texture(scene, (HEIGHT, WIDTH + 200), 30 + level, 110 + level)[:, left : left + WIDTH].copy()
        if bar_px:
            luma[:bar_px] = luma[-bar_px:] = 16
        chroma = [np.full((HEIGHT // 2, WIDTH // 2), 120 + 2 * (scene % 4), np.float32) for _ in range(2)]
        planes = [luma, *chroma]
        if veil is not None and veil.start <= index < veil.end:
            small = cv2.resize(veil.alpha, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
            alphas = [veil.alpha, small, small]
            planes = [(1 - a) * p + a * c for a, p, c in zip(alphas, planes, COLOR, strict=True)]
        images.append(b"".join(np.rint(plane).astype(np.uint8).tobytes() for plane in planes))
    return images


def video(path: Path, pictures: list[bytes], *codec: str) -> Path:
    size = f"{WIDTH}x{HEIGHT}"
    given = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-r", "25", "-i", "-"]
    codec = codec or ("-c:v", "ffv1")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *given, "-threads", "1", *codec, str(path)]
    subprocess.run(command, input=b"".join(pictures), check=True)
    return path


def paint(overlays: tuple[Overlay, ...], name: str) -> npt.NDArray[np.float32]:
    """Return masks or opacities of luma over the whole frame."""
    page = np.zeros((HEIGHT, WIDTH), np.float32)
    for overlay in overlays:
        page[overlay.box.y : overlay.box.bottom, overlay.box.x : overlay.box.right] += getattr(overlay.layers[0], name)
    return page


def compute_overlap(overlays: tuple[Overlay, ...], truth: npt.NDArray[np.bool_]) -> float:
    mask = paint(overlays, "mask") > 0
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.mark.parametrize("opacity", [0.3, 0.5, 1.0])
def test_logo_over_changing_scenes_is_detected(tmp_path, opacity):
    alpha = draw_letters(opacity)
    path = video(tmp_path / "logo.mkv", frames(SCENES, 3, Veil(alpha)))
    findings = find_static(path, survey_video(path))
    assert compute_overlap(findings.overlays, alpha > 0.04 * opacity) >= 0.8
    assert all(overlay.ranges == (FrameRange(0, FRAMES),) and overlay.is_known for overlay in findings.overlays)
    error = np.abs(paint(findings.overlays, "alpha") - alpha)[paint(findings.overlays, "mask") > 0]
    assert error.mean() < 0.06
    core = findings.overlays[0].layers[0]
    assert abs(float(np.nanmedian(core.color)) - COLOR[0]) < 12
    assert [layer.mask.shape[0] * 2 for layer in findings.overlays[0].layers[1:]] == [core.mask.shape[0]] * 2


def test_logo_in_a_compressed_video_is_detected(tmp_path):
    alpha = draw_letters(0.5)
    path = video(tmp_path / "lossy.mp4", frames(SCENES, 3, Veil(alpha)), "-c:v", "libx264", "-crf", "20")
    findings = find_static(path, survey_video(path))
    assert compute_overlap(findings.overlays, alpha > 0.02) >= 0.75
    assert 0.5 < findings.confidence <= 1


def test_last_frame_of_an_overlay_is_exact(tmp_path):
    path = video(tmp_path / "ends.mkv", frames(SCENES, 3, Veil(draw_letters(0.75), 0, 75)))
    findings = find_static(path, survey_video(path))
    assert {overlay.ranges for overlay in findings.overlays} == {(FrameRange(0, 75),)}


@pytest.mark.parametrize(("scenes", "bar_px"), [(SCENES, 0), (SCENES, 20), (1, 0)])
def test_clean_videos_have_no_overlays(tmp_path, scenes, bar_px):
    path = video(tmp_path / "clean.mkv", frames(scenes, 2, None, bar_px))
    findings = find_static(path, survey_video(path))
    assert findings.overlays == ()
    assert findings.reason


def test_still_scene_is_not_an_overlay(tmp_path):
    path = video(tmp_path / "still.mkv", frames(1, 0, Veil(draw_letters(0.5))))
    findings = find_static(path, survey_video(path))
    assert findings.overlays == ()
    assert findings.confidence < 0.5


@pytest.mark.parametrize("name", ["skv_bikes.mp4", "mpy_chaplin.mp4", "cv_box.mp4", "nasa_13013_hdr.mp4"])
def test_clean_clips_have_no_overlays(shared_data, name):
    path = shared_data / "video" / name
    assert find_static(path, survey_video(path)).overlays == ()
