"""The search as a whole: several planets out of one curve, thresholds, and curves that nobody would wish for."""

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
from tests.transits.synthetic import SUN, Planet, light_curve, prepared, times

HALF_HOUR_DAYS = 1 / 48
TEN_MINUTES_DAYS = 600.0 / 86_400.0
MODES: dict[str, dict[str, Any]] = {
    "boxes": {"run_tls": False},
    "transits": {"run_bls": False},
    "peaks": {},
    "full": {"tls_scope": "full"},
}


def around_the_sun(period_days: float, radius_ratio: float, transit_time_days: float) -> Planet:
    return Planet(period_days, transit_time_days, radius_ratio, scaled_axis=4.2 * period_days ** (2 / 3))


INNER = around_the_sun(2.2, 0.06, 0.7)
MIDDLE = around_the_sun(5.13, 0.05, 1.9)
OUTER = around_the_sun(8.37, 0.045, 3.1)
SYSTEM = (INNER, MIDDLE, OUTER)
SECTOR = light_curve(times(cadence_days=TEN_MINUTES_DAYS), SYSTEM, noise_ppm=300.0, star=SUN)


def found_in(curve: PreparedLightCurve, **choice: Any) -> SearchResult:
    return search(curve, TransitParams(**choice))


@cache
def in_the_sector() -> SearchResult:
    return found_in(SECTOR)


def assert_is(candidate: Candidate, planet: Planet) -> None:
    """Period and time within five of their uncertainties, or a thousandth of a duration."""
    assert candidate.period_uncertainty_days is not None
    assert candidate.period_days == pytest.approx(planet.period_days, abs=5 * candidate.period_uncertainty_days)
    cycles = (candidate.transit_time_days - planet.transit_time_days) / candidate.period_days
    assert abs(cycles - round(cycles)) * planet.period_days < 0.1 * planet.duration_days
    assert candidate.duration_days == pytest.approx(planet.duration_days, rel=0.15)
    middle = 1.0 - float(planet.flux(np.array([planet.transit_time_days]))[0])
    assert candidate.depth == pytest.approx(middle, rel=0.12)  # limb darkening: the trapezoid's floor is a mean


# Planets


def test_three_planets_come_out_of_one_curve_strongest_first() -> None:
    result = in_the_sector()
    assert [candidate.number for candidate in result.candidates] == [1, 2, 3]
    for candidate, planet in zip(result.candidates, SYSTEM, strict=True):
        assert_is(candidate, planet)
    strengths = [candidate.snr for candidate in result.candidates]
    assert strengths == sorted(strengths, reverse=True)
    assert result.events == ()


@pytest.mark.parametrize("mode", MODES)
def test_each_way_of_searching_finds_the_same_planet(mode: str) -> None:
    curve = light_curve(times(cadence_days=HALF_HOUR_DAYS), [MIDDLE], noise_ppm=300.0, star=SUN)
    (candidate,) = found_in(curve, max_planets=1, min_period=2.0, **MODES[mode]).candidates
    assert_is(candidate, MIDDLE)
    assert (candidate.tls is not None) is (mode != "boxes")
    if candidate.tls is not None:
        assert candidate.tls.period_days == pytest.approx(MIDDLE.period_days, rel=0.002)
        assert candidate.tls.depth == pytest.approx(candidate.depth, rel=0.15)
        assert candidate.tls.chi_square_ratio < 1.0  # shaped like a transit


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_planets_than_asked_for(most: int) -> None:
    some, every = found_in(SECTOR, max_planets=most), in_the_sector()
    assert len(some.candidates) == most
    assert as_bytes(some.candidates) == as_bytes(every.candidates[:most])


def test_a_candidate_was_found_in_what_the_earlier_ones_left() -> None:
    first, second, third = in_the_sector().candidates
    assert first.used.all()
    for planet, later in ((INNER, second), (INNER, third), (MIDDLE, third)):
        offset = np.abs(in_days_of(SECTOR.time, planet))
        assert not later.used[offset < 0.7 * planet.duration_days].any()
    untouched = np.min([np.abs(in_days_of(SECTOR.time, planet)) / planet.duration_days for planet in SYSTEM], axis=0)
    assert third.used[untouched > 0.9].all()
    assert first.used.sum() > second.used.sum() > third.used.sum()


def in_days_of(time: Floats, planet: Planet) -> Floats:
    cycles = (time - planet.transit_time_days) / planet.period_days
    return np.asarray((cycles - np.round(cycles)) * planet.period_days)


def test_transit_time_is_that_of_the_first_transit_in_the_curve() -> None:
    late = replace(MIDDLE, transit_time_days=4 * MIDDLE.period_days + 1.9)
    time = times(cadence_days=HALF_HOUR_DAYS) + 1_325.0
    curve = light_curve(time, [late], noise_ppm=300.0)
    (candidate,) = found_in(curve, max_planets=1).candidates
    assert 0 <= candidate.transit_time_days - time[0] < candidate.period_days


