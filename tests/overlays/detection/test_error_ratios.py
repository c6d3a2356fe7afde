"""Ratios of observed to predicted errors, compared with exact ones."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.overlays.detection.fitting.error_ratios import Reference, estimate_noise, measure_error_ratios

FRAMES, PIXELS = 40, 3000
SHARES = np.ones(FRAMES, np.float32)


def make_reference(own: float, lasting: float) -> Reference:
    """Return errors of variance ``own`` per frame and ``lasting`` in all frames; 4 is predicted."""
    chance = np.random.default_rng(3)
    true = chance.normal(100, 20, (1, FRAMES, PIXELS))
    errors = chance.normal(0, own**0.5, true.shape) + chance.normal(0, lasting**0.5, (1, 1, PIXELS))
    foretold = np.full((FRAMES, PIXELS), 4, np.float32)
    return Reference(true.astype(np.float32), (true + errors).astype(np.float32), foretold)


def test_ratio_of_predicted_errors_is_one() -> None:
    ratios = measure_error_ratios([make_reference(4, 0)], SHARES, 1)
    assert ratios.means[0] == pytest.approx(1, rel=0.1)
    assert ratios.single == pytest.approx(1, rel=0.1)
    assert ratios.slope == pytest.approx(1, rel=0.5)  # the estimate follows its own errors a little


def test_constant_errors_increase_the_ratio_of_means() -> None:
    """Forty frames of a still scene are as informative as one."""
    ratios = measure_error_ratios([make_reference(0.01, 4)], SHARES, 1)
    assert ratios.means[0] == pytest.approx(FRAMES, rel=0.1)
    assert ratios.single == pytest.approx(1, rel=0.1)


def test_ratios_without_references_are_defaults() -> None:
    assert measure_error_ratios([], SHARES, 3).means.shape == (3,)


def test_noise_is_separated_from_smooth_content() -> None:
    slope = np.add.outer(np.arange(60.0), 2 * np.arange(80.0))
    frames = slope + np.random.default_rng(1).normal(0, 3, (8, 60, 80))
    assert estimate_noise(frames.astype(np.float32), np.ones((60, 80), np.bool_)) == pytest.approx(9, rel=0.1)
