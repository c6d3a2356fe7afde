"""How near opacities and times of what is found are to the true ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.overlay_truth.cases import list_cases
from benchmarks.overlay_truth.clips import CLIPS
from benchmarks.overlay_truth.judging import count_wrong_frames, measure_opacity_error
from tasks.overlays.boxes import Box
from tasks.overlays.overlay import FrameRange, Layer, Overlay


def block(x: int, alpha: float, start_frame: int, end_frame: int) -> Overlay:
    """4 by 2 samples of that opacity, from column ``x`` on."""
    full = np.ones((2, 4), np.float32)
    layer = Layer(full > 0, np.float32(alpha) * full, 200 * full)
    return Overlay(Box(x, 6, 4, 2), (layer,), (FrameRange(start_frame, end_frame),), "static", 1.0)


def test_opacities_are_compared_where_and_while_both_show() -> None:
    """Two of four columns, 10 of 20 frames at a distance of 0.2, and 30 frames at one of 0.1."""
    true = [block(10, 0.5, 0, 20), block(40, 0.5, 0, 30)]
    found = [block(12, 0.7, 10, 60), block(40, 0.4, 0, 30)]
    expected = (4 * 10 * 0.2 + 8 * 30 * 0.1) / (4 * 10 + 8 * 30)
    assert measure_opacity_error(found, true) == pytest.approx(expected)


def test_samples_of_unknown_opacity_do_not_count() -> None:
    found = block(10, 0.7, 0, 20)
    alpha = found.layers[0].alpha.copy()
    alpha[0] = np.nan
    half = replace(found, layers=(replace(found.layers[0], alpha=alpha),))
    assert measure_opacity_error([half], [block(10, 0.5, 0, 20)]) == pytest.approx(0.2)
    alpha[:] = np.nan
    assert measure_opacity_error([half], [block(10, 0.5, 0, 20)]) is None


@pytest.mark.parametrize("elsewhere", [block(14, 0.7, 0, 20), block(10, 0.7, 20, 40)])
def test_what_lies_elsewhere_says_nothing_of_opacity(elsewhere: Overlay) -> None:
    assert measure_opacity_error([elsewhere], [block(10, 0.5, 0, 20)]) is None


def test_frames_are_wrong_where_either_shows_alone() -> None:
    true = [block(10, 0.5, 5, 20), block(10, 0.5, 30, 40)]
    assert count_wrong_frames([block(10, 0.5, 8, 34)], true, 50) == 3 + 10 + 6
    assert count_wrong_frames([], true, 50) == 25
    assert count_wrong_frames(true, true, 50) == 0


def test_what_is_put_on_a_clip_does_not_depend_on_the_others() -> None:
    of_all = [case for case in list_cases(CLIPS, ("logo",), (0.5,), ("lossless",)) if case.clip == CLIPS[3]]
    assert list(list_cases(CLIPS[3:4], ("logo",), (0.5,), ("lossless",))) == of_all
