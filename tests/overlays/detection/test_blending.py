"""Opacities, colours and strengths of blended pixels, out of frames in which different things lie beneath them."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.media.segments.source import survey_video
from tasks.overlays.detection.fitting.blending import solve_blending
from tasks.overlays.detection.fitting.frame_ranges import STEP, split_by_strength
from tasks.overlays.detection.sampling import read_frames
from tasks.overlays.detection.static.detector import find_static
from tasks.overlays.overlay import FrameRange


def test_fading_overlay_is_taken_apart():
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
    found = solve_blending(
        seen[None].astype(np.float32), guess[None], doubt, np.ones(frames, np.float32), expected, np.ones(frames)
    )
    assert np.abs(found.alpha - alpha).mean() < 0.02
    assert np.abs(found.premultiplied[0] / found.alpha - color).mean() < 6
    assert np.abs(found.strength[4:] - strength[4:]).max() < 0.04
    assert found.strength[0] < 0.02
    assert found.fades
    assert found.error < 0.05


def test_opacity_over_one_picture_is_uncertain():
    """What never changes beneath an overlay says nothing of how much of it shows through."""
    random = np.random.default_rng(6)
    beneath = np.full((1, 20, 400), 90, np.float32)
    seen = (beneath + 0.5 * (220 - beneath) + random.normal(0, 1, beneath.shape)).astype(np.float32)
    expected, ones = np.full(400, 0.5, np.float32), np.ones(20, np.float32)
    found = solve_blending(seen, beneath, np.full((20, 400), 5, np.float32), ones, expected, ones)
    assert found.error > 0.2


def test_pieces_follow_the_strength():
    found = split_by_strength({0: 0.0, 9: 0.0, 10: 1.0, 20: 1.0, 24: 0.88, 30: 0.88}, 31)
    assert found[25 * STEP][0] == FrameRange(10, 21)
    assert found[22 * STEP][0].end_frame == 31
    assert sum(one.end_frame - one.start_frame for ranges in found.values() for one in ranges) == 21


@pytest.fixture(scope="module")
def marked_clip(shared_data):
    path = shared_data / "watermark" / "psd_testvideo.mp4"
    found = survey_video(path)
    return path, found, find_static(path, found)


def test_marked_clip_is_left_without_edges_of_its_text(marked_clip):
    """What remains of the text's outline in frames that were not sampled: it was 80 codes strong."""
    path, surveyed, found = marked_clip
    widest = max(one.box.width for one in found.overlays)
    text = [one for one in found.overlays if one.box.width == widest]
    box, left, before = text[0].box, [], []
    for index, planes in read_frames(path, surveyed, [101, 301, 401, 601]):
        (one,) = [one for one in text if one.is_shown(index)]
        layer, seen = one.layers[0], planes[0][box.y : box.bottom, box.x : box.right].astype(np.float32)
        mark = np.where(layer.mask, layer.alpha * (layer.color - 16) / 100, 0)
        plain = np.where(layer.mask, (seen - layer.alpha * layer.color) / (1 - layer.alpha), seen)
        left.append(abs(_along(plain, mark)))
        before.append(abs(_along(seen, mark)))
    assert min(before) > 40
    assert max(left) < 12
    assert float(np.mean(left)) < 6


def test_marked_clip_fades(marked_clip):
    _, surveyed, found = marked_clip
    starts = min(one.ranges[0].start_frame for one in found.overlays)
    ends = max(one.ranges[-1].end_frame for one in found.overlays)
    assert 0 < starts < 10
    assert len(surveyed.timeline) - 10 < ends < len(surveyed.timeline)


def _along(picture, mark):
    """By how much the picture's gradients follow_boxes those of ``mark``."""
    pairs = [(np.diff(picture, axis=axis), np.diff(mark, axis=axis)) for axis in (0, 1)]
    return sum((one * other).sum() for one, other in pairs) / sum((other * other).sum() for _, other in pairs)
