"""The 27 features, where the truth is known: from made light curves, and from real stars with known planets."""

from __future__ import annotations

import csv
import itertools
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.transits.candidate import Candidate
from tasks.transits.columns import FEATURES, Reason
from tasks.transits.features import Features, masked_features, measure
from tasks.transits.features.chance import SMALLEST, false_alarm_probability, independent_trials, threshold_sigma
from tasks.transits.light_curve import PreparedLightCurve, Segment, Star
from tasks.transits.orbit import central_duration_days, scaled_axis
from tasks.transits.params import TransitParams
from tasks.transits.preparation import prepare
from tasks.transits.reading import read_light_curve
from tests.transits.synthetic import (
    SUN,
    Planet,
    add_tls_fit,
    make_candidate,
    make_planet_candidate,
    make_prepared_curve,
    make_times,
    simulate_light_curve,
)

ROOT = Path(__file__).resolve().parents[2]
EVEN_DISC = Planet(limb_darkening=(0.0, 0.0))  # its depth is the radius ratio squared, exactly
TEN_MINUTES_DAYS = 600.0 / 86_400.0


def sound(features: Features) -> Features:
    """``features``, when each of the 27 is a finite plain number or masked, and none both."""
    assert tuple(features.values) == FEATURES
    assert {name for name, value in features.values.items() if value is None} == set(features.masks)
    assert all(isinstance(reason, Reason) for reason in features.masks.values())
    for name, value in features.values.items():
        assert value is None or (type(value) in (int, float) and math.isfinite(value)), name
    assert 0 <= features.values["transits_observed"] <= features.values["transits_expected"]
    return features


def of(planet: Planet, curve: PreparedLightCurve) -> Features:
    return sound(measure(curve, make_planet_candidate(curve, planet)))


# Depth and signal-to-noise


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("radius_ratio", [0.02, 0.1])
def test_depth_is_the_radius_ratio_squared_within_its_uncertainty(seed: int, radius_ratio: float) -> None:
    planet = replace(EVEN_DISC, radius_ratio=radius_ratio)
    features = of(planet, simulate_light_curve(planets=[planet], seed=seed))
    depth, sigma = features.values["depth_ppm"], features.values["depth_uncertainty_ppm"]
    assert depth == pytest.approx(1e6 * radius_ratio**2, abs=3 * sigma)
    assert features.values["radius_ratio"] == pytest.approx(radius_ratio, abs=3 * sigma / 2e6 / radius_ratio)


def test_depth_deviates_by_as_much_as_its_uncertainty_says() -> None:
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    planet = replace(EVEN_DISC, radius_ratio=0.02)
    found = [of(planet, simulate_light_curve(time, [planet], seed=seed)).values for seed in range(100)]
    off = [(one["depth_ppm"] - 400.0) / one["depth_uncertainty_ppm"] for one in found]
    assert np.std(off) == pytest.approx(1.0, abs=0.22)  # three sigma of a scatter from 100
    assert np.mean(off) == pytest.approx(0.0, abs=0.35)


def test_snr_of_a_box_is_that_of_the_mean_of_its_points() -> None:
    time = make_times()
    inside = np.abs((time + 0.5) % 3.0 - 1.5) < 0.0501  # no point at the very edge
    curve = make_prepared_curve(time, 1.0 - 0.001 * inside, noise_ppm=500.0)
    features = sound(measure(curve, make_candidate(curve, 3.0, 1.0, 0.1002, ingress_fraction=0.0)))
    points = features.values["in_transit_points"]
    assert points == np.count_nonzero(inside)
    assert features.values["depth_ppm"] == pytest.approx(1000.0)
    assert features.values["snr"] == pytest.approx(0.001 / 500e-6 * math.sqrt(points), rel=0.03)  # 3 %: the level's own


