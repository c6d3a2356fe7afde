"""Noise around and in holes is smoothed as much as the picture allows, in holes of any size."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.overlays.overlay import Floats, Mask
from tasks.overlays.removal import smoothing, surroundings
from tasks.overlays.removal.smoothing import Smoother
from tasks.overlays.removal.surroundings import Surroundings

SIZE = (64, 96)
MASK = np.zeros(SIZE, np.bool_)
MASK[24:40, 30:66] = True


def hill() -> Floats:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.asarray(100 + 20 * np.sin(x / 14) + 12 * np.cos(y / 11), np.float32)


def noisy(values: Floats, deviation: float) -> Floats:
    return (values + np.random.default_rng(1).normal(0, deviation, values.shape)).astype(np.float32)


def weights(hidden: Mask, deviation_in_mask: float = 1.0) -> Floats:
    found = np.where(MASK, np.float32(1 / deviation_in_mask**2), np.float32(1))
    found[hidden] = 0
    return found.astype(np.float32)


def rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def test_noise_goes_where_the_picture_is_smooth() -> None:
    given = noisy(hill(), 2.0)
    found = Smoother(MASK, weights(np.zeros_like(MASK))).smooth(given)
    assert rms((found.value - hill())[MASK]) < 0.35 * rms((given - hill())[MASK])


def test_texture_without_noise_stays() -> None:
    given = noisy(hill(), 12.0)  # all of it is the picture's: seen as well in the hole as around it
    given[MASK] = given[MASK].round()
    found = Smoother(MASK, weights(np.zeros_like(MASK), 0.1)).smooth(given)
    assert rms((found.value - given)[MASK]) < 0.2 * 12.0


def test_a_hole_between_ringing_samples_on_black_is_black() -> None:
    black = np.full(SIZE, 16, np.float32)
    given = black.copy()
    given[22:42:2, 28:68:3] += 3  # a codec's ringing, on one side of black as on the other
    given[23:43:2, 29:69:3] -= 3
    found = Smoother(MASK, weights(MASK)).smooth(given)
    assert rms((found.value - black)[MASK]) < 0.5


def test_the_variance_is_that_of_the_error() -> None:
    hidden = MASK.copy()
    hidden[:, :48] = False
    errors, expected = [], []
    for seed in range(6):
        chance = np.random.default_rng(seed)
        given = (hill() + chance.normal(0, 2.0, SIZE)).astype(np.float32)
        found = Smoother(MASK, weights(hidden)).smooth(given)
        errors.append((found.value - hill()) ** 2)
        expected.append(found.variance)
    for part in (hidden, MASK & ~hidden):
        ratio = np.mean(np.stack(errors)[:, part]) / np.mean(np.stack(expected)[:, part])
        assert 0.2 < ratio < 5


def test_large_holes_are_filled_alike_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = MASK.copy()
    hidden[::4] = False
    given = noisy(hill(), 1.0)
    exact = Smoother(MASK, weights(hidden)).smooth(given)
    monkeypatch.setattr(smoothing, "MAX_UNKNOWNS", 400)
    coarse = Smoother(MASK, weights(hidden)).smooth(given)
    errors = [rms((found.value - hill())[MASK]) for found in (exact, coarse)]
    assert errors[1] < errors[0] + 0.5
    assert np.isfinite(coarse.variance).all()
    assert (coarse.variance[MASK] > 0).all()


def test_a_hole_as_large_as_the_picture_has_finite_values() -> None:
    whole = np.ones((20, 20), np.bool_)
    found = Smoother(whole, np.zeros((20, 20), np.float32)).smooth(np.full((20, 20), 50, np.float32))
    assert np.isfinite(found.value).all()


def test_large_holes_of_the_flow_are_filled_at_half_the_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Surroundings(MASK).fill(hill())
    monkeypatch.setattr(surroundings, "MAX_SAMPLES", 100)
    found = Surroundings(MASK).fill(np.where(MASK, np.float32(0), hill()))
    assert np.array_equal(found[~MASK], hill()[~MASK])
    assert rms((found - exact)[MASK]) < 1.5
