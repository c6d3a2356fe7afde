"""Bad data points are excluded, and transits of one to three cadences never are."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.transits.light_curve import Floats, LightCurve, Segment, Star
from tasks.transits.outliers import find_short_dips
from tasks.transits.params import TransitParams
from tasks.transits.preparation import prepare
from tasks.transits.searching import search
from tests.transits.synthetic import Planet, make_times

TWO_MINUTES, TEN_MINUTES, HALF_HOUR = 1 / 720, 1 / 144, 1 / 48.94
NOISE = 6e-4


def find(time: Floats, flux: Floats, noise: float = NOISE) -> np.ndarray:
    count = len(time)
    return find_short_dips(time, flux, np.full(count, noise), np.ones(count, np.bool_), np.zeros(count, np.int64))


def make_noise(time: Floats, seed: int, noise: float = NOISE) -> Floats:
    return 1.0 + np.random.default_rng(seed).normal(0.0, noise, len(time))


def make_observed(time: Floats, flux: Floats) -> LightCurve:
    segment = Segment("S1", "TESS", "SPOC", 120.0, "BTJD")
    number = np.zeros(len(time), np.int64)
    return LightCurve(time, flux, np.full(len(time), np.nan), number, (segment,), Star(1.0, 1.0))


@pytest.mark.parametrize(("value", "count", "seed"), [(0.8, 10, 1), (0.8, 10, 2), (0.0, 30, 3), (0.9, 60, 4)])
def test_planet_is_found_despite_low_cadences(value: float, count: int, seed: int) -> None:
    time = make_times(27.4, gaps=[(13.0, 14.1)])
    planet = Planet(period_days=3.29, transit_time_days=1.2, radius_ratio=0.05)
    flux = make_noise(time, seed) * planet.compute_flux(time)
    flux[np.random.default_rng(seed).choice(len(time), count, replace=False)] = value
    curve = prepare(make_observed(time, flux), TransitParams())
    result = search(curve, TransitParams(run_tls=False, max_planets=1))
    assert curve.short_dips >= 0.85 * count, "some are at the edges, which are excluded anyway"
    (found,) = result.candidates
    assert found.period_days == pytest.approx(3.29, rel=1e-3)


@pytest.mark.parametrize("cadence", [TWO_MINUTES, TEN_MINUTES, HALF_HOUR])
def test_dips_of_one_cadence_are_excluded(cadence: float) -> None:
    time = make_times(27.0, cadence)
    flux = make_noise(time, 5)
    places = np.random.default_rng(6).choice(np.arange(3, len(time) - 3), 7, replace=False)
    flux[places] -= 0.2 * np.random.default_rng(7).uniform(0.2, 1.0, 7)
    dips = find(time, flux)
    assert set(np.flatnonzero(dips)) <= set(places)
    assert np.count_nonzero(dips) >= 6, "one of them may be in line with two others"


@pytest.mark.parametrize("cadence", [TWO_MINUTES, TEN_MINUTES, HALF_HOUR])
@pytest.mark.parametrize("cadences", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("depth_sigma", [10.0, 30.0, 300.0])
def test_transits_of_few_cadences_are_never_excluded(cadence: float, cadences: float, depth_sigma: float) -> None:
    excluded = total = 0
    for seed in range(12):
        random = np.random.default_rng([seed, int(10 * cadences), int(depth_sigma)])
        time = make_times(27.0, cadence, gaps=[(13.0, 14.1)])
        period, start = random.uniform(0.8, 6.0), random.uniform(0.0, 0.8)
        fine = time[:, None] + cadence * (np.arange(15) - 7) / 15  # averaged over each exposure
        offset = np.abs((fine - start + period / 2) % period - period / 2)
        flux = make_noise(time, seed) - depth_sigma * NOISE * np.mean(offset < cadences * cadence / 2, axis=1)
        dips = find(time, flux)
        total += int(np.count_nonzero((1.0 - flux) / NOISE >= 8.0))
        excluded += int(np.count_nonzero(dips))
    assert excluded <= 0.001 * total, f"{excluded} of {total}"


def test_dips_next_to_low_points_or_gaps_are_kept() -> None:
    time = make_times(27.0, TWO_MINUTES, gaps=[(9.0, 10.0)])
    flux = make_noise(time, 8)
    flux[5000:5030] -= 0.02  # half an hour
    flux[5010] -= 0.02
    flux[np.searchsorted(time, 9.5)] -= 0.2  # first point after the gap
    flux[0] -= 0.2
    assert not find(time, flux).any()


def test_longer_runs_are_excluded_at_short_cadences_only() -> None:
    for cadence, length, expected in (
        (20 / 86400, 12, 12),
        (TWO_MINUTES, 2, 2),
        (TWO_MINUTES, 4, 0),
        (HALF_HOUR, 2, 0),
    ):
        time = make_times(10.0, cadence)
        flux = make_noise(time, 9)
        flux[200 : 200 + length] -= 0.1
        assert np.count_nonzero(find(time, flux)) == expected, (cadence, length)


def test_stars_with_many_low_points_keep_all_of_them() -> None:
    time = make_times(27.0, HALF_HOUR)
    flux = make_noise(time, 10) - 0.02 * (np.sin(time * 17.0) > 0.3)
    flux[700] -= 0.01
    assert not find(time, flux).any()
