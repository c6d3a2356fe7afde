"""The ground truth for removal: overlays on real clips, scores, and baselines."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.overlay_truth.baselines import BASELINES, run_baseline
from benchmarks.overlay_truth.clips import get_clip
from benchmarks.overlay_truth.crops import Crops, View, draw_masks, make_view, read_crops
from benchmarks.overlay_truth.drawing import KINDS, Canvas, Kind, Mark, draw
from benchmarks.overlay_truth.marks import Marked, convert_colors, make_overlay, mark_clip, read_frames
from benchmarks.overlay_truth.scores import compute_iou, convert_to_decibels, score
from tasks.media.segments.picture import FULL_RANGE, PictureFormat
from tasks.overlays.boxes import Box
from tasks.overlays.components import read_shape
from tests.overlays.conftest import MarkClip

PICTURE = PictureFormat(640, 360, "yuv420p", matrix=1, color_range=1)


@pytest.mark.parametrize(("clip", "kind"), [("city", "stamp"), ("nasa10", "subtitles")])
def test_marked_clip_differs_from_clean_one_only_by_the_overlay(marked_clip: MarkClip, clip: str, kind: Kind) -> None:
    """720x405 in 8 bits, where the last line is unpaired, and 10 bits."""
    marked = marked_clip(clip, kind, 0.5, 16)
    box = Box(0, 0, marked.picture.width_px, marked.picture.height_px)
    masks = draw_masks(marked.overlays, marked.shape, box, marked.frames)
    before, after = read_crops(marked.clean, View(marked, box)), read_crops(marked.marked, View(marked, box))
    assert masks[0].any()
    for component, mask in enumerate(masks):
        assert np.array_equal(before[component][~mask], after[component][~mask])
    for overlay in marked.overlays:
        for component, layer in enumerate(overlay.layers):
            part = (overlay.ranges[0].start_frame, *marked.shape.get_part(overlay.box, component))
            expected = (1 - layer.alpha) * before[component][part] + layer.alpha * layer.color
            assert np.abs(after[component][part] - expected)[layer.mask].max() <= 0.5 + 1e-3


def test_lossy_clip_is_close_to_lossless_one(marked_clip: MarkClip) -> None:
    for clip in ("bikes", "city"):
        marked = marked_clip(clip, "logo", 0.5, 10)
        for lossless, lossy in zip(read_frames(marked.marked), read_frames(marked.lossy), strict=True):
            error = float(np.mean((lossless[0].astype(float) - lossy[0]) ** 2))
            assert error > 0
            assert convert_to_decibels(error, 255) > 34


@pytest.mark.parametrize("kind", KINDS)
def test_drawing_depends_only_on_the_seed(kind: Kind) -> None:
    room = Canvas(640, 360, 120, 25)
    first, again, other = (draw(Mark(kind, seed), room) for seed in (1, 1, 2))
    assert all(
        np.array_equal(sprite.coverage, repeated.coverage) for sprite, repeated in zip(first, again, strict=True)
    )
    assert [sprite.coverage.sum() for sprite in first] != [sprite.coverage.sum() for sprite in other]


@pytest.mark.parametrize("kind", KINDS)
def test_drawings_have_opaque_cores_and_soft_edges_within_the_frame(kind: Kind) -> None:
    room = Canvas(640, 360, 120, 25)
    for sprite in draw(Mark(kind, 3), room):
        height, width = sprite.coverage.shape
        assert sprite.coverage.max() > 0.95
        assert ((sprite.coverage > 0.1) & (sprite.coverage < 0.9)).any()
        assert sprite.left >= 0
        assert sprite.left + width <= room.width_px
        assert sprite.top + height <= room.height_px
        assert (sprite.left % 2, sprite.top % 2, width % 2, height % 2) == (0, 0, 0, 0)


def test_overlays_never_share_a_sample() -> None:
    shape, room = read_shape("yuv420p"), Canvas(640, 360, 60, 25)
    overlays = [make_overlay(sprite, 0.5, PICTURE, shape) for sprite in draw(Mark("stamp", 5), room)]
    whole = Box(0, 0, 640, 360)
    for component in range(3):
        each = [draw_masks([overlay], shape, whole, 60)[component].astype(int) for overlay in overlays]
        assert sum(each[1:], each[0]).max() == 1


def test_date_stamp_counts_seconds_next_to_constant_text() -> None:
    date, *seconds = draw(Mark("stamp", 5), Canvas(640, 360, 60, 25))
    assert [(part.start_frame, part.end_frame) for second in seconds for part in second.ranges] == [
        (0, 25),
        (25, 50),
        (50, 60),
    ]
    assert [(part.start_frame, part.end_frame) for part in date.ranges] == [(0, 60)]
    assert all(not np.array_equal(second.coverage, next_second.coverage) for second, next_second in pairwise(seconds))


def test_subtitles_appear_and_disappear() -> None:
    ranges = [sprite.ranges[0] for sprite in draw(Mark("subtitles"), Canvas(640, 360, 200, 25))]
    assert len(ranges) >= 3
    assert ranges[0].start_frame > 0
    assert all(line.end_frame < next_line.start_frame for line, next_line in pairwise(ranges))


def test_chroma_opacity_is_the_mean_of_its_pixels() -> None:
    (logo,) = draw(Mark("logo"), Canvas(640, 360, 10, 25))
    luma, blue, _ = make_overlay(logo, 0.5, PICTURE, read_shape("yuv420p")).layers
    height, width = luma.alpha.shape
    means = luma.alpha.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    assert np.allclose(blue.alpha, means, atol=1e-6)
    assert np.array_equal(blue.mask, means > 0)
    assert luma.alpha.max() == pytest.approx(0.5, abs=0.01)
    assert np.isfinite(luma.color[luma.mask]).all()


def test_colors_are_converted_to_codes_of_the_clip() -> None:
    """Red in BT.709 by definition; also in full range, 10 bits and RGB."""
    red = np.array([[[1.0, 0.0, 0.0]]], np.float32)

    def codes(picture: PictureFormat) -> list[int]:
        colors = convert_colors(red, picture, read_shape(picture.pixel_format))
        return [round(float(color[0, 0])) for color in colors]

    assert codes(PICTURE) == [63, 102, 240]
    assert codes(replace(PICTURE, color_range=FULL_RANGE)) == [54, 99, 256]
    assert codes(replace(PICTURE, matrix=6)) == [81, 90, 240]
    assert codes(replace(PICTURE, pixel_format="yuv420p10le")) == [250, 409, 960]
    assert codes(replace(PICTURE, pixel_format="gbrp")) == [0, 0, 255]
    assert codes(replace(PICTURE, pixel_format="gray")) == [63]


def test_invalid_opacity_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"above 0 and at most 1, not 1\.5"):
        mark_clip(get_clip("bikes"), Mark("logo"), 1.5, 5, tmp_path)


def test_masks_are_clipped_to_the_view(opaque_logo: Marked) -> None:
    (logo,) = opaque_logo.overlays
    narrow = Box(logo.box.x + 4, logo.box.y + 2, 8, 6)
    luma, blue, _ = draw_masks(opaque_logo.overlays, opaque_logo.shape, narrow, 2)
    assert np.array_equal(luma[1], logo.layers[0].mask[2:8, 4:12])
    assert np.array_equal(blue[1], logo.layers[1].mask[1:4, 2:6])


def _make_view(marked: Marked) -> tuple[View, Crops, Crops]:
    view = make_view(marked)
    return view, read_crops(marked.clean, view), read_crops(marked.marked, view)


def test_clean_clip_has_no_error(opaque_logo: Marked) -> None:
    view, clean, source = _make_view(opaque_logo)
    scores = score(clean, source, clean, view)
    assert (scores.psnr, scores.flicker, scores.changed) == (100.0, 0.0, 0)
    assert scores.ssim == pytest.approx(1.0)
    untouched = score(source, source, clean, view)
    assert untouched.psnr < 25
    assert untouched.ssim < 0.8


def test_errors_are_weighted_by_component(opaque_logo: Marked) -> None:
    """A luma error of 2 codes counts 6/8 of its square; intermittent errors flicker, constant ones do not."""
    view, clean, source = _make_view(opaque_logo)
    luma = clean[0].astype(int)
    shifted = (luma + np.where(luma < 128, 2, -2)).astype(np.uint8)
    steady = score((shifted, *clean[1:]), source, clean, view)
    assert steady.psnr == pytest.approx(convert_to_decibels(3.0, 255))
    blinking = clean[0].copy()
    blinking[::2] = shifted[::2]
    assert score((blinking, *clean[1:]), source, clean, view).flicker == pytest.approx(2.0)


def test_changed_samples_outside_the_mask_are_counted(opaque_logo: Marked) -> None:
    view, clean, source = _make_view(opaque_logo)
    touched = clean[1].copy()
    touched[3, 0, :5] ^= 1
    assert score((clean[0], touched, clean[2]), source, clean, view).changed == 5


def test_compute_iou() -> None:
    one, two = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    assert compute_iou(one, two) == 1.0
    one[0, :2], two[0, 1:] = True, True
    assert compute_iou(one, two) == pytest.approx(4 / 16)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_remove_a_logo(opaque_logo: Marked, tmp_path: Path, name: str) -> None:
    view, clean, source = _make_view(opaque_logo)
    cleaned = run_baseline(name, opaque_logo.marked, source, view, tmp_path)
    before, after = score(source, source, clean, view), score(cleaned, source, clean, view)
    assert after.psnr > before.psnr + 5
    assert after.ssim > before.ssim
    if name == "Telea":  # the others also change samples around the mask
        assert after.changed == 0


def test_baselines_remove_subtitles_only_while_they_show(marked_clip: MarkClip, tmp_path: Path) -> None:
    """Frames before the first line are unchanged; those under it are not."""
    marked = marked_clip("bikes", "subtitles", 1.0, 16)
    view, clean, source = _make_view(marked)
    start = marked.overlays[0].ranges[0].start_frame
    for name in BASELINES:
        cleaned = run_baseline(name, marked.marked, source, view, tmp_path)
        assert np.array_equal(cleaned[0][:start], clean[0][:start])
        assert score(cleaned, source, clean, view).psnr > score(source, source, clean, view).psnr


def test_view_of_middle_frames_matches_the_whole_clip(opaque_logo: Marked, tmp_path: Path) -> None:
    view, _, source = _make_view(opaque_logo)
    few = make_view(opaque_logo, 4)
    assert [component.shape[0] for component in read_crops(opaque_logo.clean, few)] == [4, 4, 4]
    for name in BASELINES:
        of_all = run_baseline(name, opaque_logo.marked, source, view, tmp_path)
        cleaned = run_baseline(name, opaque_logo.marked, read_crops(opaque_logo.marked, few), few, tmp_path)
        assert all(np.array_equal(frame, all_of[4:8]) for frame, all_of in zip(cleaned, of_all, strict=True))
