"""Errors of opacities and frames of detected overlays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.overlay_truth.cases import list_cases
from benchmarks.overlay_truth.clips import CLIPS
from benchmarks.overlay_truth.judging import count_wrong_frames, measure_opacity_error
from tasks.overlays.boxes import Box
from tasks.overlays.overlay import FrameRange, Layer, Overlay


def make_block(x: int, alpha: float, start_frame: int, end_frame: int) -> Overlay:
    """Return 4 x 2 samples of that opacity, from column ``x``."""
    full = np.ones((2, 4), np.float32)
    layer = Layer(full > 0, np.float32(alpha) * full, 200 * full)
    return Overlay(Box(x, 6, 4, 2), (layer,), (FrameRange(start_frame, end_frame),), "static", 1.0)


def test_opacity_error_counts_common_samples_and_frames() -> None:
    """Two of four columns: 10 of 20 frames with an error of 0.2, and 30 frames with 0.1."""
    true = [make_block(10, 0.5, 0, 20), make_block(40, 0.5, 0, 30)]
    detected = [make_block(12, 0.7, 10, 60), make_block(40, 0.4, 0, 30)]
    expected = (4 * 10 * 0.2 + 8 * 30 * 0.1) / (4 * 10 + 8 * 30)
    assert measure_opacity_error(detected, true) == pytest.approx(expected)


def test_opacity_error_ignores_unknown_opacities() -> None:
    detected = make_block(10, 0.7, 0, 20)
    alpha = detected.layers[0].alpha.copy()
    alpha[0] = np.nan
    half = replace(detected, layers=(replace(detected.layers[0], alpha=alpha),))
    assert measure_opacity_error([half], [make_block(10, 0.5, 0, 20)]) == pytest.approx(0.2)
    alpha[:] = np.nan
    assert measure_opacity_error([half], [make_block(10, 0.5, 0, 20)]) is None


@pytest.mark.parametrize("elsewhere", [make_block(14, 0.7, 0, 20), make_block(10, 0.7, 20, 40)])
def test_opacity_error_is_none_without_common_samples(elsewhere: Overlay) -> None:
    assert measure_opacity_error([elsewhere], [make_block(10, 0.5, 0, 20)]) is None


def test_frames_with_only_one_of_both_overlays_are_wrong() -> None:
    true = [make_block(10, 0.5, 5, 20), make_block(10, 0.5, 30, 40)]
    assert count_wrong_frames([make_block(10, 0.5, 8, 34)], true, 50) == 3 + 10 + 6
    assert count_wrong_frames([], true, 50) == 25
    assert count_wrong_frames(true, true, 50) == 0


def test_overlay_of_a_clip_does_not_depend_on_other_clips() -> None:
    of_all = [case for case in list_cases(CLIPS, ("logo",), (0.5,), ("lossless",)) if case.clip == CLIPS[3]]
    assert list(list_cases(CLIPS[3:4], ("logo",), (0.5,), ("lossless",))) == of_all
