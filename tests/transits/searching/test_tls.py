"""Transit shapes by TLS: its numbers against a direct evaluation of its model, and its silence where there is none."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from transitleastsquares import tls_constants
from transitleastsquares.transit import reference_transit

from tasks.transits.light_curve import Floats
from tasks.transits.searching.grid import search_grid
from tasks.transits.searching.points import Points
from tasks.transits.searching.tls import TlsSearch, search_transits
from tests.transits.synthetic import Planet, times

TEN_MINUTES_DAYS = 600.0 / 86_400.0
PLANET = Planet(radius_ratio=0.05)  # of 3 days
NOISE = 4e-4


def transits(
    cadence_days: float = TEN_MINUTES_DAYS, planet: Planet = PLANET, noise: float | str = NOISE, seed: int = 0
) -> Points:
    time = times(cadence_days=cadence_days)
    generator = np.random.default_rng(seed)
    errors = generator.uniform(1e-4, 1e-3, len(time)) if noise == "unequal" else np.full(len(time), noise)
    return Points(time, planet.flux(time) + errors * generator.standard_normal(len(time)), errors)


def level(value: float = 1.0) -> Points:
    time = times(cadence_days=TEN_MINUTES_DAYS)
    return Points(time, np.full(len(time), value), np.full(len(time), NOISE))


def found_in(points: Points, shortest_days: float = 2.95, longest_days: float = 3.05) -> TlsSearch:
    found = search_transits(points, shortest_days, longest_days, oversampling=9)
    assert found is not None
    return found


def template(turns_of_duration: Floats) -> Floats:
    """TLS's transit, 1 in the middle, over time in units of its duration."""
    own = tls_constants
    inner = 1.0 - reference_transit(
        2001, own.DEFAULT_PERIOD, own.DEFAULT_RP, own.DEFAULT_A, own.DEFAULT_INC, 0, 90, own.DEFAULT_U, "quadratic"
    )
    return np.asarray(np.interp(turns_of_duration, np.linspace(-0.5, 0.5, 2001), inner, left=0.0, right=0.0))


def gain_of(points: Points, found: TlsSearch) -> float:
    """What the model with the parameters found saves of the chi-square, evaluated at each point."""
    cycles = (points.time - found.transit_time_days) / found.period_days
    shape = template((cycles - np.round(cycles)) * found.period_days / found.duration_days)
    residue = (points.flux - 1.0 + found.depth * shape) / points.noise
    return points.flat_chi_square() - float(residue @ residue)


@pytest.mark.parametrize("cadence_days", [120 / 86_400, TEN_MINUTES_DAYS, 1 / 48])
@pytest.mark.parametrize("noise", [NOISE, "unequal"])
@pytest.mark.parametrize("radius_ratio", [0.02, 0.1])
def test_gain_is_that_of_the_model(cadence_days: float, noise: float | str, radius_ratio: float) -> None:
    """Dense curves are joined by TLS on its own, and noise is taken over its mean: both are accounted for."""
    points = transits(cadence_days, Planet(radius_ratio=radius_ratio), noise, seed=3)
    found = found_in(points)
    assert found.gain == pytest.approx(gain_of(points, found), rel=0.015)


@pytest.mark.parametrize("seed", range(3))
def test_gain_is_near_that_of_the_truth(seed: int) -> None:
    points = transits(seed=seed)
    truth = points.flat_chi_square() - np.sum(((points.flux - PLANET.flux(points.time)) / points.noise) ** 2)
    assert found_in(points).gain == pytest.approx(truth, rel=0.02)


def test_finds_the_planet() -> None:
    points = transits()
    found = found_in(points)
    assert found.period_days == pytest.approx(3.0, abs=0.003)
    assert abs((found.transit_time_days - 1.0 + 1.5) % 3.0 - 1.5) < 0.01
    assert found.duration_days == pytest.approx(PLANET.duration_days, rel=0.05)
    assert found.depth == pytest.approx(1.0 - PLANET.flux(np.array([1.0]))[0], rel=0.03)