def test_a_point_of_more_noise_counts_less() -> None:
    curve = simulate_light_curve(planets=[EVEN_DISC], noise_ppm=100.0)
    bad = np.random.default_rng(1).random(len(curve.time)) < 0.3
    flux, noise = np.where(bad, curve.flux + 0.05, curve.flux), np.where(bad, 1.0, curve.noise)
    features = of(EVEN_DISC, replace(curve, flux=flux, noise=noise))
    assert features.values["depth_ppm"] == pytest.approx(1e4, abs=3 * features.values["depth_uncertainty_ppm"])


def test_white_noise_is_not_taken_for_red() -> None:
    for seed in range(5):
        values = of(EVEN_DISC, simulate_light_curve(planets=[EVEN_DISC], seed=seed)).values
        assert 0.8 * values["snr"] < values["pink_noise_snr"] <= 1.0001 * values["snr"]


def red_noise(time: np.ndarray, length_days: float, sigma: float, seed: int) -> np.ndarray:
    """Noise that is the same for ``length_days`` at a time."""
    step = np.random.default_rng(seed).normal(0.0, sigma, int(time[-1] / length_days) + 2)
    return step[(time / length_days).astype(int)]


def test_in_red_noise_depths_scatter_as_the_pink_noise_says() -> None:
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    planet = replace(EVEN_DISC, radius_ratio=0.03)
    off, white = [], []
    for seed in range(60):
        curve = simulate_light_curve(time, [planet], seed=seed, added=red_noise(time, 0.12, 500e-6, 1000 + seed))
        values = of(planet, curve).values
        sigma = values["depth_ppm"] / values["pink_noise_snr"]
        off.append((values["depth_ppm"] - 900.0) / sigma)
        white.append((values["depth_ppm"] - 900.0) / values["depth_uncertainty_ppm"])
    assert 0.7 < np.std(off) < 1.3
    assert np.std(white) > 2.0


# Transits


def test_transits_in_a_gap_are_expected_and_not_observed() -> None:
    time = make_times(gaps=[(9.5, 14.5)])  # of 1, 4, 7, 10, 13, ...
    values = of(EVEN_DISC, simulate_light_curve(time, [EVEN_DISC])).values
    assert (values["transits_expected"], values["transits_observed"]) == (9, 7)


@pytest.mark.parametrize(("visible", "count"), [(0.2, 8), (0.5, 9), (1.0, 9)])
def test_a_transit_at_the_edge_counts_with_a_third_of_it(visible: float, count: int) -> None:
    first = (visible - 0.5) * EVEN_DISC.duration_days
    planet = replace(EVEN_DISC, transit_time_days=first)  # the last one is at 24 days
    values = of(planet, simulate_light_curve(make_times(days=26.0), [planet])).values
    assert (values["transits_expected"], values["transits_observed"]) == (count, count)
    assert values["depth_ppm"] == pytest.approx(1e4, abs=3 * values["depth_uncertainty_ppm"])


def test_a_point_of_a_transit_before_the_start_makes_none_that_was_not_expected() -> None:
    curve = simulate_light_curve(np.arange(0.0, 20.0, 0.02))
    features = sound(
        measure(curve, make_candidate(curve, 3.0, 2.98, 0.05))
    )  # one of two and a half points at -0.02 days
    assert (features.values["transits_expected"], features.values["transits_observed"]) == (6, 6)


def test_a_few_points_of_a_transit_are_not_an_observed_one() -> None:
    middle = 10.0
    reach = 0.5 * EVEN_DISC.duration_days
    time = make_times(gaps=[(middle - 0.6 * reach, middle + 2 * reach)])  # leaves a fifth
    values = of(EVEN_DISC, simulate_light_curve(time, [EVEN_DISC])).values
    assert (values["transits_expected"], values["transits_observed"]) == (9, 8)


def test_enough_points_are_as_many_as_the_segments_own_cadence_gives() -> None:
    coarse = 1800.0 / 86_400.0
    time = np.concatenate([np.arange(0.0, 10.0, 20.0 / 86_400.0), np.arange(10.5, 37.5, coarse)])
    curve = simulate_light_curve(time, [EVEN_DISC])
    segments = (*curve.segments, Segment("S2", "TESS", "QLP", 1800.0, "BTJD"))
    curve = replace(curve, segment=(time > 10.2).astype(np.int64), segments=segments)
    values = of(EVEN_DISC, curve).values
    assert (values["transits_expected"], values["transits_observed"]) == (13, 13)


