"""Videos searched by a network that detects bright patches: exact boxes and frames."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from tasks.media.segments.source import survey_video
from tasks.overlays.boxes import Box
from tasks.overlays.detection.yolo.search import SearchSettings, choose_frames, find_by_model
from tasks.overlays.overlay import FrameRange
from tests.overlays.detection.networks import build, count_candidates

WIDTH, HEIGHT = 160, 128
Place = tuple[int, int, int, int]  # left, top, right, bottom
SETTINGS = SearchSettings(score=0.7, every_frames=12, margin_share=0.0)


def draw_frame(*patches: tuple[Place, int, int]) -> np.ndarray:
    """Return dark noise with patches, each with a channel and a value."""
    pixels = np.random.default_rng(1).integers(20, 60, (HEIGHT, WIDTH, 3), np.uint8)
    for (left, top, right, bottom), channel, value in patches:
        pixels[top:bottom, left:right, channel] = value
    return pixels


def record(path: Path, frames: list[np.ndarray], *options: str) -> Path:
    """Write ``frames`` (red, green, blue) losslessly, or with ``options``."""
    size = f"{frames[0].shape[1]}x{frames[0].shape[0]}"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", "24", "-i", "pipe:0"]
    form = options or ("-c:v", "ffv1", "-pix_fmt", "gbrp")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, *form, str(path)]
    subprocess.run(command, input=b"".join(frame.tobytes() for frame in frames), check=True)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "patches.onnx"
    return build(path, "anchors", (WIDTH, HEIGHT), count_candidates(WIDTH, HEIGHT))


def test_still_logo_and_temporary_stamp_are_found_exactly(tmp_path: Path, model: Path) -> None:
    logo, stamp = ((24, 16, 64, 40), 0, 255), ((100, 80, 148, 96), 1, 230)
    frames = [draw_frame(logo, *([stamp] if 31 <= number < 78 else [])) for number in range(110)]
    path = record(tmp_path / "a.mkv", frames)
    findings = find_by_model(path, survey_video(path), model, SETTINGS)
    first, second = findings.overlays
    assert (first.box, first.label, first.ranges) == (Box(24, 16, 40, 24), "logo", (FrameRange(0, 110),))
    assert (second.box, second.label, second.ranges) == (Box(100, 80, 48, 16), "stamp", (FrameRange(31, 78),))
    assert (first.confidence, second.confidence) == (pytest.approx(1.0), pytest.approx(230 / 255, abs=0.01))
    assert findings.confidence == second.confidence
    assert "logo, stamp" in findings.reason
    assert all(layer.mask.all() and np.isnan(layer.alpha).all() for layer in first.layers)
    assert [layer.mask.shape for layer in first.layers] == [(24, 40)] * 3


def test_boxes_in_subsampled_video_cover_whole_samples(tmp_path: Path, model: Path) -> None:
    frames = [draw_frame(((25, 17, 63, 41), 0, 255)) for _ in range(30)]
    options = ("-c:v", "libx264", "-qp", "4", "-g", "10", "-bf", "2", "-pix_fmt", "yuv420p", "-threads", "1")
    path = record(tmp_path / "a.mp4", frames, *options)
    (overlay,) = find_by_model(path, survey_video(path), model, SETTINGS).overlays
    assert overlay.ranges == (FrameRange(0, 30),)
    box = overlay.box
    assert abs(box.x - 24) <= 2
    assert abs(box.right - 64) <= 2
    assert abs(box.y - 16) <= 2
    assert abs(box.bottom - 42) <= 2
    assert box.x % 2 == box.y % 2 == box.width % 2 == box.height % 2 == 0


def test_moving_logo_is_covered_in_every_frame(tmp_path: Path, model: Path) -> None:
    places = [(4 + number, 40, 34 + number, 60) for number in range(100)]
    path = record(tmp_path / "a.mkv", [draw_frame((place, 0, 255)) for place in places])
    findings = find_by_model(path, survey_video(path), model, SETTINGS)
    assert len(findings.overlays) > 2
    for number, (left, top, right, bottom) in enumerate(places):
        over = [overlay.box for overlay in findings.overlays if overlay.is_shown(number)]
        assert any(box.x <= left and box.y <= top and box.right >= right and box.bottom >= bottom for box in over), (
            number
        )


def test_clean_video_reports_the_best_score(tmp_path: Path, model: Path) -> None:
    faint = draw_frame(((24, 16, 64, 40), 0, 170))  # scores 0.67
    path = record(tmp_path / "a.mkv", [faint] * 30)
    findings = find_by_model(path, survey_video(path), model, SETTINGS)
    assert findings.overlays == ()
    assert findings.confidence == pytest.approx(1 - 170 / 255, abs=0.01)
    assert "scores 0.7; the best scores 0.67" in findings.reason


def test_patch_in_a_single_frame_is_not_an_overlay(tmp_path: Path, model: Path) -> None:
    dark, bright = draw_frame(), draw_frame(((24, 16, 64, 40), 0, 255))
    path = record(tmp_path / "a.mkv", [bright if number == 24 else dark for number in range(60)])
    findings = find_by_model(path, survey_video(path), model, SETTINGS)
    assert findings.overlays == ()
    assert "not confirmed by others" in findings.reason


def test_only_requested_classes_are_found(tmp_path: Path, model: Path) -> None:
    both = draw_frame(((24, 16, 64, 40), 0, 255), ((100, 80, 148, 96), 1, 255))
    path = record(tmp_path / "a.mkv", [both] * 30)
    settings = SearchSettings(score=0.7, classes=("stamp",), margin_share=0.25)
    (overlay,) = find_by_model(path, survey_video(path), model, settings).overlays
    assert overlay.label == "stamp"
    assert overlay.box == Box(96, 76, 56, 24)  # a quarter of 16 around it


def test_video_of_one_frame_is_searched(tmp_path: Path, model: Path) -> None:
    path = record(tmp_path / "a.mkv", [draw_frame(((24, 16, 64, 40), 0, 255))])
    (overlay,) = find_by_model(path, survey_video(path), model, SETTINGS).overlays
    assert overlay.ranges == (FrameRange(0, 1),)


def test_few_samples_of_a_keyframe_video_are_decoded_alone(tmp_path: Path, model: Path) -> None:
    frames = [draw_frame(*([((24, 16, 64, 40), 0, 255)] if number < 50 else [])) for number in range(90)]
    path = record(tmp_path / "a.mkv", frames, "-c:v", "ffv1", "-g", "1", "-pix_fmt", "gbrp")
    (overlay,) = find_by_model(path, survey_video(path), model, SETTINGS).overlays
    assert overlay.ranges == (FrameRange(0, 50),)


def test_rotated_video_is_searched_upright(tmp_path: Path) -> None:
    """The network takes exactly 128 x 160: frames in another orientation would be scaled, and the boxes inexact."""
    path = record(tmp_path / "flat.mp4", [draw_frame(((24, 16, 64, 40), 0, 255))] * 30, *MP4)
    shown = tmp_path / "turned.mp4"
    turn = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-display_rotation", "90", "-i", str(path)]
    subprocess.run([*turn, "-c", "copy", str(shown)], check=True)
    model = build(tmp_path / "high.onnx", "anchors", (HEIGHT, WIDTH), count_candidates(HEIGHT, WIDTH))
    survey = survey_video(shown)
    assert survey.display_matrix
    (overlay,) = find_by_model(shown, survey, model, SETTINGS).overlays
    box = overlay.box
    np.testing.assert_allclose([box.x, box.y, box.right, box.bottom], [24, 16, 64, 40], atol=2)


MP4 = ("-c:v", "libx264", "-qp", "4", "-pix_fmt", "yuv444p", "-threads", "1")


def test_choose_frames(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mkv", [draw_frame()] * 50)
    survey = survey_video(path)
    assert choose_frames(survey, SearchSettings()) == (0, 12, 24, 36, 48, 49)  # 24 frames a second
    assert choose_frames(survey, SearchSettings(every_frames=25)) == (0, 25, 49)
    assert choose_frames(survey, SearchSettings(every_frames=500)) == (0, 49)