def test_the_first_spectrum_is_that_of_the_whole_curve() -> None:
    result = in_the_sector()
    assert result.first is not None
    assert np.array_equal(result.first.power, result.candidates[0].periodogram.power)
    assert result.first.period_days[0] == pytest.approx(0.6)
    assert result.first.period_days[-1] == pytest.approx(SECTOR.baseline_days)
    at_peak = result.first.period_days[int(np.argmax(result.first.power))]
    assert at_peak == pytest.approx(INNER.period_days, rel=0.002)


# Thresholds


def test_nothing_below_the_thresholds_is_a_candidate() -> None:
    strongest, weaker, _ = in_the_sector().candidates
    assert found_in(SECTOR, min_sde=strongest.sde + 1).candidates == ()
    between = 0.5 * (strongest.snr + weaker.snr)
    assert len(found_in(SECTOR, min_snr=between).candidates) == 1
    assert found_in(SECTOR, min_sde=strongest.sde + 1).first is not None  # the spectrum is shown all the same


def test_periods_outside_the_limits_are_not_found() -> None:
    curve = light_curve(times(cadence_days=HALF_HOUR_DAYS), [MIDDLE], noise_ppm=300.0)
    for limits in ({"min_period": 6.0, "max_period": 9.0}, {"max_period": 2.0}):
        for candidate in found_in(curve, **limits).candidates:
            assert limits.get("min_period", 0.6) * 0.99 <= candidate.period_days <= limits["max_period"] * 1.01


@pytest.mark.parametrize("mode", ["boxes", "peaks"])
def test_white_noise_holds_no_planet(mode: str) -> None:
    time = times(cadence_days=HALF_HOUR_DAYS)
    found = [found_in(light_curve(time, seed=seed), **MODES[mode]).candidates for seed in range(5)]
    assert found == [()] * 5


# Single dimmings


@pytest.mark.parametrize("mode", ["boxes", "peaks"])
def test_a_single_dimming_is_set_aside_and_the_planet_behind_it_found(mode: str) -> None:
    time = times(cadence_days=HALF_HOUR_DAYS)
    once = np.asarray(-0.1 * (np.abs(time - 11.31) < 0.2))
    result = found_in(light_curve(time, [MIDDLE], noise_ppm=300.0, star=SUN, added=once), **MODES[mode])
    assert result.events == pytest.approx((11.31,), abs=0.03)
    (candidate,) = result.candidates
    assert_is(candidate, MIDDLE)
    assert not candidate.used[np.abs(time - 11.31) < 0.2].any()


def test_a_curve_of_nothing_but_dimmings_comes_to_an_end() -> None:
    time = times(cadence_days=HALF_HOUR_DAYS)
    moments = np.random.default_rng(3).uniform(0.5, 26.5, 25)
    dips = -sum(0.01 * (1.0 + number % 7) * (np.abs(time - at) < 0.08) for number, at in enumerate(moments))
    result = found_in(light_curve(time, noise_ppm=300.0, added=np.asarray(dips)), run_tls=False)
    assert len(result.events) <= 9
    assert len(result.candidates) <= 3


# The end


def test_a_curve_of_which_half_is_masked_is_searched_no_more() -> None:
    """Observed at the known transits mainly, as from the ground: with them masked, too little is left."""
    sparse, dense = times(cadence_days=HALF_HOUR_DAYS), times(cadence_days=120 / 86_400)
    near = dense[np.abs(in_days_of(dense, INNER)) < 0.7 * INNER.duration_days]
    curve = light_curve(np.union1d(sparse, near), [INNER, MIDDLE], noise_ppm=300.0, star=SUN)
    even = light_curve(sparse, [INNER, MIDDLE], noise_ppm=300.0, star=SUN)
    (only,) = found_in(curve, run_tls=False).candidates
    first, second = found_in(even, run_tls=False).candidates
    assert_is(only, INNER)
    assert_is(first, INNER)
    assert_is(second, MIDDLE)


# The same bytes


def as_bytes(found: object) -> bytes:
    """Every number and array of it."""
    return pickle.dumps(found_values(found))


def found_values(found: Any) -> Any:
    if isinstance(found, np.ndarray):
        return found.dtype.str, found.tobytes()
    if isinstance(found, tuple):
        return tuple(found_values(one) for one in found)
    if hasattr(found, "__dataclass_fields__"):
        return tuple(found_values(getattr(found, name)) for name in found.__dataclass_fields__)
    return repr(found)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_curve_gives_the_same_bytes_whatever_came_before(mode: str) -> None:
    time = times(cadence_days=HALF_HOUR_DAYS)
    ours = light_curve(time, [INNER, MIDDLE], noise_ppm=300.0, seed=1)
    other = light_curve(time[:900], [OUTER], noise_ppm=900.0, seed=2)
    choice = {**MODES[mode], "max_planets": 2, "min_period": 2.0, "max_period": 6.0}
    first = as_bytes(found_in(ours, **choice))
    assert as_bytes(found_in(other, **choice)) != first
    assert as_bytes(found_in(ours, **choice)) == first