def test_a_single_transit_has_no_even_ones() -> None:
    planet = replace(EVEN_DISC, period_days=40.0, transit_time_days=13.0)
    curve = simulate_light_curve(planets=[planet])
    features = sound(measure(curve, replace(make_planet_candidate(curve, planet), period_uncertainty_days=None)))
    assert (features.values["transits_expected"], features.values["transits_observed"]) == (1, 1)
    assert features.values["odd_depth_ppm"] == pytest.approx(1e4, abs=3 * features.values["depth_uncertainty_ppm"])
    assert features.masks["even_depth_ppm"] == features.masks["odd_even_mismatch_sigma"] == "no_even_transits"
    assert features.masks["period_uncertainty_days"] == "not_measured"


def test_odd_transits_that_fall_into_gaps_are_masked() -> None:
    gaps = [(time - 0.3, time + 0.3) for time in np.arange(1.0, 27.0, 6.0)]
    features = of(EVEN_DISC, simulate_light_curve(make_times(gaps=gaps), [EVEN_DISC]))
    assert features.masks["odd_depth_ppm"] == features.masks["odd_even_mismatch_sigma"] == "no_odd_transits"
    assert features.values["transits_observed"] == 4
    assert features.values["even_depth_ppm"] == pytest.approx(features.values["depth_ppm"])


def test_points_that_an_earlier_candidate_took_are_not_used() -> None:
    curve = simulate_light_curve(planets=[EVEN_DISC])
    used = np.abs(curve.time - 10.0) > 0.5
    hidden = replace(curve, flux=np.where(used, curve.flux, np.nan))
    features = sound(measure(hidden, make_planet_candidate(curve, EVEN_DISC, used=used)))
    assert (features.values["transits_expected"], features.values["transits_observed"]) == (9, 8)
    assert features.values["depth_ppm"] == pytest.approx(1e4, abs=3 * features.values["depth_uncertainty_ppm"])


# Eclipsing binaries and other planets


def test_odd_and_even_eclipses_of_a_binary_at_half_its_period() -> None:
    binary = Planet(period_days=6.0, radius_ratio=0.1, limb_darkening=(0.0, 0.0), secondary_depth=0.004)
    curve = simulate_light_curve(planets=[binary])
    found = make_candidate(curve, 3.0, 1.0, binary.duration_days, binary.ingress_fraction)
    values = sound(measure(curve, found)).values
    sigma = 2 * values["depth_uncertainty_ppm"]
    assert values["odd_depth_ppm"] == pytest.approx(10_000.0, abs=3 * sigma)
    # The occulted star is part of the light between the eclipses
    assert values["even_depth_ppm"] == pytest.approx(4_000.0, abs=3 * sigma)
    assert values["odd_even_mismatch_sigma"] > 50


@pytest.mark.parametrize("noise_ppm", [50.0, 500.0, 5000.0])
def test_a_planets_odd_and_even_transits_agree(noise_ppm: float) -> None:
    mismatches = [
        of(Planet(), simulate_light_curve(planets=[Planet()], noise_ppm=noise_ppm, seed=seed)).values[
            "odd_even_mismatch_sigma"
        ]
        for seed in range(12)
    ]
    assert max(mismatches) < 4.0
    assert np.mean(mismatches) < 1.4  # 0.8 of a normal distribution


def test_transits_that_vary_one_by_one_are_no_odd_even_difference() -> None:
    curve = simulate_light_curve(planets=[EVEN_DISC], noise_ppm=100.0)
    spots = np.array([1.1, 0.9, 0.95, 1.15, 0.85, 1.0, 1.12, 0.9, 1.0])
    cycle = np.round((curve.time - 1.0) / 3.0).astype(int).clip(0, 8)
    values = of(EVEN_DISC, replace(curve, flux=1.0 + (curve.flux - 1.0) * spots[cycle])).values
    assert values["odd_even_mismatch_sigma"] < 1.5


