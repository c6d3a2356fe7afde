"""Date stamps over a real clip: all letters are detected, and each second in its frames."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from benchmarks.overlay_truth.cases import compute_detection_iou
from benchmarks.overlay_truth.clips import get_clip
from benchmarks.overlay_truth.drawing import Mark
from benchmarks.overlay_truth.marks import mark_clip
from tasks.media.segments.source import survey_video
from tasks.overlays.boxes import Box
from tasks.overlays.detection.date_stamps import stamps
from tasks.overlays.detection.date_stamps.changes import ChangeFinder
from tasks.overlays.detection.date_stamps.rows import Ink, TextRow
from tasks.overlays.detection.static.detector import find_static
from tasks.overlays.overlay import FrameRange

FRAMES = 200
SECONDS = [FrameRange(start, min(FRAMES, start + 30)) for start in range(0, FRAMES, 30)]


@pytest.fixture(scope="module")
def stamped(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stamped")
    mark = Mark("stamp", 2, "top right")
    return mark_clip(get_clip("nasa"), mark, 0.5, FRAMES, folder, shared_data / "video")


def test_each_second_is_a_separate_overlay(stamped):
    """The date lies over a nearly constant scene, and the seconds change."""
    findings = find_static(stamped.lossy, survey_video(stamped.lossy))
    assert compute_detection_iou(findings, stamped) >= 0.8
    assert min(overlay.box.x for overlay in findings.overlays) <= stamped.overlays[0].box.x + 4
    seconds = [overlay for overlay in findings.overlays if overlay.ranges != (FrameRange(0, FRAMES),)]
    # In letters of 13 rows an 8 and the 9 that comes after it may be the same.
    assert [overlay.ranges for overlay in seconds][-5:] == [(shown,) for shown in SECONDS[-5:]]


def test_seconds_of_a_long_video_share_one_mask(stamped, monkeypatch):
    monkeypatch.setattr(stamps, "MAX_SECONDS", 1.0)
    findings = find_static(stamped.lossy, survey_video(stamped.lossy))
    assert {overlay.ranges for overlay in findings.overlays} == {(FrameRange(0, FRAMES),)}
    unknown = [overlay for overlay in findings.overlays if not overlay.is_known]
    whole = [page for page in map(functools.partial(draw_page, stamped), unknown) if is_covering_seconds(stamped, page)]
    assert len(whole) == 1


def draw_page(stamped, overlay):
    """Return the luma mask of the overlay: bool, height x width of the frame."""
    page = np.zeros((stamped.picture.height_px, stamped.picture.width_px), bool)
    page[overlay.box.y : overlay.box.bottom, overlay.box.x : overlay.box.right] = overlay.layers[0].mask
    return page


def is_covering_seconds(stamped, page):
    """Return True if it covers nearly all of all digits."""
    return all(
        page[true.box.y : true.box.bottom, true.box.x : true.box.right][true.layers[0].alpha > 0.25].mean() > 0.9
        for true in stamped.overlays[1:]
    )


def test_changed_letters_count_and_moving_scenes_do_not():
    row = TextRow(Box(0, 4, 90, 12), np.array([235], np.float32), 0.5, ())
    finder, changes = ChangeFinder(row, 5), []
    for frame in range(40):
        alpha = np.zeros((20, 90), np.float32)
        alpha[5:15, 4 + 3 * (frame >= 17) : 8 + 3 * (frame >= 17)] = 0.5
        alpha[5:15, 40:] = 0.5 * ((np.arange(50) + frame) // 5 % 2)
        square = np.full(alpha.shape, 1e4, np.float32)
        change = finder.push(frame, Ink(alpha * square, square, alpha**2 * square))
        changes += [] if change is None else [change]
    changes += finder.flush()
    assert [change.frame for change in changes] == list(range(5, 36))
    assert [change.frame for change in changes if change.clear[:15].any()] == [17]
    assert not any(change.clear[50:80].any() for change in changes)
