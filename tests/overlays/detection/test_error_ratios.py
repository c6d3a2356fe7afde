"""How far fits may be off, measured where the errors are known."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.overlays.detection.fitting.error_ratios import Reference, estimate_noise, measure_error_ratios

FRAMES, PIXELS = 40, 3000
SHARES = np.ones(FRAMES, np.float32)


def place(own: float, lasting: float) -> Reference:
    """Errors of variance ``own`` in each frame for itself and ``lasting`` in all alike, of which 4 is foretold."""
    chance = np.random.default_rng(3)
    true = chance.normal(100, 20, (1, FRAMES, PIXELS))
    errors = chance.normal(0, own**0.5, true.shape) + chance.normal(0, lasting**0.5, (1, 1, PIXELS))
    foretold = np.full((FRAMES, PIXELS), 4, np.float32)
    return Reference(true.astype(np.float32), (true + errors).astype(np.float32), foretold)


def test_errors_as_foretold() -> None:
    found = measure_error_ratios([place(4, 0)], SHARES, 1)
    assert found.means[0] == pytest.approx(1, rel=0.1)
    assert found.single == pytest.approx(1, rel=0.1)
    assert found.slope == pytest.approx(1, rel=0.5)  # the estimate follows its own errors a little


def test_errors_that_last_count_in_every_frame() -> None:
    """Of a scene that stands still, forty frames say no more than one."""
    found = measure_error_ratios([place(0.01, 4)], SHARES, 1)
    assert found.means[0] == pytest.approx(FRAMES, rel=0.1)
    assert found.single == pytest.approx(1, rel=0.1)


def test_without_a_place_errors_are_the_usual_ones() -> None:
    assert measure_error_ratios([], SHARES, 3).means.shape == (3,)


def test_noise_is_told_from_what_is_smooth() -> None:
    slope = np.add.outer(np.arange(60.0), 2 * np.arange(80.0))
    frames = slope + np.random.default_rng(1).normal(0, 3, (8, 60, 80))
    assert estimate_noise(frames.astype(np.float32), np.ones((60, 80), np.bool_)) == pytest.approx(9, rel=0.1)