def test_the_curve_is_left_as_it_was() -> None:
    curve = light_curve(times(cadence_days=HALF_HOUR_DAYS), SYSTEM)
    arrays = ("time", "flux", "noise", "trend", "observed", "segment")
    before = [getattr(curve, name).copy() for name in arrays]
    found_in(curve)
    assert all(np.array_equal(getattr(curve, name), old) for name, old in zip(arrays, before, strict=True))


# Hostile curves


def hostile() -> dict[str, PreparedLightCurve]:
    time = times(cadence_days=HALF_HOUR_DAYS)
    generator = np.random.default_rng(0)
    noisy = 1.0 + 5e-4 * generator.standard_normal(len(time))
    each_fiftieth = np.arange(len(time)) % 50 == 3
    clumps = np.concatenate([np.linspace(0, 0.2, 60), np.linspace(20, 20.2, 60)])
    few = {
        f"{count} points": prepared(np.linspace(0.0, 5.0, count), 1.0 + 1e-3 * generator.standard_normal(count))
        for count in (2, 3, 4, 10, 50)
    }
    return few | {
        "no points": prepared(np.zeros(0), np.zeros(0)),
        "one point": prepared(np.zeros(1), np.ones(1)),
        "shorter than the shortest period": prepared(np.linspace(0, 0.5, 100), noisy[:100]),
        "constant": prepared(time, np.ones(len(time))),
        "constant below 1": prepared(time, np.full(len(time), 0.999)),
        "zero": prepared(time, np.zeros(len(time))),
        "negative": prepared(time, noisy - 2.0),
        "two clumps": prepared(clumps, 1.0 + 5e-4 * generator.standard_normal(120)),
        "one point a day": prepared(np.arange(30.0), noisy[:30]),
        "outliers of 1e5": prepared(time, np.where(each_fiftieth, 1e5, noisy)),
        "outliers of -1e5": prepared(time, np.where(each_fiftieth, -1e5, noisy)),
        "one outlier of -1e5": prepared(time, np.where(np.arange(len(time)) == 700, -1e5, noisy)),
        "a jump": prepared(time, np.asarray(noisy - 0.01 * (time > 13.0))),
        "a slope": prepared(time, noisy + 0.01 * time),
        "a sine": prepared(time, noisy + 0.01 * np.sin(4.0 * time)),
        "a random walk": prepared(time, 1.0 + np.cumsum(1e-4 * generator.standard_normal(len(time)))),
        "two values": prepared(time, np.where(np.arange(len(time)) % 2, 0.99, 1.0)),
    }


@pytest.mark.parametrize("mode", ["boxes", "peaks"])
@pytest.mark.parametrize("name", hostile())
def test_a_hostile_curve_raises_nothing(name: str, mode: str) -> None:
    assert_sound(hostile()[name], {**MODES[mode], "min_period": 1.0})


@pytest.mark.parametrize("name", ["3 points", "50 points", "constant", "negative", "two clumps", "outliers of -1e5"])
@pytest.mark.parametrize("mode", ["transits", "full"])
def test_nor_does_it_where_transits_are_searched_over_all_periods(name: str, mode: str) -> None:
    assert_sound(hostile()[name], {**MODES[mode], "min_period": 1.5, "max_period": 4.0})


def test_nor_does_it_where_everything_is_a_candidate() -> None:
    for curve in hostile().values():
        assert_sound(curve, {"min_sde": 0.0, "min_snr": 0.0, "min_period": 1.5})


def assert_sound(curve: PreparedLightCurve, choice: dict[str, Any]) -> None:
    result = found_in(curve, **choice)
    assert len(result.candidates) <= 3
    for candidate in result.candidates:
        numbers = (candidate.period_days, candidate.transit_time_days, candidate.duration_days, candidate.depth)
        assert np.isfinite([*numbers, candidate.sde, candidate.snr, candidate.depth_uncertainty]).all()
        assert candidate.period_days > 0
        assert candidate.duration_days > 0


def test_a_constant_curve_has_no_spectrum() -> None:
    assert found_in(hostile()["constant"]).candidates == ()


@pytest.mark.parametrize("name", ["no points", "one point", "shorter than the shortest period"])
def test_a_curve_without_room_for_one_period_is_not_searched(name: str) -> None:
    assert found_in(hostile()[name]).candidates == ()
