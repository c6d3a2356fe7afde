"""The user's adjustments of detected overlays: what stays, what is added, and when."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from tasks.engine.contract.errors import BadInput, Problem
from tasks.engine.contract.stage import Workspace
from tasks.media.segments.source import Survey, survey_video
from tasks.overlays.boxes import Box
from tasks.overlays.components import read_shape
from tasks.overlays.detection.adjusting import Adjustments, adjust_findings, find_shown_box, parse_times
from tasks.overlays.detection.findings import Findings
from tasks.overlays.detection.placing import make_box_overlay, turn_back, turn_upright
from tasks.overlays.options import PrepareParams
from tasks.overlays.overlay import FrameRange
from tasks.overlays.prepare_stage import PrepareStage, make_prepare_items
from tasks.overlays.video_source import VideoSource

SIZE, FRAMES = (96, 72), 20
FIRST, SECOND = Box(8, 8, 24, 12), Box(60, 40, 20, 16)
# All quarter turns and reflections.
TURNS = [
    turn
    for turn in itertools.product((-1, 0, 1), repeat=4)
    if (turn[0] != 0) == (turn[3] != 0) and (turn[1] != 0) == (turn[2] != 0) and (turn[0] != 0) != (turn[1] != 0)
]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "video.mkv"
    shown = f"testsrc2=size={SIZE[0]}x{SIZE[1]}:rate=10"
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", shown, "-frames:v", str(FRAMES)]
    subprocess.run([*program, "-c:v", "ffv1", "-pix_fmt", "yuv420p", str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def survey(video: Path) -> Survey:
    return survey_video(video)


def make_findings(*ranges: FrameRange) -> Findings:
    shape, shown = read_shape("yuv420p"), ranges or (FrameRange(0, FRAMES),)
    overlays = tuple(make_box_overlay(box, shape, SIZE, shown, "static", 0.7) for box in (FIRST, SECOND))
    return Findings(overlays, 0.7, "2 overlays")


def adjust(video: Path, survey: Survey, *ranges: FrameRange, **adjustments: object) -> Findings:
    return adjust_findings(video, survey, make_findings(*ranges), Adjustments(**adjustments))  # type: ignore[arg-type]


def test_nothing_changes_without_adjustments(video: Path, survey: Survey) -> None:
    findings = make_findings()
    assert adjust_findings(video, survey, findings, Adjustments()) == findings


def test_skipped_overlays_stay_in_the_video(video: Path, survey: Survey) -> None:
    findings = adjust(video, survey, skip=(Box(FIRST.x + 2, FIRST.y, FIRST.width, FIRST.height), Box(0, 60, 9, 9)))
    assert [overlay.box for overlay in findings.overlays] == [SECOND]
    assert findings.reason == "2 overlays; 1 of 2 skipped; no overlay to skip at 0,60,9x9"
    none = adjust(video, survey, skip=(FIRST, SECOND))
    assert (none.overlays, none.confidence) == ((), 0.7)


@pytest.mark.parametrize("box", [Box(8, 8, 10, 12), Box(0, 0, 96, 72), Box(20, 8, 24, 12)])
def test_overlay_with_less_than_half_in_common_is_not_skipped(video: Path, survey: Survey, box: Box) -> None:
    assert len(adjust(video, survey, skip=(box,)).overlays) == 2


def test_overlays_are_added(video: Path, survey: Survey) -> None:
    findings = adjust(video, survey, skip=(FIRST,), add=("40,20,10x8",))
    assert {overlay.box for overlay in findings.overlays} >= {SECOND, Box(40, 20, 10, 8)}
    assert {overlay.source for overlay in findings.overlays} == {"static", "mask"}
    assert findings.reason.endswith("1 added by --add")
    with pytest.raises(BadInput, match="leaves the frame"):
        adjust(video, survey, add=("90,20,10x8",))


def test_times_limit_all_overlays(video: Path, survey: Survey) -> None:
    findings = adjust(video, survey, add=("40,20,10x8",), times=((0.0, 0.5), (1.05, 1.3), (9.0, 10.0)))
    frames = [[frame for frame in range(FRAMES) if overlay.is_shown(frame)] for overlay in findings.overlays]
    assert len(frames) >= 3
    assert {frame for shown in frames for frame in shown} == {0, 1, 2, 3, 4, 11, 12}
    assert "only 0-0.5 s, 1.05-1.3 s, 9-10 s" in findings.reason


def test_overlays_outside_the_times_are_left_out(video: Path, survey: Survey) -> None:
    findings = adjust(video, survey, FrameRange(0, 3), FrameRange(8, 10), times=((0.2, 0.9),))
    assert [overlay.ranges for overlay in findings.overlays] == [(FrameRange(2, 3), FrameRange(8, 9))] * 2
    assert adjust(video, survey, FrameRange(0, 3), times=((1.0, 2.0),)).overlays == ()


def test_prepare_stage_reads_boxes_images_and_times(video: Path, tmp_path: Path) -> None:
    image = tmp_path / "mask.png"
    pixels = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    pixels[40:48, 60:70] = 255
    assert cv2.imwrite(str(image), pixels)
    params = PrepareParams(detector="mask", mask="4,4,8x8", add=("40,20,10x8",), added_images=1, times=("0-1",))
    (item,) = make_prepare_items([VideoSource("video", video.name, video)], (image,))
    work = Workspace(tmp_path / "outputs", tmp_path / "scratch", tmp_path)
    values = PrepareStage(params).run(item, work).values
    assert {"4,4,8x8", "40,20,10x8", "60,40,10x8"} <= set(values["boxes"])
    assert values["frames_with_overlay"] == 10
    assert "2 added by --add; only 0-1 s" in values["reason"]


@pytest.mark.parametrize("text", ["0-1", " 12.5 - 60 ", "0.04-0.08"])
def test_times_are_parsed(text: str) -> None:
    start, end = (float(word) for word in text.split("-"))
    assert parse_times(text) == (start, end)


@pytest.mark.parametrize(
    "text", ["", "banana", "5", "-5", "5-", "5-5", "6-5", "1-2-3", "nan-1", "1e3-2e3", "0:10-0:20"]
)
def test_invalid_times_are_problems(text: str) -> None:
    problem = parse_times(text)
    assert isinstance(problem, Problem)
    assert "START-END in seconds" in str(problem)


@pytest.mark.parametrize("turn", TURNS)
def test_boxes_turn_upright_and_back(turn: tuple[int, int, int, int]) -> None:
    assert len(TURNS) == 8
    boxes = np.array([[8, 8, 32, 20], [0, 0, 96, 72]], np.float32)
    shown = turn_upright(boxes, turn, *SIZE)
    np.testing.assert_array_equal(turn_back(shown, turn, *SIZE), boxes)
    width, height = SIZE if turn[0] else SIZE[::-1]
    np.testing.assert_array_equal(shown[1], [0, 0, width, height])


def test_shown_box_of_a_rotated_video_can_be_given_back(tmp_path: Path, video: Path) -> None:
    path = tmp_path / "rotated.mp4"
    coded, encoder = tmp_path / "coded.mp4", [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    subprocess.run([*encoder, "-i", str(video), "-c:v", "libx264", str(coded)], check=True)
    subprocess.run([*encoder, "-display_rotation", "90", "-i", str(coded), "-c", "copy", str(path)], check=True)
    rotated = survey_video(path)
    assert rotated.display_matrix
    findings = make_findings()
    shown = [find_shown_box(overlay, rotated) for overlay in findings.overlays]
    assert [(box.width, box.height) for box in shown] == [(12, 24), (16, 20)]
    for number, box in enumerate(shown):
        kept = adjust_findings(path, rotated, findings, Adjustments(skip=(box,))).overlays
        assert kept == (findings.overlays[1 - number],)
