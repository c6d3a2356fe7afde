"""Signals at given ephemerides, and their matches among the signals of the search."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from tasks.transits.candidate import Candidate
from tasks.transits.columns import EphemerisUse, Reason
from tasks.transits.given import Ephemeris
from tasks.transits.light_curve import TIME_ZERO_DAYS, PreparedLightCurve
from tasks.transits.matching import Match, find_match, is_harmonic
from tasks.transits.searching.ephemerides import GivenSignal, measure_ephemerides
from tests.transits.synthetic import Planet, make_candidate, make_planet_candidate, make_times, simulate_light_curve

ZERO = TIME_ZERO_DAYS["BTJD"]
BIG = Planet(period_days=3.3, transit_time_days=1.1, radius_ratio=0.08)
SMALL = Planet(period_days=5.17, transit_time_days=2.4, radius_ratio=0.03, scaled_axis=12.0)


@pytest.fixture(scope="module")
def curve() -> PreparedLightCurve:
    return simulate_light_curve(planets=[BIG, SMALL], noise_ppm=600.0, seed=3)


def measure(curve: PreparedLightCurve, *given: Ephemeris, found: Sequence[Candidate] = ()) -> list[GivenSignal]:
    signals = measure_ephemerides(curve, given, found)
    assert not any(isinstance(signal, Reason) for signal in signals)
    return signals  # type: ignore[return-value]


def test_exact_ephemerides_are_fitted(curve: PreparedLightCurve) -> None:
    given = [Ephemeris(each.period_days, ZERO + each.transit_time_days, each.duration_days) for each in (SMALL, BIG)]
    for planet, signal in zip((SMALL, BIG), measure(curve, *given), strict=True):
        assert signal.use is EphemerisUse.FITTED
        assert signal.candidate.period_days == pytest.approx(planet.period_days, rel=1e-3)
        assert signal.candidate.duration_days == pytest.approx(planet.duration_days, rel=0.15)
        assert np.sqrt(signal.candidate.depth) == pytest.approx(planet.radius_ratio, rel=0.15)


@pytest.mark.parametrize("period", [3.25, 2.8, 3.8])
def test_wrong_periods_are_refined_to_within_20_percent(curve: PreparedLightCurve, period: float) -> None:
    (signal,) = measure(curve, Ephemeris(period))
    assert signal.use is EphemerisUse.REFINED
    assert signal.candidate.period_days == pytest.approx(BIG.period_days, rel=1e-3)


def test_a_stronger_planet_nearby_does_not_replace_a_given_one(curve: PreparedLightCurve) -> None:
    small = Planet(period_days=3.9, transit_time_days=0.4, radius_ratio=0.03)
    both = simulate_light_curve(planets=[BIG, small], noise_ppm=600.0, seed=4)
    given = Ephemeris(small.period_days, ZERO + small.transit_time_days, small.duration_days)
    (signal,) = measure(both, given, found=[make_planet_candidate(both, BIG)])
    assert signal.candidate.period_days == pytest.approx(small.period_days, rel=2e-3)


def test_half_of_the_period_of_another_given_candidate_has_its_transits(curve: PreparedLightCurve) -> None:
    whole, half = measure(curve, Ephemeris(BIG.period_days), Ephemeris(BIG.period_days / 2))
    assert half.candidate.snr == pytest.approx(whole.candidate.snr / np.sqrt(2), rel=0.1)


def test_transits_below_the_noise_are_measured_where_they_should_be(curve: PreparedLightCurve) -> None:
    given = Ephemeris(9.0, ZERO + 7.7, 0.1)
    big = Ephemeris(BIG.period_days, ZERO + BIG.transit_time_days)
    small = Ephemeris(SMALL.period_days, ZERO + SMALL.transit_time_days)
    signal = measure(curve, given, big, small)[0]
    assert signal.use is EphemerisUse.EXACT
    assert (signal.candidate.period_days, signal.candidate.duration_days) == (9.0, 0.1)
    assert abs(signal.candidate.snr) < 5


def test_a_refined_signal_must_have_the_given_epoch(curve: PreparedLightCurve) -> None:
    given = Ephemeris(3.0, ZERO + BIG.transit_time_days + 3.3 + 0.9, 0.1)
    found = [make_planet_candidate(curve, planet) for planet in (BIG, SMALL)]
    (signal,) = measure(curve, given, found=found)
    assert signal.use is EphemerisUse.EXACT


def test_candidates_without_a_period_or_data_have_no_signal(curve: PreparedLightCurve) -> None:
    assert measure_ephemerides(curve, [Ephemeris(None, ZERO + 3.0)]) == [Reason.NO_GIVEN_PERIOD]
    holes = simulate_light_curve(make_times(gaps=[(5.0, 6.0), (15.0, 16.0), (25.0, 26.0)]), seed=5)
    (signal,) = measure(holes, Ephemeris(10.0, ZERO + 5.5, 0.1))
    assert signal.candidate.snr == 0.0


@pytest.mark.parametrize(
    ("period", "time", "harmonic"),
    [(3.3, 1.1, 1.0), (6.6, 4.4, 2.0), (1.65, 1.1, 0.5), (9.9, 7.7, 3.0), (4.95, 1.1, 1.5), (3.3, 2.0, None)],
)
def test_harmonics_match_if_their_transits_coincide(
    curve: PreparedLightCurve, period: float, time: float, harmonic: float | None
) -> None:
    given = make_candidate(curve, 3.3, 1.1, 0.1)
    found: list[Candidate] = [make_candidate(curve, 7.9, 0.2, 0.1), make_candidate(curve, period, time, 0.1, number=2)]
    assert find_match(curve, given, found) == (None if harmonic is None else Match(2, harmonic))
    assert not is_harmonic(curve, given, make_candidate(curve, 3.35, 1.1, 0.05), Fraction(1))