def test_spectrum_ascends_and_peaks_at_the_period_found() -> None:
    found = search_transits(transits(cadence_days=1 / 48), 0.6, 13.0)
    assert found is not None
    assert np.all(np.diff(found.period_days_grid) > 0)
    assert found.period_days_grid[int(np.argmax(found.power))] == found.period_days
    assert found.power.max() == pytest.approx(found.sde)
    assert len(found.period_days_grid) == pytest.approx(len(search_grid(27.0, 0.6, 13.0)), rel=0.01)


def test_noise_has_no_gain_worth_a_name() -> None:
    time = times(cadence_days=TEN_MINUTES_DAYS)
    noise = np.full(len(time), NOISE)
    found = search_transits(
        Points(time, 1.0 + noise * np.random.default_rng(0).standard_normal(len(time)), noise), 2, 4
    )
    assert found is None or 0 < found.gain < 60.0


# Nothing to find


def brightening() -> Points:
    points = level()
    return Points(points.time, 2.0 - PLANET.flux(points.time), points.noise)


@pytest.mark.parametrize("points", [level(), level(1.0005), brightening()], ids=["flat", "bright", "brightenings"])
def test_no_transit_fits_where_none_is(points: Points) -> None:
    assert search_transits(points, 2.95, 3.05) is None


@pytest.mark.parametrize(
    ("shortest_days", "longest_days"),
    [(3.0, 3.0), (2.999_999, 3.000_001), (3.05, 2.95), (40.0, 50.0), (0.0, 0.01), (-0.2, -0.1)],
    ids=["one period", "between two trial periods", "upside down", "beyond the curve", "inside the star", "negative"],
)
def test_no_trial_period_is_nothing_found(shortest_days: float, longest_days: float) -> None:
    assert search_transits(transits(), shortest_days, longest_days) is None


@pytest.mark.parametrize("steps", [3, 10])
def test_a_narrow_window_finds_what_a_wide_one_does(steps: int) -> None:
    reach = steps * search_grid(27.0, 0.6, 13.0).step_days(3.0)
    points = transits()
    narrow, wide = found_in(points, 3.0 - reach, 3.0 + reach), found_in(points, 2.7, 3.3)
    assert narrow.gain == pytest.approx(wide.gain, rel=0.01)
    assert narrow.period_days == pytest.approx(wide.period_days, abs=0.002)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_few_points_are_nothing_found_or_something_finite(count: int) -> None:
    points = transits(cadence_days=1.0).where(np.arange(27) < count)
    found = search_transits(points, 0.6, 5.0)
    assert found is None or np.isfinite([found.gain, found.depth, found.period_days]).all()
    if count < 3:
        assert found is None


def test_points_that_tls_leaves_out_are_not_explained_by_it() -> None:
    points = transits()
    wild = np.arange(len(points.time)) % 500 == 7
    spoilt = Points(points.time, np.where(wild, -1e5, points.flux), points.noise)
    found, clean = found_in(spoilt), found_in(points.where(~wild))
    assert found.gain == pytest.approx(clean.gain, rel=1e-9)
    assert found.period_days == clean.period_days


def test_flux_without_any_positive_point_is_nothing_found() -> None:
    assert search_transits(level(-1.0), 2.95, 3.05) is None


# Manners


def test_no_warning_escapes() -> None:
    """TLS warns of small grids, of transits without data, and of flux far from 1."""
    time = times(cadence_days=TEN_MINUTES_DAYS, gaps=[(3.0, 9.0), (12.0, 20.0)])
    points = Points(time, 1.5 * PLANET.flux(time), np.full(len(time), NOISE))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search_transits(points, 2.95, 3.05)
        search_transits(level(), 2.95, 3.05)
        search_transits(points.where(np.arange(len(time)) < 5), 2.95, 3.05)
    assert caught == []


def test_two_runs_give_the_same_bytes() -> None:
    """TLS goes through its periods in random order."""
    points = transits(noise="unequal")
    first, second = (search_transits(points, 2.0, 4.0) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.power.tobytes() == second.power.tobytes()
    assert first.period_days_grid.tobytes() == second.period_days_grid.tobytes()
    scalars = ("period_days", "transit_time_days", "duration_days", "depth", "gain", "sde")
    assert [getattr(first, name) for name in scalars] == [getattr(second, name) for name in scalars]
