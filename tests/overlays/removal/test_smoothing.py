"""Adaptive smoothing of noise around and in holes of any size."""

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


def make_hill() -> Floats:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.asarray(100 + 20 * np.sin(x / 14) + 12 * np.cos(y / 11), np.float32)


def add_noise(values: Floats, deviation: float) -> Floats:
    return (values + np.random.default_rng(1).normal(0, deviation, values.shape)).astype(np.float32)


def make_weights(hidden: Mask, deviation_in_mask: float = 1.0) -> Floats:
    weight = np.where(MASK, np.float32(1 / deviation_in_mask**2), np.float32(1))
    weight[hidden] = 0
    return weight.astype(np.float32)


def compute_rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def test_noise_is_removed_from_smooth_content() -> None:
    given = add_noise(make_hill(), 2.0)
    smoothed = Smoother(MASK, make_weights(np.zeros_like(MASK))).smooth(given)
    assert compute_rms((smoothed.value - make_hill())[MASK]) < 0.35 * compute_rms((given - make_hill())[MASK])


def test_texture_without_noise_is_kept() -> None:
    given = add_noise(make_hill(), 12.0)  # all samples belong to the image: visible in the hole as around it
    given[MASK] = given[MASK].round()
    smoothed = Smoother(MASK, make_weights(np.zeros_like(MASK), 0.1)).smooth(given)
    assert compute_rms((smoothed.value - given)[MASK]) < 0.2 * 12.0


def test_hole_among_ringing_on_black_is_black() -> None:
    black = np.full(SIZE, 16, np.float32)
    given = black.copy()
    given[22:42:2, 28:68:3] += 3  # a codec's ringing, on one side of black as on the other
    given[23:43:2, 29:69:3] -= 3
    smoothed = Smoother(MASK, make_weights(MASK)).smooth(given)
    assert compute_rms((smoothed.value - black)[MASK]) < 0.5


def test_variance_matches_the_error() -> None:
    hidden = MASK.copy()
    hidden[:, :48] = False
    errors, expected = [], []
    for seed in range(6):
        chance = np.random.default_rng(seed)
        given = (make_hill() + chance.normal(0, 2.0, SIZE)).astype(np.float32)
        smoothed = Smoother(MASK, make_weights(hidden)).smooth(given)
        errors.append((smoothed.value - make_hill()) ** 2)
        expected.append(smoothed.variance)
    for part in (hidden, MASK & ~hidden):
        ratio = np.mean(np.stack(errors)[:, part]) / np.mean(np.stack(expected)[:, part])
        assert 0.2 < ratio < 5


def test_large_holes_have_the_same_result_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = MASK.copy()
    hidden[::4] = False
    given = add_noise(make_hill(), 1.0)
    exact = Smoother(MASK, make_weights(hidden)).smooth(given)
    monkeypatch.setattr(smoothing, "MAX_UNKNOWNS", 400)
    coarse = Smoother(MASK, make_weights(hidden)).smooth(given)
    errors = [compute_rms((smoothed.value - make_hill())[MASK]) for smoothed in (exact, coarse)]
    assert errors[1] < errors[0] + 0.5
    assert np.isfinite(coarse.variance).all()
    assert (coarse.variance[MASK] > 0).all()


def test_hole_of_the_whole_frame_has_finite_values() -> None:
    whole = np.ones((20, 20), np.bool_)
    smoothed = Smoother(whole, np.zeros((20, 20), np.float32)).smooth(np.full((20, 20), 50, np.float32))
    assert np.isfinite(smoothed.value).all()


def test_large_holes_of_the_flow_are_filled_at_half_the_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Surroundings(MASK).fill(make_hill())
    monkeypatch.setattr(surroundings, "MAX_SAMPLES", 100)
    filled = Surroundings(MASK).fill(np.where(MASK, np.float32(0), make_hill()))
    assert np.array_equal(filled[~MASK], make_hill()[~MASK])
    assert compute_rms((filled - exact)[MASK]) < 1.5