def test_a_secondary_eclipse_is_found_at_its_phase() -> None:
    binary = replace(EVEN_DISC, secondary_depth=0.001)
    values = of(binary, simulate_light_curve(planets=[binary])).values
    assert values["secondary_phase"] == pytest.approx(0.5, abs=binary.duration_days / binary.period_days / 8)
    sigma = values["secondary_depth_ppm"] / values["secondary_significance"]
    # Of a box that is as long as the whole eclipse, its slopes included
    expected = 1000.0 * (1.0 - binary.ingress_fraction) / (1.0 + 0.001)
    assert values["secondary_depth_ppm"] == pytest.approx(expected, abs=4 * sigma + 30)


def test_an_eccentric_binarys_secondary_is_found_at_its_phase() -> None:
    time = make_times()
    duration = EVEN_DISC.duration_days
    phase = ((time - 1.0) / 3.0) % 1.0
    curve = simulate_light_curve(time, [EVEN_DISC], added=np.where(np.abs(phase - 0.83) < duration / 6.0, -0.0008, 0.0))
    values = of(EVEN_DISC, curve).values
    assert values["secondary_phase"] == pytest.approx(0.83, abs=duration / 3.0 / 8)
    assert values["secondary_significance"] > 10


def test_without_a_secondary_its_significance_is_that_of_the_best_of_many() -> None:
    found = [of(EVEN_DISC, simulate_light_curve(planets=[EVEN_DISC], seed=seed)).values for seed in range(20)]
    significance = [one["secondary_significance"] for one in found]
    assert min(significance) > 1.0
    assert max(significance) < 5.0


def test_a_brightening_is_known_as_such_and_is_no_secondary() -> None:
    time = make_times()
    phase = ((time - 1.0) / 3.0) % 1.0
    curve = simulate_light_curve(time, [EVEN_DISC], added=np.where(np.abs(phase - 0.3) < 0.02, 0.001, 0.0))
    features = of(EVEN_DISC, curve)
    assert features.evidence.positive_significance > 15
    assert features.values["secondary_significance"] < 5


def test_a_point_alone_in_a_gap_of_the_phases_is_no_secondary() -> None:
    time = make_times()
    phase = ((time - 1.0) / 3.0) % 1.0
    curve = simulate_light_curve(time, [EVEN_DISC])
    alone = np.flatnonzero(np.abs(phase - 0.5) < 0.0005)[0]
    kept = (np.abs(phase - 0.5) > 0.08) | (np.arange(len(time)) == alone)
    flux = np.where(np.arange(len(time)) == alone, 0.99, curve.flux)
    values = of(EVEN_DISC, make_prepared_curve(time[kept], flux[kept])).values
    assert abs(values["secondary_phase"] - 0.5) > 0.05
    assert values["secondary_significance"] < 5


def test_a_secondary_without_room_is_masked() -> None:
    curve = simulate_light_curve()
    features = sound(measure(curve, make_candidate(curve, 1.0, 0.5, 0.35)))
    assert features.masks["secondary_phase"] == features.masks["secondary_depth_ppm"] == "no_room_for_secondary"


def test_a_light_curve_of_transits_alone_has_no_secondary_coverage() -> None:
    time = make_times(cadence_days=20.0 / 86_400.0)
    near = np.abs((time + 0.5) % 3.0 - 1.5) < 0.165  # 1.43 durations either side
    curve = simulate_light_curve(time[near], [EVEN_DISC])
    features = of(EVEN_DISC, curve)
    assert features.masks["secondary_significance"] in {"no_secondary_coverage", "no_noise_estimate"}


def test_another_planets_transits_are_neither_a_secondary_nor_noise() -> None:
    small = replace(EVEN_DISC, radius_ratio=0.05)
    large = Planet(period_days=8.1, transit_time_days=2.3, radius_ratio=0.1)
    curve = simulate_light_curve(planets=[small, large])
    first, second = make_planet_candidate(curve, small), replace(make_planet_candidate(curve, large), number=2)
    alone, together = measure(curve, first), measure(curve, first, [first, second])
    assert alone.values["secondary_significance"] > 10
    assert together.values["secondary_significance"] < 5
    assert together.values["depth_ppm"] == pytest.approx(2500.0, abs=3 * together.values["depth_uncertainty_ppm"])


