"""Opacity and color under user masks, on real clips with exact ground truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.overlay_truth.clips import get_clip
from benchmarks.overlay_truth.crops import Crops, View, make_view, read_crops
from benchmarks.overlay_truth.drawing import Mark
from benchmarks.overlay_truth.marks import Marked, mark_clip
from benchmarks.overlay_truth.ours import fit_masks, forget_opacity, remove
from tasks.media.segments.source import survey_video
from tasks.overlays.boxes import Box
from tasks.overlays.detection.fitting import layers
from tasks.overlays.detection.mask import opacity
from tasks.overlays.detection.mask.opacity import fit_opacity
from tasks.overlays.detection.mask.parsing import place_mask
from tasks.overlays.overlay import FrameRange, Overlay, load_overlays, save_overlays

MarkClip = Callable[..., Marked]


def measure_error(marked: Marked, overlays: list[Overlay], view: View, clean: Crops) -> float:
    """Return the RMS error of luma under the mask, in codes."""
    apart = remove(marked.lossy, overlays, view)[0].astype(float) - clean[0]
    return float(np.sqrt((apart[view.masks[0]] ** 2).mean()))


def test_background_of_translucent_overlay_is_recovered(marked_clip: MarkClip) -> None:
    """Filling in a translucent logo over changing scenes has twice the error."""
    marked = marked_clip("bikes", "logo", 0.5, 120)
    (fitted,) = fit_masks(marked.lossy, marked.overlays)
    true, mine = marked.overlays[0].layers[0], fitted.layers[0]
    top, left = fitted.box.y - marked.overlays[0].box.y, fitted.box.x - marked.overlays[0].box.x
    part = np.s_[top : top + fitted.box.height, left : left + fitted.box.width]
    assert np.array_equal(mine.mask, true.mask[part])
    assert float(np.abs(mine.alpha - true.alpha[part])[mine.mask].mean()) < 0.05
    view = make_view(marked, 6)
    clean = read_crops(marked.clean, view)
    filled = measure_error(marked, [forget_opacity(marked.overlays[0])], view, clean)
    assert measure_error(marked, [fitted], view, clean) < 0.6 * filled


def test_constant_background_is_filled_in(shared_data: Path, tmp_path: Path) -> None:
    """A constant background is uninformative; a guess would be visible."""
    mark = Mark("logo", 2, "top right")
    marked = mark_clip(get_clip("nasa"), mark, 0.5, 200, tmp_path, shared_data / "video")
    (fitted,) = fit_masks(marked.lossy, marked.overlays)
    assert not fitted.is_known


@pytest.mark.parametrize(
    ("clip", "box"), [("mpy_chaplin.mp4", Box(200, 100, 60, 24)), ("mpy_fire2.mp4", Box(100, 100, 40, 24))]
)
def test_still_scene_in_the_mask_has_unknown_opacity(clip: str, box: Box, shared_data: Path) -> None:
    """Edges that stay in the user's box also stay around it: the box is filled in."""
    path = shared_data / "video" / clip
    survey = survey_video(path)
    given = place_mask(box, survey, path.name)
    assert isinstance(given, Overlay)
    assert fit_opacity(path, survey, given) == (given,)


def test_frames_without_visible_overlay_are_filled_in(marked_clip: MarkClip, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user states that the overlay is there."""
    marked = marked_clip("bikes", "logo", 0.5, 120)
    given = forget_opacity(marked.overlays[0])
    monkeypatch.setattr(layers, "find_ranges", lambda *_: {1.0: (FrameRange(10, 50), FrameRange(70, 120))})
    seen, rest = fit_opacity(marked.lossy, survey_video(marked.lossy), given)
    assert seen.is_known
    assert not rest.is_known
    assert rest.ranges == (FrameRange(0, 10), FrameRange(50, 70))


def test_only_the_given_frames_are_sampled(marked_clip: MarkClip) -> None:
    marked = marked_clip("bikes", "logo", 0.5, 120)
    given = replace(forget_opacity(marked.overlays[0]), ranges=(FrameRange(20, 100),))
    (fitted,) = fit_opacity(marked.lossy, survey_video(marked.lossy), given)
    assert fitted.ranges == given.ranges
    assert fitted.is_known


def test_two_frames_are_too_few_for_an_opacity(marked_clip: MarkClip) -> None:
    marked = marked_clip("bikes", "logo", 0.5, 120)
    given = replace(forget_opacity(marked.overlays[0]), ranges=(FrameRange(20, 22),))
    assert fit_opacity(marked.lossy, survey_video(marked.lossy), given) == (given,)


def test_large_masks_are_only_filled_in(marked_clip: MarkClip, monkeypatch: pytest.MonkeyPatch) -> None:
    marked = marked_clip("bikes", "logo", 0.5, 120)
    given = forget_opacity(marked.overlays[0])
    monkeypatch.setattr(opacity, "MAX_PIXELS", 100)
    assert fit_opacity(marked.lossy, survey_video(marked.lossy), given) == (given,)


def test_error_variances_are_saved(marked_clip: MarkClip, tmp_path: Path) -> None:
    marked = marked_clip("bikes", "logo", 0.5, 120)
    overlays = [*fit_masks(marked.lossy, marked.overlays), *marked.overlays]
    save_overlays(overlays, tmp_path / "overlays.npz")
    first, second = load_overlays(tmp_path / "overlays.npz")
    doubt = first.layers[0].doubt
    assert doubt is not None
    assert np.array_equal(doubt, overlays[0].layers[0].doubt)
    assert second.layers[0].doubt is None
