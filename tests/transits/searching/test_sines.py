"""Smooth variations are distinguished from transits, measured, and divided out of the searched curve."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.transits.light_curve import Floats
from tasks.transits.params import TransitParams
from tasks.transits.searching import search
from tasks.transits.searching.points import Points
from tasks.transits.searching.sines import find_better_sine, fit_sine
from tasks.transits.searching.trapezoid import Signal, fit_trapezoid
from tests.transits.synthetic import Planet, make_prepared_curve, simulate_light_curve

NOISE = 2e-4
TIME = np.arange(0.0, 27.0, 1 / 72)


def make_points(flux: Floats, seed: int = 0) -> Points:
    noise = np.full(len(TIME), NOISE)
    return Points(TIME, flux + noise * np.random.default_rng(seed).standard_normal(len(TIME)), noise)


def make_wave(period: float, amplitude: float) -> Floats:
    return 1.0 + amplitude * np.cos(2 * np.pi * (TIME - 0.3) / period)


def test_injected_sine_is_measured() -> None:
    sine = fit_sine(make_points(make_wave(1.7, 1e-3)), 1.7)
    assert np.hypot(sine.cosine, sine.sine) == pytest.approx(1e-3, abs=4 * NOISE * np.sqrt(2 / len(TIME)))
    assert sine.gain == pytest.approx(len(TIME) * (1e-3 / NOISE) ** 2 / 2, rel=0.05)
    assert sine.compute_flux(TIME) == pytest.approx(make_wave(1.7, 1e-3), abs=5e-5)


@pytest.mark.parametrize("multiple", [1.0, 2.0, 3.0, 0.5])
def test_minima_of_a_sine_are_not_transits(multiple: float) -> None:
    period = 1.3
    curve = make_points(make_wave(period, 5e-4))
    start = Signal(multiple * period, 0.3 + period / 2, 0.1 * multiple * period)
    fit = fit_trapezoid(curve, start)
    sine = find_better_sine(curve, fit.signal.period_days, fit.gain)
    assert sine is not None
    assert sine.period_days == pytest.approx(period, rel=2e-3)
    assert sine.gain > 2 * fit.gain


@pytest.mark.parametrize("period_days", [0.7, 3.0, 9.0])
@pytest.mark.parametrize("radius_ratio", [0.03, 0.1])
def test_transit_is_not_a_sine(period_days: float, radius_ratio: float) -> None:
    planet = Planet(period_days=period_days, scaled_axis=4.2 * period_days ** (2 / 3), radius_ratio=radius_ratio)
    curve = make_points(planet.compute_flux(TIME))
    fit = fit_trapezoid(curve, Signal(period_days, 1.0, planet.duration_days))
    assert find_better_sine(curve, fit.signal.period_days, fit.gain) is None


def test_planet_of_a_pulsating_star_is_found_without_the_pulsation() -> None:
    curve = simulate_light_curve(seed=3, planets=[Planet(period_days=5.1, radius_ratio=0.05, scaled_axis=12.0)])
    shaken = 1.0 + 6e-4 * np.sin(2 * np.pi * curve.time / 1.37)
    result = search(make_prepared_curve(curve.time, curve.flux * shaken), TransitParams(min_sde=10.0))
    assert [candidate.period_days for candidate in result.candidates] == pytest.approx([5.1], rel=1e-3)


def test_pulsating_star_without_planets_has_no_candidate() -> None:
    curve = simulate_light_curve(seed=4, planets=[])
    shaken = 1.0 + 3e-3 * np.sin(2 * np.pi * curve.time / 1.37)
    before = make_prepared_curve(curve.time, curve.flux * shaken)
    result = search(before, TransitParams(min_sde=8.0))
    assert result.candidates == ()
    assert result.sines == pytest.approx([1.37], rel=1e-3)
    assert result.curve.flux * result.curve.trend == pytest.approx(before.flux * before.trend)
    assert np.std(result.curve.flux) == pytest.approx(np.std(curve.flux), rel=0.02)
    assert np.median(result.curve.noise) < np.median(before.noise)