def test_a_candidate_of_the_same_period_does_not_hide_the_secondary() -> None:
    binary = replace(EVEN_DISC, secondary_depth=0.002)
    curve = simulate_light_curve(planets=[binary])
    first = make_planet_candidate(curve, binary)
    second = replace(first, number=2, transit_time_days=first.transit_time_days + 1.5)
    for other in (second, replace(second, period_days=6.0), replace(second, period_days=1.5)):
        values = measure(curve, first, [first, other]).values
        assert values["secondary_phase"] == pytest.approx(0.5, abs=0.01)
        assert values["secondary_significance"] > 20


# Orbits and chance


def test_duration_ratio_is_one_for_a_central_transit_of_a_star_of_that_density() -> None:
    planet = Planet(period_days=3.0, scaled_axis=scaled_axis(3.0, SUN.density), radius_ratio=0.1)
    values = of(planet, simulate_light_curve(planets=[planet], noise_ppm=50.0)).values
    assert values["duration_ratio"] == pytest.approx(1.0, abs=0.01)
    giant = simulate_light_curve(planets=[planet], star=Star(radius=4.0, mass=1.5))
    assert of(planet, giant).values["duration_ratio"] < 0.35


def test_the_earths_orbit() -> None:
    assert scaled_axis(365.256, 1.0) == pytest.approx(215.0, rel=1e-3)
    assert central_duration_days(365.256, 1.0, 0.0) == pytest.approx(13.0 / 24.0, rel=0.01)


def test_an_orbit_inside_the_star_has_no_duration() -> None:
    curve = simulate_light_curve(star=Star(radius=20.0, mass=1.0))
    assert measure(curve, make_candidate(curve, 1.0, 0.5, 0.1)).masks["duration_ratio"] == "inside_star"


def test_false_alarm_probability() -> None:
    trials = independent_trials(1461.0, (0.0, 700.0), 0.25)
    assert trials == pytest.approx(1.6e7, rel=0.03)
    assert false_alarm_probability(7.1, trials) == pytest.approx(1e-5, rel=0.05)
    assert false_alarm_probability(0.0, trials) == 1.0
    assert false_alarm_probability(-50.0, 10.0) == 1.0
    assert false_alarm_probability(500.0, trials) == SMALLEST > 0.0
    rising = [false_alarm_probability(snr, trials) for snr in np.arange(-1.0, 40.0, 0.25)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(rising))
    assert independent_trials(0.0, (1.0, 1.0), 0.1) == 1.0


def test_false_alarms_are_as_frequent_as_the_formula_says() -> None:
    best = np.random.default_rng(5).normal(size=(4000, 500)).max(axis=1)
    for snr in (2.5, 3.0, 3.5):
        assert np.mean(best >= snr) == pytest.approx(false_alarm_probability(snr, 500.0), abs=0.025)


def test_threshold_sigma_is_the_inverse_of_both_tails() -> None:
    for sigma in (0.0, 1.0, 3.0, 5.5):
        assert threshold_sigma(math.erfc(sigma / math.sqrt(2.0))) == pytest.approx(sigma, abs=1e-6)


# What the search hands over, and what cannot be measured


def test_what_the_search_measured_is_passed_on() -> None:
    curve = simulate_light_curve(planets=[EVEN_DISC])
    found = add_tls_fit(make_planet_candidate(curve, EVEN_DISC))
    features = sound(measure(curve, found))
    assert features.masks == {}
    assert features.values["period_days"] == 3.0
    assert features.values["period_uncertainty_days"] == 0.001
    assert features.values["sde"] == 12.0
    assert features.values["ingress_fraction"] == found.ingress_fraction
    tls = [features.values[name] for name in FEATURES if name.startswith("tls_")]
    assert tls == [3.0, 15.0, pytest.approx(11_000.0), found.duration_days, 0.9]


