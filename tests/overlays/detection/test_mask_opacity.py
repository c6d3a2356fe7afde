"""Opacity and colour under masks that the user gave, on real clips whose overlay is known."""

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


def error_of(marked: Marked, overlays: list[Overlay], view: View, clean: Crops) -> float:
    """Root mean square of what is left in luma under the mask, in codes."""
    apart = remove(marked.lossy, overlays, view)[0].astype(float) - clean[0]
    return float(np.sqrt((apart[view.masks[0]] ** 2).mean()))


def test_what_shines_through_is_recovered(marked_clip: MarkClip) -> None:
    """Filled in alone, a translucent logo over changing scenes costs twice as much."""
    marked = marked_clip("bikes", "logo", 0.5, 120)
    (found,) = fit_masks(marked.lossy, marked.overlays)
    true, mine = marked.overlays[0].layers[0], found.layers[0]
    top, left = found.box.y - marked.overlays[0].box.y, found.box.x - marked.overlays[0].box.x
    part = np.s_[top : top + found.box.height, left : left + found.box.width]
    assert np.array_equal(mine.mask, true.mask[part])
    assert float(np.abs(mine.alpha - true.alpha[part])[mine.mask].mean()) < 0.05
    view = make_view(marked, 6)
    clean = read_crops(marked.clean, view)
    filled = error_of(marked, [forget_opacity(marked.overlays[0])], view, clean)
    assert error_of(marked, [found], view, clean) < 0.6 * filled


def test_black_beneath_is_filled_in(shared_data: Path, tmp_path: Path) -> None:
    """What hardly changes says little of opacity, and is filled in without a trace: a guess would show."""
    mark = Mark("logo", 2, "top right")
    marked = mark_clip(get_clip("nasa"), mark, 0.5, 200, tmp_path, shared_data / "video")
    (found,) = fit_masks(marked.lossy, marked.overlays)
    assert not found.is_known


@pytest.mark.parametrize(
    ("clip", "box"), [("mpy_chaplin.mp4", Box(200, 100, 60, 24)), ("mpy_fire2.mp4", Box(100, 100, 40, 24))]
)
def test_the_scene_is_not_taken_for_an_overlay(clip: str, box: Box, shared_data: Path) -> None:
    """What lasts in the box that the user gave lasts beside it as well: it is filled in, not seen through."""
    path = shared_data / "video" / clip
    found = survey_video(path)
    given = place_mask(box, found, path.name)
    assert isinstance(given, Overlay)
    assert fit_opacity(path, found, given) == (given,)


def test_frames_in_which_it_is_not_seen_are_filled_in(marked_clip: MarkClip, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it is there is the user's word; that it is not would be a guess."""
    marked = marked_clip("bikes", "logo", 0.5, 120)
    given = forget_opacity(marked.overlays[0])
    monkeypatch.setattr(layers, "find_ranges", lambda *_: {1.0: (FrameRange(10, 50), FrameRange(70, 120))})
    seen, rest = fit_opacity(marked.lossy, survey_video(marked.lossy), given)
    assert seen.is_known
    assert not rest.is_known
    assert rest.ranges == (FrameRange(0, 10), FrameRange(50, 70))


def test_other_times_are_not_looked_at(marked_clip: MarkClip) -> None:
    marked = marked_clip("bikes", "logo", 0.5, 120)
    given = replace(forget_opacity(marked.overlays[0]), ranges=(FrameRange(20, 100),))
    (found,) = fit_opacity(marked.lossy, survey_video(marked.lossy), given)
    assert found.ranges == given.ranges
    assert found.is_known


def test_two_frames_say_too_little(marked_clip: MarkClip) -> None:
    marked = marked_clip("bikes", "logo", 0.5, 120)
    given = replace(forget_opacity(marked.overlays[0]), ranges=(FrameRange(20, 22),))
    assert fit_opacity(marked.lossy, survey_video(marked.lossy), given) == (given,)


def test_large_masks_are_only_filled_in(marked_clip: MarkClip, monkeypatch: pytest.MonkeyPatch) -> None:
    marked = marked_clip("bikes", "logo", 0.5, 120)
    given = forget_opacity(marked.overlays[0])
    monkeypatch.setattr(opacity, "MAX_PIXELS", 100)
    assert fit_opacity(marked.lossy, survey_video(marked.lossy), given) == (given,)


def test_doubts_are_kept_on_disk(marked_clip: MarkClip, tmp_path: Path) -> None:
    marked = marked_clip("bikes", "logo", 0.5, 120)
    overlays = [*fit_masks(marked.lossy, marked.overlays), *marked.overlays]
    save_overlays(overlays, tmp_path / "overlays.npz")
    first, second = load_overlays(tmp_path / "overlays.npz")
    doubt = first.layers[0].doubt
    assert doubt is not None
    assert np.array_equal(doubt, overlays[0].layers[0].doubt)
    assert second.layers[0].doubt is None
