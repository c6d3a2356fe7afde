"""Opacities, colors and strengths from frames with different backgrounds."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.media.segments.source import survey_video
from tasks.overlays.detection.fitting.blending import solve_blending
from tasks.overlays.detection.fitting.frame_ranges import STEP, split_by_strength
from tasks.overlays.detection.sampling import read_frames
from tasks.overlays.detection.static.detector import find_static
from tasks.overlays.overlay import FrameRange


def test_blending_separates_opacity_color_and_strength():
    random = np.random.default_rng(5)
    pixels, frames = 900, 40
    alpha = random.uniform(0.2, 0.7, pixels).astype(np.float32)
    color = np.where(np.arange(pixels) % 3 == 0, 20, 230).astype(np.float32)  # a text and its rim
    strength = np.ones(frames, np.float32)
    strength[:4], strength[-8:] = (0.0, 0.3, 0.6, 0.9), 1.15
    beneath = random.uniform(16, 220, (frames, 1)) + random.normal(0, 15, (frames, pixels))
    seen = beneath + strength[:, None] * alpha * (color - beneath) + random.normal(0, 1, (frames, pixels))
    guess = (beneath + random.normal(0, 3, beneath.shape)).astype(np.float32)
    doubt = np.full((frames, pixels), 10, np.float32)
    expected = np.full(pixels, 0.4, np.float32)
    blending = solve_blending(
        seen[None].astype(np.float32), guess[None], doubt, np.ones(frames, np.float32), expected, np.ones(frames)
    )
    assert np.abs(blending.alpha - alpha).mean() < 0.02
    assert np.abs(blending.premultiplied[0] / blending.alpha - color).mean() < 6
    assert np.abs(blending.strength[4:] - strength[4:]).max() < 0.04
    assert blending.strength[0] < 0.02
    assert blending.fades
    assert blending.error < 0.05


def test_opacity_over_a_constant_background_is_uncertain():
    """A constant background is uninformative about the opacity."""
    random = np.random.default_rng(6)
    beneath = np.full((1, 20, 400), 90, np.float32)
    seen = (beneath + 0.5 * (220 - beneath) + random.normal(0, 1, beneath.shape)).astype(np.float32)
    expected, ones = np.full(400, 0.5, np.float32), np.ones(20, np.float32)
    blending = solve_blending(seen, beneath, np.full((20, 400), 5, np.float32), ones, expected, ones)
    assert blending.error > 0.2


def test_ranges_follow_the_strength():
    ranges_by_strength = split_by_strength({0: 0.0, 9: 0.0, 10: 1.0, 20: 1.0, 24: 0.88, 30: 0.88}, 31)
    assert ranges_by_strength[25 * STEP][0] == FrameRange(10, 21)
    assert ranges_by_strength[22 * STEP][0].end_frame == 31
    assert sum(part.end_frame - part.start_frame for ranges in ranges_by_strength.values() for part in ranges) == 21


@pytest.fixture(scope="module")
def marked_clip(large_data):
    path = large_data / "watermark" / "psd_testvideo.mp4"
    survey = survey_video(path)
    return path, survey, find_static(path, survey)


def test_removal_leaves_no_outline_of_the_text(marked_clip):
    """The residual outline in frames that were not sampled: it was 80 codes strong."""
    path, surveyed, findings = marked_clip
    widest = max(overlay.box.width for overlay in findings.overlays)
    text = [overlay for overlay in findings.overlays if overlay.box.width == widest]
    box, left, before = text[0].box, [], []
    for index, planes in read_frames(path, surveyed, [101, 301, 401, 601]):
        (overlay,) = [overlay for overlay in text if overlay.is_shown(index)]
        layer, seen = overlay.layers[0], planes[0][box.y : box.bottom, box.x : box.right].astype(np.float32)
        mark = np.where(layer.mask, layer.alpha * (layer.color - 16) / 100, 0)
        plain = np.where(layer.mask, (seen - layer.alpha * layer.color) / (1 - layer.alpha), seen)
        left.append(abs(_measure_gradients_along(plain, mark)))
        before.append(abs(_measure_gradients_along(seen, mark)))
    assert min(before) > 40
    assert max(left) < 12
    assert float(np.mean(left)) < 6


def test_overlay_of_the_marked_clip_fades(marked_clip):
    _, surveyed, findings = marked_clip
    starts = min(overlay.ranges[0].start_frame for overlay in findings.overlays)
    ends = max(overlay.ranges[-1].end_frame for overlay in findings.overlays)
    assert 0 < starts < 10
    assert len(surveyed.timeline) - 10 < ends < len(surveyed.timeline)


def _measure_gradients_along(picture, mark):
    """Return the correlation of the image's gradients with those of ``mark``."""
    pairs = [(np.diff(picture, axis=axis), np.diff(mark, axis=axis)) for axis in (0, 1)]
    return sum((image * gradient).sum() for image, gradient in pairs) / sum(
        (gradient * gradient).sum() for _, gradient in pairs
    )