def test_without_tls_its_five_are_masked() -> None:
    features = of(EVEN_DISC, simulate_light_curve(planets=[EVEN_DISC]))
    assert features.masks == dict.fromkeys(FEATURES[22:], "no_tls_fit")


def test_a_star_without_a_candidate() -> None:
    features = masked_features("constant_flux")
    assert tuple(features.values) == tuple(features.masks) == FEATURES
    assert set(features.values.values()) == {None}
    assert set(features.masks.values()) == {"constant_flux"}
    with pytest.raises(ValueError, match="'bored' is not a valid Reason"):
        masked_features("bored")


@pytest.mark.parametrize("field", ["period_days", "duration_days", "transit_time_days", "ingress_fraction"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_a_candidate_that_is_none_is_refused(field: str, value: float) -> None:
    curve = simulate_light_curve()
    found = replace(make_planet_candidate(curve, EVEN_DISC), **{field: value})
    if value == 0.0 and field not in {"period_days", "duration_days"}:
        sound(measure(curve, found))
        return
    with pytest.raises(ValueError, match=f"{field} of candidate 1 is {value}"):
        measure(curve, found)


def test_a_candidate_of_another_light_curve_is_refused() -> None:
    other = simulate_light_curve(make_times(days=5.0))
    with pytest.raises(ValueError, match="of a light curve of 3600 points given with one of 19440"):
        measure(simulate_light_curve(), make_planet_candidate(other, EVEN_DISC))


def test_flux_that_rises_in_transit_has_no_radius() -> None:
    curve = simulate_light_curve(planets=[EVEN_DISC])
    features = of(EVEN_DISC, replace(curve, flux=2.0 - curve.flux))
    assert features.values["depth_ppm"] < 0
    assert features.masks["radius_ratio"] == "no_dimming"
    assert features.values["false_alarm_probability"] == 1.0


def test_three_points() -> None:
    curve = make_prepared_curve(np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.99, 1.0]))
    features = sound(measure(curve, make_candidate(curve, 5.0, 1.0, 0.1)))
    assert features.values["depth_ppm"] == pytest.approx(10_000.0)
    assert features.values["depth_uncertainty_ppm"] == pytest.approx(
        500.0 * math.sqrt(1.0 + 1.0 / 2.0)
    )  # the level's too
    assert features.masks["pink_noise_snr"] == features.masks["false_alarm_probability"] == "no_noise_estimate"
    assert features.values["in_transit_points"] == features.values["transits_observed"] == 1


def test_constant_flux() -> None:
    features = of(EVEN_DISC, make_prepared_curve(make_times(), np.ones(len(make_times()))))
    assert features.values["depth_ppm"] == features.values["snr"] == features.values["secondary_depth_ppm"] == 0.0
    assert features.masks["radius_ratio"] == "no_dimming"


def test_all_points_in_transit_leave_no_level() -> None:
    curve = simulate_light_curve(make_times(days=1.0))
    features = sound(measure(curve, make_candidate(curve, 2.5, 0.5, 2.0)))
    assert features.masks["depth_ppm"] == features.masks["duration_ratio"] == "no_out_of_transit_points"
    assert features.values["transits_expected"] == 1


def test_no_point_in_transit() -> None:
    curve = simulate_light_curve(make_times(gaps=[(start - 0.5, start + 0.5) for start in np.arange(1.0, 28.0, 3.0)]))
    features = of(EVEN_DISC, curve)
    assert features.masks["depth_ppm"] == features.masks["odd_depth_ppm"] == "no_transit_points"
    assert (features.values["transits_expected"], features.values["transits_observed"]) == (9, 0)


