"""Tests the whole search: several planets in one curve, thresholds, and hostile curves."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from tasks.transits.candidate import Candidate
from tasks.transits.light_curve import Floats, PreparedLightCurve
from tasks.transits.params import TransitParams
from tasks.transits.searching import SearchResult, search
from tests.transits.synthetic import SUN, Planet, make_prepared_curve, make_times, simulate_light_curve

HALF_HOUR_DAYS = 1 / 48
TEN_MINUTES_DAYS = 600.0 / 86_400.0
MODES: dict[str, dict[str, Any]] = {
    "boxes": {"run_tls": False},
    "transits": {"run_bls": False},
    "peaks": {},
    "full": {"tls_scope": "full"},
}


def make_planet(period_days: float, radius_ratio: float, transit_time_days: float) -> Planet:
    return Planet(period_days, transit_time_days, radius_ratio, scaled_axis=4.2 * period_days ** (2 / 3))


INNER = make_planet(2.2, 0.06, 0.7)
MIDDLE = make_planet(5.13, 0.05, 1.9)
OUTER = make_planet(8.37, 0.045, 3.1)
SYSTEM = (INNER, MIDDLE, OUTER)
SECTOR = simulate_light_curve(make_times(cadence_days=TEN_MINUTES_DAYS), SYSTEM, noise_ppm=300.0, star=SUN)


def run_search(curve: PreparedLightCurve, **choice: Any) -> SearchResult:
    return search(curve, TransitParams(**choice))


@cache
def search_sector() -> SearchResult:
    return run_search(SECTOR)


def assert_matches(candidate: Candidate, planet: Planet) -> None:
    """Check period and time to within five uncertainties, or a thousandth of a duration."""
    assert candidate.period_uncertainty_days is not None
    assert candidate.period_days == pytest.approx(planet.period_days, abs=5 * candidate.period_uncertainty_days)
    cycles = (candidate.transit_time_days - planet.transit_time_days) / candidate.period_days
    assert abs(cycles - round(cycles)) * planet.period_days < 0.1 * planet.duration_days
    assert candidate.duration_days == pytest.approx(planet.duration_days, rel=0.15)
    middle = 1.0 - float(planet.compute_flux(np.array([planet.transit_time_days]))[0])
    assert candidate.depth == pytest.approx(middle, rel=0.12)  # the trapezoid's floor averages over limb darkening


# Planets


def test_three_planets_are_found_in_one_curve_strongest_first() -> None:
    result = search_sector()
    assert [candidate.number for candidate in result.candidates] == [1, 2, 3]
    for candidate, planet in zip(result.candidates, SYSTEM, strict=True):
        assert_matches(candidate, planet)
    strengths = [candidate.snr for candidate in result.candidates]
    assert strengths == sorted(strengths, reverse=True)
    assert result.events == ()


@pytest.mark.parametrize("mode", MODES)
def test_all_modes_find_the_same_planet(mode: str) -> None:
    curve = simulate_light_curve(make_times(cadence_days=HALF_HOUR_DAYS), [MIDDLE], noise_ppm=300.0, star=SUN)
    (candidate,) = run_search(curve, max_planets=1, min_period=2.0, **MODES[mode]).candidates
    assert_matches(candidate, MIDDLE)
    assert (candidate.tls is not None) is (mode != "boxes")
    if candidate.tls is not None:
        assert candidate.tls.period_days == pytest.approx(MIDDLE.period_days, rel=0.002)
        assert candidate.tls.depth == pytest.approx(candidate.depth, rel=0.15)
        assert candidate.tls.chi_square_ratio < 1.0  # shaped like a transit


@pytest.mark.parametrize("max_planets", [1, 2])
def test_max_planets_limits_the_number_of_candidates(max_planets: int) -> None:
    some, every = run_search(SECTOR, max_planets=max_planets), search_sector()
    assert len(some.candidates) == max_planets
    assert to_bytes(some.candidates) == to_bytes(every.candidates[:max_planets])


def test_later_candidates_are_found_without_the_transits_of_earlier_ones() -> None:
    first, second, third = search_sector().candidates
    assert first.used.all()
    for planet, later in ((INNER, second), (INNER, third), (MIDDLE, third)):
        offset = np.abs(compute_offset_days(SECTOR.time, planet))
        assert not later.used[offset < 0.7 * planet.duration_days].any()
    untouched = np.min(
        [np.abs(compute_offset_days(SECTOR.time, planet)) / planet.duration_days for planet in SYSTEM], axis=0
    )
    assert third.used[untouched > 0.9].all()
    assert first.used.sum() > second.used.sum() > third.used.sum()


def compute_offset_days(time: Floats, planet: Planet) -> Floats:
    cycles = (time - planet.transit_time_days) / planet.period_days
    return np.asarray((cycles - np.round(cycles)) * planet.period_days)


def test_transit_time_is_the_first_transit_in_the_curve() -> None:
    late = replace(MIDDLE, transit_time_days=4 * MIDDLE.period_days + 1.9)
    time = make_times(cadence_days=HALF_HOUR_DAYS) + 1_325.0
    curve = simulate_light_curve(time, [late], noise_ppm=300.0)
    (candidate,) = run_search(curve, max_planets=1).candidates
    assert 0 <= candidate.transit_time_days - time[0] < candidate.period_days


def test_first_spectrum_covers_the_whole_curve() -> None:
    result = search_sector()
    assert result.first is not None
    assert np.array_equal(result.first.power, result.candidates[0].periodogram.power)
    assert result.first.period_days[0] == pytest.approx(0.6)
    assert result.first.period_days[-1] == pytest.approx(SECTOR.baseline_days)
    at_peak = result.first.period_days[int(np.argmax(result.first.power))]
    assert at_peak == pytest.approx(INNER.period_days, rel=0.002)


# Thresholds


def test_signals_below_the_thresholds_are_not_candidates() -> None:
    strongest, weaker, _ = search_sector().candidates
    assert run_search(SECTOR, min_sde=strongest.sde + 1).candidates == ()
    between = 0.5 * (strongest.snr + weaker.snr)
    assert len(run_search(SECTOR, min_snr=between).candidates) == 1
    assert run_search(SECTOR, min_sde=strongest.sde + 1).first is not None  # the spectrum is available nevertheless


def test_periods_outside_the_limits_are_not_candidates() -> None:
    curve = simulate_light_curve(make_times(cadence_days=HALF_HOUR_DAYS), [MIDDLE], noise_ppm=300.0)
    for limits in ({"min_period": 6.0, "max_period": 9.0}, {"max_period": 2.0}):
        for candidate in run_search(curve, **limits).candidates:
            assert limits.get("min_period", 0.6) * 0.99 <= candidate.period_days <= limits["max_period"] * 1.01


@pytest.mark.parametrize("mode", ["boxes", "peaks"])
def test_white_noise_has_no_candidate(mode: str) -> None:
    time = make_times(cadence_days=HALF_HOUR_DAYS)
    candidates = [run_search(simulate_light_curve(time, seed=seed), **MODES[mode]).candidates for seed in range(5)]
    assert candidates == [()] * 5


# Single dimmings


@pytest.mark.parametrize("mode", ["boxes", "peaks"])
def test_single_dimming_is_excluded_and_the_weaker_planet_found(mode: str) -> None:
    time = make_times(cadence_days=HALF_HOUR_DAYS)
    once = np.asarray(-0.1 * (np.abs(time - 11.31) < 0.2))
    result = run_search(simulate_light_curve(time, [MIDDLE], noise_ppm=300.0, star=SUN, added=once), **MODES[mode])
    assert [event.time_days for event in result.events] == pytest.approx([11.31], abs=0.03)
    (candidate,) = result.candidates
    assert_matches(candidate, MIDDLE)
    assert not candidate.used[np.abs(time - 11.31) < 0.2].any()


def test_search_of_a_curve_full_of_single_dimmings_ends() -> None:
    time = make_times(cadence_days=HALF_HOUR_DAYS)
    moments = np.random.default_rng(3).uniform(0.5, 26.5, 25)
    dips = -sum(0.01 * (1.0 + number % 7) * (np.abs(time - at) < 0.08) for number, at in enumerate(moments))
    result = run_search(simulate_light_curve(time, noise_ppm=300.0, added=np.asarray(dips)), run_tls=False)
    assert len(result.events) <= 9
    assert len(result.candidates) <= 3


# The end


def test_search_ends_when_half_of_the_curve_is_masked() -> None:
    """Observe mainly at transits, as follow-up from the ground does: with these masked, too few points remain."""
    sparse, dense = make_times(cadence_days=HALF_HOUR_DAYS), make_times(cadence_days=120 / 86_400)
    near = dense[np.abs(compute_offset_days(dense, INNER)) < 0.7 * INNER.duration_days]
    curve = simulate_light_curve(np.union1d(sparse, near), [INNER, MIDDLE], noise_ppm=300.0, star=SUN)
    even = simulate_light_curve(sparse, [INNER, MIDDLE], noise_ppm=300.0, star=SUN)
    (only,) = run_search(curve, run_tls=False).candidates
    first, second = run_search(even, run_tls=False).candidates
    assert_matches(only, INNER)
    assert_matches(first, INNER)
    assert_matches(second, MIDDLE)


# Determinism


def to_bytes(result: object) -> bytes:
    """Return the bytes of every number and array in ``result``."""
    return pickle.dumps(convert_values(result))


def convert_values(result: Any) -> Any:
    if isinstance(result, np.ndarray):
        return result.dtype.str, result.tobytes()
    if isinstance(result, tuple):
        return tuple(convert_values(part) for part in result)
    if hasattr(result, "__dataclass_fields__"):
        return tuple(convert_values(getattr(result, name)) for name in result.__dataclass_fields__)
    return repr(result)


@pytest.mark.parametrize("mode", MODES)
def test_same_curve_gives_the_same_bytes_after_other_searches(mode: str) -> None:
    time = make_times(cadence_days=HALF_HOUR_DAYS)
    ours = simulate_light_curve(time, [INNER, MIDDLE], noise_ppm=300.0, seed=1)
    other = simulate_light_curve(time[:900], [OUTER], noise_ppm=900.0, seed=2)
    choice = {**MODES[mode], "max_planets": 2, "min_period": 2.0, "max_period": 6.0}
    first = to_bytes(run_search(ours, **choice))
    assert to_bytes(run_search(other, **choice)) != first
    assert to_bytes(run_search(ours, **choice)) == first


def test_search_does_not_change_the_curve() -> None:
    curve = simulate_light_curve(make_times(cadence_days=HALF_HOUR_DAYS), SYSTEM)
    arrays = ("time", "flux", "noise", "trend", "observed", "segment")
    before = [getattr(curve, name).copy() for name in arrays]
    run_search(curve)
    assert all(np.array_equal(getattr(curve, name), old) for name, old in zip(arrays, before, strict=True))


# Hostile curves


def make_hostile_curves() -> dict[str, PreparedLightCurve]:
    time = make_times(cadence_days=HALF_HOUR_DAYS)
    generator = np.random.default_rng(0)
    noisy = 1.0 + 5e-4 * generator.standard_normal(len(time))
    each_fiftieth = np.arange(len(time)) % 50 == 3
    clumps = np.concatenate([np.linspace(0, 0.2, 60), np.linspace(20, 20.2, 60)])
    few = {
        f"{count} points": make_prepared_curve(
            np.linspace(0.0, 5.0, count), 1.0 + 1e-3 * generator.standard_normal(count)
        )
        for count in (2, 3, 4, 10, 50)
    }
    return few | {
        "no points": make_prepared_curve(np.zeros(0), np.zeros(0)),
        "one point": make_prepared_curve(np.zeros(1), np.ones(1)),
        "shorter than the shortest period": make_prepared_curve(np.linspace(0, 0.5, 100), noisy[:100]),
        "constant": make_prepared_curve(time, np.ones(len(time))),
        "constant below 1": make_prepared_curve(time, np.full(len(time), 0.999)),
        "zero": make_prepared_curve(time, np.zeros(len(time))),
        "negative": make_prepared_curve(time, noisy - 2.0),
        "two clumps": make_prepared_curve(clumps, 1.0 + 5e-4 * generator.standard_normal(120)),
        "one point a day": make_prepared_curve(np.arange(30.0), noisy[:30]),
        "outliers of 1e5": make_prepared_curve(time, np.where(each_fiftieth, 1e5, noisy)),
        "outliers of -1e5": make_prepared_curve(time, np.where(each_fiftieth, -1e5, noisy)),
        "one outlier of -1e5": make_prepared_curve(time, np.where(np.arange(len(time)) == 700, -1e5, noisy)),
        "a jump": make_prepared_curve(time, np.asarray(noisy - 0.01 * (time > 13.0))),
        "a slope": make_prepared_curve(time, noisy + 0.01 * time),
        "a sine": make_prepared_curve(time, noisy + 0.01 * np.sin(4.0 * time)),
        "a random walk": make_prepared_curve(time, 1.0 + np.cumsum(1e-4 * generator.standard_normal(len(time)))),
        "two values": make_prepared_curve(time, np.where(np.arange(len(time)) % 2, 0.99, 1.0)),
    }


@pytest.mark.parametrize("mode", ["boxes", "peaks"])
@pytest.mark.parametrize("name", make_hostile_curves())
def test_search_of_a_hostile_curve_raises_no_error(name: str, mode: str) -> None:
    assert_valid_result(make_hostile_curves()[name], {**MODES[mode], "min_period": 1.0})


@pytest.mark.parametrize("name", ["3 points", "50 points", "constant", "negative", "two clumps", "outliers of -1e5"])
@pytest.mark.parametrize("mode", ["transits", "full"])
def test_full_tls_search_of_a_hostile_curve_raises_no_error(name: str, mode: str) -> None:
    assert_valid_result(make_hostile_curves()[name], {**MODES[mode], "min_period": 1.5, "max_period": 4.0})


def test_search_handles_every_point_as_candidate() -> None:
    for curve in make_hostile_curves().values():
        assert_valid_result(curve, {"min_sde": 0.0, "min_snr": 0.0, "min_period": 1.5})


def assert_valid_result(curve: PreparedLightCurve, choice: dict[str, Any]) -> None:
    result = run_search(curve, **choice)
    assert len(result.candidates) <= 3
    for candidate in result.candidates:
        numbers = (candidate.period_days, candidate.transit_time_days, candidate.duration_days, candidate.depth)
        assert np.isfinite([*numbers, candidate.sde, candidate.snr, candidate.depth_uncertainty]).all()
        assert candidate.period_days > 0
        assert candidate.duration_days > 0


def test_constant_curve_has_no_candidate() -> None:
    assert run_search(make_hostile_curves()["constant"]).candidates == ()


@pytest.mark.parametrize("name", ["no points", "one point", "shorter than the shortest period"])
def test_curve_shorter_than_one_period_has_no_candidate(name: str) -> None:
    assert run_search(make_hostile_curves()[name]).candidates == ()
