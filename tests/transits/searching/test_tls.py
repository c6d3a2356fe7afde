"""Tests TLS against a direct evaluation of its model, and with curves without transits."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from transitleastsquares import tls_constants
from transitleastsquares.transit import reference_transit

from tasks.transits.light_curve import Floats
from tasks.transits.searching.grid import build_grid
from tasks.transits.searching.points import Points
from tasks.transits.searching.tls import TlsSearch, search_transits
from tests.transits.synthetic import Planet, make_times

TEN_MINUTES_DAYS = 600.0 / 86_400.0
PLANET = Planet(radius_ratio=0.05)  # of 3 days
NOISE = 4e-4


def make_transits(
    cadence_days: float = TEN_MINUTES_DAYS, planet: Planet = PLANET, noise: float | str = NOISE, seed: int = 0
) -> Points:
    time = make_times(cadence_days=cadence_days)
    generator = np.random.default_rng(seed)
    errors = generator.uniform(1e-4, 1e-3, len(time)) if noise == "unequal" else np.full(len(time), noise)
    return Points(time, planet.compute_flux(time) + errors * generator.standard_normal(len(time)), errors)


def make_constant_points(value: float = 1.0) -> Points:
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    return Points(time, np.full(len(time), value), np.full(len(time), NOISE))


def find_transit(points: Points, min_period_days: float = 2.95, max_period_days: float = 3.05) -> TlsSearch:
    transit = search_transits(points, min_period_days, max_period_days, oversampling=9)
    assert transit is not None
    return transit


def compute_template(turns_of_duration: Floats) -> Floats:
    """Return the transit shape of TLS, 1 in the middle, over time in units of its duration."""
    own = tls_constants
    inner = 1.0 - reference_transit(
        2001, own.DEFAULT_PERIOD, own.DEFAULT_RP, own.DEFAULT_A, own.DEFAULT_INC, 0, 90, own.DEFAULT_U, "quadratic"
    )
    return np.asarray(np.interp(turns_of_duration, np.linspace(-0.5, 0.5, 2001), inner, left=0.0, right=0.0))


def compute_gain(points: Points, transit: TlsSearch) -> float:
    """Return the chi-square that the found model saves, evaluated at each point."""
    cycles = (points.time - transit.transit_time_days) / transit.period_days
    shape = compute_template((cycles - np.round(cycles)) * transit.period_days / transit.duration_days)
    residue = (points.flux - 1.0 + transit.depth * shape) / points.noise
    return points.compute_flat_chi_square() - float(residue @ residue)


@pytest.mark.parametrize("cadence_days", [120 / 86_400, TEN_MINUTES_DAYS, 1 / 48])
@pytest.mark.parametrize("noise", [NOISE, "unequal"])
@pytest.mark.parametrize("radius_ratio", [0.02, 0.1])
def test_gain_equals_that_of_the_model(cadence_days: float, noise: float | str, radius_ratio: float) -> None:
    """Check the gain although TLS bins dense curves and normalises the noise by its mean."""
    points = make_transits(cadence_days, Planet(radius_ratio=radius_ratio), noise, seed=3)
    transit = find_transit(points)
    assert transit.gain == pytest.approx(compute_gain(points, transit), rel=0.015)


@pytest.mark.parametrize("seed", range(3))
def test_gain_is_close_to_that_of_the_injected_planet(seed: int) -> None:
    points = make_transits(seed=seed)
    truth = points.compute_flat_chi_square() - np.sum(
        ((points.flux - PLANET.compute_flux(points.time)) / points.noise) ** 2
    )
    assert find_transit(points).gain == pytest.approx(truth, rel=0.02)


def test_injected_planet_is_found() -> None:
    points = make_transits()
    transit = find_transit(points)
    assert transit.period_days == pytest.approx(3.0, abs=0.003)
    assert abs((transit.transit_time_days - 1.0 + 1.5) % 3.0 - 1.5) < 0.01
    assert transit.duration_days == pytest.approx(PLANET.duration_days, rel=0.05)
    assert transit.depth == pytest.approx(1.0 - PLANET.compute_flux(np.array([1.0]))[0], rel=0.03)


def test_spectrum_ascends_and_peaks_at_the_best_period() -> None:
    transit = search_transits(make_transits(cadence_days=1 / 48), 0.6, 13.0)
    assert transit is not None
    assert np.all(np.diff(transit.period_days_grid) > 0)
    assert transit.period_days_grid[int(np.argmax(transit.power))] == transit.period_days
    assert transit.power.max() == pytest.approx(transit.sde)
    assert len(transit.period_days_grid) == pytest.approx(len(build_grid(27.0, 0.6, 13.0)), rel=0.01)


def test_noise_has_little_gain() -> None:
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    noise = np.full(len(time), NOISE)
    transit = search_transits(
        Points(time, 1.0 + noise * np.random.default_rng(0).standard_normal(len(time)), noise), 2, 4
    )
    assert transit is None or 0 < transit.gain < 60.0


# Curves without transits


def make_brightening() -> Points:
    points = make_constant_points()
    return Points(points.time, 2.0 - PLANET.compute_flux(points.time), points.noise)


@pytest.mark.parametrize(
    "points",
    [make_constant_points(), make_constant_points(1.0005), make_brightening()],
    ids=["flat", "bright", "brightenings"],
)
def test_curve_without_transits_gives_none(points: Points) -> None:
    assert search_transits(points, 2.95, 3.05) is None


@pytest.mark.parametrize(
    ("min_period_days", "max_period_days"),
    [(3.0, 3.0), (2.999_999, 3.000_001), (3.05, 2.95), (40.0, 50.0), (0.0, 0.01), (-0.2, -0.1)],
    ids=["one period", "between two trial periods", "upside down", "beyond the curve", "inside the star", "negative"],
)
def test_limits_without_trial_periods_give_none(min_period_days: float, max_period_days: float) -> None:
    assert search_transits(make_transits(), min_period_days, max_period_days) is None


@pytest.mark.parametrize("steps", [3, 10])
def test_narrow_window_finds_the_same_as_a_wide_one(steps: int) -> None:
    reach = steps * build_grid(27.0, 0.6, 13.0).get_step_days(3.0)
    points = make_transits()
    narrow, wide = find_transit(points, 3.0 - reach, 3.0 + reach), find_transit(points, 2.7, 3.3)
    assert narrow.gain == pytest.approx(wide.gain, rel=0.01)
    assert narrow.period_days == pytest.approx(wide.period_days, abs=0.002)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_few_points_give_none_or_finite_values(count: int) -> None:
    points = make_transits(cadence_days=1.0).select(np.arange(27) < count)
    transit = search_transits(points, 0.6, 5.0)
    assert transit is None or np.isfinite([transit.gain, transit.depth, transit.period_days]).all()
    if count < 3:
        assert transit is None


def test_points_that_tls_skips_do_not_add_to_the_gain() -> None:
    points = make_transits()
    wild = np.arange(len(points.time)) % 500 == 7
    spoilt = Points(points.time, np.where(wild, -1e5, points.flux), points.noise)
    transit, clean = find_transit(spoilt), find_transit(points.select(~wild))
    assert transit.gain == pytest.approx(clean.gain, rel=1e-9)
    assert transit.period_days == clean.period_days


def test_negative_flux_gives_none() -> None:
    assert search_transits(make_constant_points(-1.0), 2.95, 3.05) is None


# Warnings and determinism


def test_no_warning_escapes() -> None:
    """Suppress warnings of small grids, of transits without data, and of flux far from 1."""
    time = make_times(cadence_days=TEN_MINUTES_DAYS, gaps=[(3.0, 9.0), (12.0, 20.0)])
    points = Points(time, 1.5 * PLANET.compute_flux(time), np.full(len(time), NOISE))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search_transits(points, 2.95, 3.05)
        search_transits(make_constant_points(), 2.95, 3.05)
        search_transits(points.select(np.arange(len(time)) < 5), 2.95, 3.05)
    assert caught == []


def test_two_runs_give_the_same_bytes() -> None:
    """Get the same result although TLS tries periods in random order."""
    points = make_transits(noise="unequal")
    first, second = (search_transits(points, 2.0, 4.0) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.power.tobytes() == second.power.tobytes()
    assert first.period_days_grid.tobytes() == second.period_days_grid.tobytes()
    scalars = ("period_days", "transit_time_days", "duration_days", "depth", "gain", "sde")
    assert [getattr(first, name) for name in scalars] == [getattr(second, name) for name in scalars]