def hostile(seed: int) -> tuple[PreparedLightCurve, Candidate]:
    """A light curve and a candidate that nobody would want, but that are what their types say they are."""
    rng = np.random.default_rng(seed)
    count = int(rng.choice([1, 2, 3, 7, 50, 2000]))
    time = np.unique(rng.choice([0.0, 2_458_325.0]) + np.cumsum(rng.choice([1e-4, 0.02, 0.02, 9.0], count)))
    flux = rng.choice([0.0, 1.0, 1e-12, 1e6]) + rng.choice([0.0, 1e-9, 1e-3, 1e3]) * rng.standard_normal(len(time))
    curve = make_prepared_curve(time, flux, noise_ppm=float(rng.choice([1e-6, 300.0, 1e9])))
    period = float(10 ** rng.uniform(-3, 3))
    duration = period * float(10 ** rng.uniform(-4, 0.3))
    used = rng.random(len(time)) < rng.choice([0.0, 0.5, 1.0])
    start = float(time[0] + rng.uniform(-2, 2) * period)
    return curve, make_candidate(curve, period, start, duration, float(rng.uniform(0, 0.5)), used=used)


@pytest.mark.parametrize("seed", range(300))
def test_no_value_is_ever_missing_without_a_reason(seed: int) -> None:
    curve, found = hostile(seed)
    other = replace(hostile(seed + 1000)[1], number=2)
    sound(measure(curve, found))
    sound(measure(curve, found, [found, other]))


def test_an_absurdly_short_duration_takes_no_memory_for_its_phases() -> None:
    curve = simulate_light_curve(noise_ppm=100.0)
    features = sound(measure(curve, make_candidate(curve, 13.0, 0.0, 1e-6)))
    assert features.masks["secondary_phase"] == "undefined"


PRINT_FEATURES = """
from tests.transits.synthetic import Planet, candidate_of, light_curve
from tasks.transits.features import measure
planet = Planet(impact=0.4)
curve = light_curve(planets=[planet], seed=3)
print({name: value for name, value in measure(curve, candidate_of(curve, planet)).values.items()})
"""


def test_the_values_do_not_depend_on_the_number_of_threads() -> None:
    def printed(threads: str) -> str:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = os.environ | dict.fromkeys(names, threads)
        command = [sys.executable, "-c", PRINT_FEATURES]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=ROOT).stdout

    assert printed("1") == printed("3")


# Real stars

# By name in truth.csv: depth in ppm by catalogue and search, and how many transits lie between the ends of the data.
# The last one of Kepler-1 b lies at the very end, where preparation may cut.
REAL = {
    "WASP-126 b": (6800.0, {8}),
    "pi Men c": (290.0, {5}),
    "K2-3 b": (1200.0, {8}),
    "Kepler-1 b (=TrES-2 b)": (14_000.0, {3, 4}),
}


@pytest.fixture(scope="module")
def truth(shared_data: Path) -> dict[str, dict[str, str]]:
    with (shared_data / "lightcurves" / "truth.csv").open(encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def known_planet(row: dict[str, str], curve: PreparedLightCurve, ingress_fraction: float) -> Candidate:
    """The catalogue's ephemeris as a candidate, its time in the light curve's own system."""
    period, start = float(row["period_days"]), float(row["t0"])
    zero = 2_457_000.0 if start > 2e6 > curve.time[0] else 0.0
    start -= zero
    start += math.ceil((curve.time[0] - start) / period) * period
    return make_candidate(curve, period, start, float(row["duration_h"]) / 24.0, ingress_fraction)


@pytest.mark.parametrize("name", REAL)
def test_known_planets(name: str, truth: dict[str, dict[str, str]], shared_data: Path) -> None:
    row = truth[name]
    files = sorted((shared_data / "lightcurves").glob(row["file"]))
    curve = prepare(read_light_curve(files, Star(), "pdcsap"), TransitParams())
    ingress_fraction = 0.336 if "Kepler-1 b" in name else 0.12  # of the published b = 0.84, k = 0.125: nearly grazing
    depth, transits = REAL[name]
    features = sound(measure(curve, known_planet(row, curve, ingress_fraction)))
    assert features.values["depth_ppm"] == pytest.approx(depth, rel=0.1)
    assert features.values["transits_observed"] == features.values["transits_expected"] in transits
    assert features.values["pink_noise_snr"] > 30
    assert features.values["odd_even_mismatch_sigma"] < 3
    assert 0.3 < features.values["duration_ratio"] < 1.5
