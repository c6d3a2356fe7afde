"""Tests the 27 features with synthetic light curves, and with real stars with known planets."""

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
from tasks.transits.features import Features, mask_all_features, measure
from tasks.transits.features.chance import (
    MIN_PROBABILITY,
    compute_false_alarm_probability,
    compute_threshold_sigma,
    count_independent_trials,
)
from tasks.transits.light_curve import PreparedLightCurve, Segment, Star
from tasks.transits.orbit import compute_central_duration_days, compute_scaled_axis
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


def check_features(features: Features) -> Features:
    """Return ``features`` after checking that each of the 27 is either a finite plain number or masked."""
    assert tuple(features.values) == FEATURES
    assert {name for name, value in features.values.items() if value is None} == set(features.masks)
    assert all(isinstance(reason, Reason) for reason in features.masks.values())
    for name, value in features.values.items():
        assert value is None or (type(value) in (int, float) and math.isfinite(value)), name
    assert 0 <= features.values["transits_observed"] <= features.values["transits_expected"]
    return features


def measure_planet(planet: Planet, curve: PreparedLightCurve) -> Features:
    return check_features(measure(curve, make_planet_candidate(curve, planet)))


# Depth and signal-to-noise


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("radius_ratio", [0.02, 0.1])
def test_depth_is_the_squared_radius_ratio(seed: int, radius_ratio: float) -> None:
    planet = replace(EVEN_DISC, radius_ratio=radius_ratio)
    features = measure_planet(planet, simulate_light_curve(planets=[planet], seed=seed))
    depth, sigma = features.values["depth_ppm"], features.values["depth_uncertainty_ppm"]
    assert depth == pytest.approx(1e6 * radius_ratio**2, abs=3 * sigma)
    assert features.values["radius_ratio"] == pytest.approx(radius_ratio, abs=3 * sigma / 2e6 / radius_ratio)


def test_depth_uncertainty_matches_the_scatter_of_depths() -> None:
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    planet = replace(EVEN_DISC, radius_ratio=0.02)
    rows = [measure_planet(planet, simulate_light_curve(time, [planet], seed=seed)).values for seed in range(100)]
    off = [(row["depth_ppm"] - 400.0) / row["depth_uncertainty_ppm"] for row in rows]
    assert np.std(off) == pytest.approx(1.0, abs=0.22)  # three sigma of a scatter from 100
    assert np.mean(off) == pytest.approx(0.0, abs=0.35)


def test_snr_of_a_box_is_that_of_the_mean_of_its_points() -> None:
    time = make_times()
    inside = np.abs((time + 0.5) % 3.0 - 1.5) < 0.0501  # no point at the very edge
    curve = make_prepared_curve(time, 1.0 - 0.001 * inside, noise_ppm=500.0)
    features = check_features(measure(curve, make_candidate(curve, 3.0, 1.0, 0.1002, ingress_fraction=0.0)))
    points = features.values["in_transit_points"]
    assert points == np.count_nonzero(inside)
    assert features.values["depth_ppm"] == pytest.approx(1000.0)
    assert features.values["snr"] == pytest.approx(0.001 / 500e-6 * math.sqrt(points), rel=0.03)  # 3 %: the level's own


def test_noisy_points_have_less_weight() -> None:
    curve = simulate_light_curve(planets=[EVEN_DISC], noise_ppm=100.0)
    bad = np.random.default_rng(1).random(len(curve.time)) < 0.3
    flux, noise = np.where(bad, curve.flux + 0.05, curve.flux), np.where(bad, 1.0, curve.noise)
    features = measure_planet(EVEN_DISC, replace(curve, flux=flux, noise=noise))
    assert features.values["depth_ppm"] == pytest.approx(1e4, abs=3 * features.values["depth_uncertainty_ppm"])


def test_white_noise_does_not_count_as_red_noise() -> None:
    for seed in range(5):
        values = measure_planet(EVEN_DISC, simulate_light_curve(planets=[EVEN_DISC], seed=seed)).values
        assert 0.8 * values["snr"] < values["pink_noise_snr"] <= 1.0001 * values["snr"]


def make_red_noise(time: np.ndarray, length_days: float, sigma: float, seed: int) -> np.ndarray:
    """Return noise that is constant over each ``length_days``."""
    step = np.random.default_rng(seed).normal(0.0, sigma, int(time[-1] / length_days) + 2)
    return step[(time / length_days).astype(int)]


def test_pink_noise_snr_matches_the_scatter_of_depths_in_red_noise() -> None:
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    planet = replace(EVEN_DISC, radius_ratio=0.03)
    off, white = [], []
    for seed in range(60):
        curve = simulate_light_curve(time, [planet], seed=seed, added=make_red_noise(time, 0.12, 500e-6, 1000 + seed))
        values = measure_planet(planet, curve).values
        sigma = values["depth_ppm"] / values["pink_noise_snr"]
        off.append((values["depth_ppm"] - 900.0) / sigma)
        white.append((values["depth_ppm"] - 900.0) / values["depth_uncertainty_ppm"])
    assert 0.7 < np.std(off) < 1.3
    assert np.std(white) > 2.0


# Transits


def test_transits_in_a_gap_are_expected_but_not_observed() -> None:
    time = make_times(gaps=[(9.5, 14.5)])  # of 1, 4, 7, 10, 13, ...
    values = measure_planet(EVEN_DISC, simulate_light_curve(time, [EVEN_DISC])).values
    assert (values["transits_expected"], values["transits_observed"]) == (9, 7)


@pytest.mark.parametrize(("visible", "count"), [(0.2, 8), (0.5, 9), (1.0, 9)])
def test_transit_at_the_edge_counts_if_a_third_of_it_is_visible(visible: float, count: int) -> None:
    first = (visible - 0.5) * EVEN_DISC.duration_days
    planet = replace(EVEN_DISC, transit_time_days=first)  # the last one is at 24 days
    values = measure_planet(planet, simulate_light_curve(make_times(days=26.0), [planet])).values
    assert (values["transits_expected"], values["transits_observed"]) == (count, count)
    assert values["depth_ppm"] == pytest.approx(1e4, abs=3 * values["depth_uncertainty_ppm"])


def test_points_of_a_transit_before_the_start_do_not_make_it_observed() -> None:
    curve = simulate_light_curve(np.arange(0.0, 20.0, 0.02))
    features = check_features(
        measure(curve, make_candidate(curve, 3.0, 2.98, 0.05))
    )  # one of two and a half points at -0.02 days
    assert (features.values["transits_expected"], features.values["transits_observed"]) == (6, 6)


def test_transit_with_few_points_is_not_observed() -> None:
    middle = 10.0
    reach = 0.5 * EVEN_DISC.duration_days
    time = make_times(gaps=[(middle - 0.6 * reach, middle + 2 * reach)])  # leaves a fifth
    values = measure_planet(EVEN_DISC, simulate_light_curve(time, [EVEN_DISC])).values
    assert (values["transits_expected"], values["transits_observed"]) == (9, 8)


def test_required_points_depend_on_the_cadence_of_the_segment() -> None:
    coarse = 1800.0 / 86_400.0
    time = np.concatenate([np.arange(0.0, 10.0, 20.0 / 86_400.0), np.arange(10.5, 37.5, coarse)])
    curve = simulate_light_curve(time, [EVEN_DISC])
    segments = (*curve.segments, Segment("S2", "TESS", "QLP", 1800.0, "BTJD"))
    curve = replace(curve, segment=(time > 10.2).astype(np.int64), segments=segments)
    values = measure_planet(EVEN_DISC, curve).values
    assert (values["transits_expected"], values["transits_observed"]) == (13, 13)


def test_even_depth_of_a_single_transit_is_masked() -> None:
    planet = replace(EVEN_DISC, period_days=40.0, transit_time_days=13.0)
    curve = simulate_light_curve(planets=[planet])
    features = check_features(
        measure(curve, replace(make_planet_candidate(curve, planet), period_uncertainty_days=None))
    )
    assert (features.values["transits_expected"], features.values["transits_observed"]) == (1, 1)
    assert features.values["odd_depth_ppm"] == pytest.approx(1e4, abs=3 * features.values["depth_uncertainty_ppm"])
    assert features.masks["even_depth_ppm"] == features.masks["odd_even_mismatch_sigma"] == "no_even_transits"
    assert features.masks["period_uncertainty_days"] == "not_measured"


def test_odd_depth_is_masked_if_odd_transits_fall_into_gaps() -> None:
    gaps = [(time - 0.3, time + 0.3) for time in np.arange(1.0, 27.0, 6.0)]
    features = measure_planet(EVEN_DISC, simulate_light_curve(make_times(gaps=gaps), [EVEN_DISC]))
    assert features.masks["odd_depth_ppm"] == features.masks["odd_even_mismatch_sigma"] == "no_odd_transits"
    assert features.values["transits_observed"] == 4
    assert features.values["even_depth_ppm"] == pytest.approx(features.values["depth_ppm"])


def test_points_masked_by_an_earlier_candidate_are_not_used() -> None:
    curve = simulate_light_curve(planets=[EVEN_DISC])
    used = np.abs(curve.time - 10.0) > 0.5
    hidden = replace(curve, flux=np.where(used, curve.flux, np.nan))
    features = check_features(measure(hidden, make_planet_candidate(curve, EVEN_DISC, used=used)))
    assert (features.values["transits_expected"], features.values["transits_observed"]) == (9, 8)
    assert features.values["depth_ppm"] == pytest.approx(1e4, abs=3 * features.values["depth_uncertainty_ppm"])


# Eclipsing binaries and other planets


def test_odd_and_even_depths_differ_for_a_binary_at_half_its_period() -> None:
    binary = Planet(period_days=6.0, radius_ratio=0.1, limb_darkening=(0.0, 0.0), secondary_depth=0.004)
    curve = simulate_light_curve(planets=[binary])
    candidate = make_candidate(curve, 3.0, 1.0, binary.duration_days, binary.ingress_fraction)
    values = check_features(measure(curve, candidate)).values
    sigma = 2 * values["depth_uncertainty_ppm"]
    assert values["odd_depth_ppm"] == pytest.approx(10_000.0, abs=3 * sigma)
    # The occulted star is part of the light between the eclipses
    assert values["even_depth_ppm"] == pytest.approx(4_000.0, abs=3 * sigma)
    assert values["odd_even_mismatch_sigma"] > 50


@pytest.mark.parametrize("noise_ppm", [50.0, 500.0, 5000.0])
def test_odd_and_even_depths_of_a_planet_agree(noise_ppm: float) -> None:
    mismatches = [
        measure_planet(Planet(), simulate_light_curve(planets=[Planet()], noise_ppm=noise_ppm, seed=seed)).values[
            "odd_even_mismatch_sigma"
        ]
        for seed in range(12)
    ]
    assert max(mismatches) < 4.0
    assert np.mean(mismatches) < 1.4  # 0.8 of a normal distribution


def test_variation_of_single_transits_is_not_an_odd_even_mismatch() -> None:
    curve = simulate_light_curve(planets=[EVEN_DISC], noise_ppm=100.0)
    spots = np.array([1.1, 0.9, 0.95, 1.15, 0.85, 1.0, 1.12, 0.9, 1.0])
    cycle = np.round((curve.time - 1.0) / 3.0).astype(int).clip(0, 8)
    values = measure_planet(EVEN_DISC, replace(curve, flux=1.0 + (curve.flux - 1.0) * spots[cycle])).values
    assert values["odd_even_mismatch_sigma"] < 1.5


def test_secondary_eclipse_is_found_at_its_phase() -> None:
    binary = replace(EVEN_DISC, secondary_depth=0.001)
    values = measure_planet(binary, simulate_light_curve(planets=[binary])).values
    assert values["secondary_phase"] == pytest.approx(0.5, abs=binary.duration_days / binary.period_days / 8)
    sigma = values["secondary_depth_ppm"] / values["secondary_significance"]
    # Of a box that is as long as the whole eclipse, its slopes included
    expected = 1000.0 * (1.0 - binary.ingress_fraction) / (1.0 + 0.001)
    assert values["secondary_depth_ppm"] == pytest.approx(expected, abs=4 * sigma + 30)


def test_secondary_of_an_eccentric_binary_is_found_at_its_phase() -> None:
    time = make_times()
    duration = EVEN_DISC.duration_days
    phase = ((time - 1.0) / 3.0) % 1.0
    curve = simulate_light_curve(time, [EVEN_DISC], added=np.where(np.abs(phase - 0.83) < duration / 6.0, -0.0008, 0.0))
    values = measure_planet(EVEN_DISC, curve).values
    assert values["secondary_phase"] == pytest.approx(0.83, abs=duration / 3.0 / 8)
    assert values["secondary_significance"] > 10


def test_secondary_significance_in_noise_is_that_of_the_best_of_many_phases() -> None:
    rows = [
        measure_planet(EVEN_DISC, simulate_light_curve(planets=[EVEN_DISC], seed=seed)).values for seed in range(20)
    ]
    significance = [row["secondary_significance"] for row in rows]
    assert min(significance) > 1.0
    assert max(significance) < 5.0


def test_brightening_is_measured_but_is_not_a_secondary() -> None:
    time = make_times()
    phase = ((time - 1.0) / 3.0) % 1.0
    curve = simulate_light_curve(time, [EVEN_DISC], added=np.where(np.abs(phase - 0.3) < 0.02, 0.001, 0.0))
    features = measure_planet(EVEN_DISC, curve)
    assert features.evidence.positive_significance > 15
    assert features.values["secondary_significance"] < 5


def test_single_point_in_a_phase_gap_is_not_a_secondary() -> None:
    time = make_times()
    phase = ((time - 1.0) / 3.0) % 1.0
    curve = simulate_light_curve(time, [EVEN_DISC])
    alone = np.flatnonzero(np.abs(phase - 0.5) < 0.0005)[0]
    kept = (np.abs(phase - 0.5) > 0.08) | (np.arange(len(time)) == alone)
    flux = np.where(np.arange(len(time)) == alone, 0.99, curve.flux)
    values = measure_planet(EVEN_DISC, make_prepared_curve(time[kept], flux[kept])).values
    assert abs(values["secondary_phase"] - 0.5) > 0.05
    assert values["secondary_significance"] < 5


def test_secondary_is_masked_if_the_transit_is_too_long() -> None:
    curve = simulate_light_curve()
    features = check_features(measure(curve, make_candidate(curve, 1.0, 0.5, 0.35)))
    assert features.masks["secondary_phase"] == features.masks["secondary_depth_ppm"] == "no_room_for_secondary"


def test_secondary_is_masked_if_only_transits_are_observed() -> None:
    time = make_times(cadence_days=20.0 / 86_400.0)
    near = np.abs((time + 0.5) % 3.0 - 1.5) < 0.165  # 1.43 durations either side
    curve = simulate_light_curve(time[near], [EVEN_DISC])
    features = measure_planet(EVEN_DISC, curve)
    assert features.masks["secondary_significance"] in {"no_secondary_coverage", "no_noise_estimate"}


def test_transits_of_another_planet_are_neither_secondary_nor_noise() -> None:
    small = replace(EVEN_DISC, radius_ratio=0.05)
    large = Planet(period_days=8.1, transit_time_days=2.3, radius_ratio=0.1)
    curve = simulate_light_curve(planets=[small, large])
    first, second = make_planet_candidate(curve, small), replace(make_planet_candidate(curve, large), number=2)
    alone, together = measure(curve, first), measure(curve, first, [first, second])
    assert alone.values["secondary_significance"] > 10
    assert together.values["secondary_significance"] < 5
    assert together.values["depth_ppm"] == pytest.approx(2500.0, abs=3 * together.values["depth_uncertainty_ppm"])


def test_candidate_of_the_same_period_does_not_hide_the_secondary() -> None:
    binary = replace(EVEN_DISC, secondary_depth=0.002)
    curve = simulate_light_curve(planets=[binary])
    first = make_planet_candidate(curve, binary)
    second = replace(first, number=2, transit_time_days=first.transit_time_days + 1.5)
    for other in (second, replace(second, period_days=6.0), replace(second, period_days=1.5)):
        values = measure(curve, first, [first, other]).values
        assert values["secondary_phase"] == pytest.approx(0.5, abs=0.01)
        assert values["secondary_significance"] > 20


# Orbits and chance


def test_duration_ratio_of_a_central_transit_is_one() -> None:
    planet = Planet(period_days=3.0, scaled_axis=compute_scaled_axis(3.0, SUN.density), radius_ratio=0.1)
    values = measure_planet(planet, simulate_light_curve(planets=[planet], noise_ppm=50.0)).values
    assert values["duration_ratio"] == pytest.approx(1.0, abs=0.01)
    giant = simulate_light_curve(planets=[planet], star=Star(radius=4.0, mass=1.5))
    assert measure_planet(planet, giant).values["duration_ratio"] < 0.35


def test_axis_and_duration_of_the_earth() -> None:
    assert compute_scaled_axis(365.256, 1.0) == pytest.approx(215.0, rel=1e-3)
    assert compute_central_duration_days(365.256, 1.0, 0.0) == pytest.approx(13.0 / 24.0, rel=0.01)


def test_duration_ratio_is_masked_for_an_orbit_inside_the_star() -> None:
    curve = simulate_light_curve(star=Star(radius=20.0, mass=1.0))
    assert measure(curve, make_candidate(curve, 1.0, 0.5, 0.1)).masks["duration_ratio"] == "inside_star"


def test_false_alarm_probability() -> None:
    trials = count_independent_trials(1461.0, (0.0, 700.0), 0.25)
    assert trials == pytest.approx(1.6e7, rel=0.03)
    assert compute_false_alarm_probability(7.1, trials) == pytest.approx(1e-5, rel=0.05)
    assert compute_false_alarm_probability(0.0, trials) == 1.0
    assert compute_false_alarm_probability(-50.0, 10.0) == 1.0
    assert compute_false_alarm_probability(500.0, trials) == MIN_PROBABILITY > 0.0
    rising = [compute_false_alarm_probability(snr, trials) for snr in np.arange(-1.0, 40.0, 0.25)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(rising))
    assert count_independent_trials(0.0, (1.0, 1.0), 0.1) == 1.0


def test_false_alarm_probability_matches_the_observed_frequency() -> None:
    best = np.random.default_rng(5).normal(size=(4000, 500)).max(axis=1)
    for snr in (2.5, 3.0, 3.5):
        assert np.mean(best >= snr) == pytest.approx(compute_false_alarm_probability(snr, 500.0), abs=0.025)


def test_threshold_sigma_inverts_the_two_sided_tail() -> None:
    for sigma in (0.0, 1.0, 3.0, 5.5):
        assert compute_threshold_sigma(math.erfc(sigma / math.sqrt(2.0))) == pytest.approx(sigma, abs=1e-6)


# Values from the search, and values that cannot be measured


def test_values_of_the_search_are_passed_through() -> None:
    curve = simulate_light_curve(planets=[EVEN_DISC])
    candidate = add_tls_fit(make_planet_candidate(curve, EVEN_DISC))
    features = check_features(measure(curve, candidate))
    assert features.masks == {}
    assert features.values["period_days"] == 3.0
    assert features.values["period_uncertainty_days"] == 0.001
    assert features.values["sde"] == 12.0
    assert features.values["ingress_fraction"] == candidate.ingress_fraction
    tls = [features.values[name] for name in FEATURES if name.startswith("tls_")]
    assert tls == [3.0, 15.0, pytest.approx(11_000.0), candidate.duration_days, 0.9]


def test_tls_features_are_masked_without_tls() -> None:
    features = measure_planet(EVEN_DISC, simulate_light_curve(planets=[EVEN_DISC]))
    assert features.masks == dict.fromkeys(FEATURES[22:], "no_tls_fit")


def test_all_features_are_masked_without_a_candidate() -> None:
    features = mask_all_features("constant_flux")
    assert tuple(features.values) == tuple(features.masks) == FEATURES
    assert set(features.values.values()) == {None}
    assert set(features.masks.values()) == {"constant_flux"}
    with pytest.raises(ValueError, match="'bored' is not a valid Reason"):
        mask_all_features("bored")


@pytest.mark.parametrize("field", ["period_days", "duration_days", "transit_time_days", "ingress_fraction"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_invalid_candidate_is_rejected(field: str, value: float) -> None:
    curve = simulate_light_curve()
    candidate = replace(make_planet_candidate(curve, EVEN_DISC), **{field: value})
    if value == 0.0 and field not in {"period_days", "duration_days"}:
        check_features(measure(curve, candidate))
        return
    with pytest.raises(ValueError, match=f"{field} of candidate 1 is {value}"):
        measure(curve, candidate)


def test_candidate_of_another_light_curve_is_rejected() -> None:
    other = simulate_light_curve(make_times(days=5.0))
    with pytest.raises(ValueError, match="has 3600 points, but the light curve has 19440"):
        measure(simulate_light_curve(), make_planet_candidate(other, EVEN_DISC))


def test_radius_ratio_is_masked_if_flux_rises_in_transit() -> None:
    curve = simulate_light_curve(planets=[EVEN_DISC])
    features = measure_planet(EVEN_DISC, replace(curve, flux=2.0 - curve.flux))
    assert features.values["depth_ppm"] < 0
    assert features.masks["radius_ratio"] == "no_dimming"
    assert features.values["false_alarm_probability"] == 1.0


def test_curve_of_three_points_has_a_depth() -> None:
    curve = make_prepared_curve(np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.99, 1.0]))
    features = check_features(measure(curve, make_candidate(curve, 5.0, 1.0, 0.1)))
    assert features.values["depth_ppm"] == pytest.approx(10_000.0)
    assert features.values["depth_uncertainty_ppm"] == pytest.approx(
        500.0 * math.sqrt(1.0 + 1.0 / 2.0)
    )  # the level's too
    assert features.masks["pink_noise_snr"] == features.masks["false_alarm_probability"] == "no_noise_estimate"
    assert features.values["in_transit_points"] == features.values["transits_observed"] == 1


def test_constant_flux_has_zero_depth() -> None:
    features = measure_planet(EVEN_DISC, make_prepared_curve(make_times(), np.ones(len(make_times()))))
    assert features.values["depth_ppm"] == features.values["snr"] == features.values["secondary_depth_ppm"] == 0.0
    assert features.masks["radius_ratio"] == "no_dimming"


def test_depth_is_masked_if_all_points_are_in_transit() -> None:
    curve = simulate_light_curve(make_times(days=1.0))
    features = check_features(measure(curve, make_candidate(curve, 2.5, 0.5, 2.0)))
    assert features.masks["depth_ppm"] == features.masks["duration_ratio"] == "no_out_of_transit_points"
    assert features.values["transits_expected"] == 1


def test_depth_is_masked_if_no_point_is_in_transit() -> None:
    curve = simulate_light_curve(make_times(gaps=[(start - 0.5, start + 0.5) for start in np.arange(1.0, 28.0, 3.0)]))
    features = measure_planet(EVEN_DISC, curve)
    assert features.masks["depth_ppm"] == features.masks["odd_depth_ppm"] == "no_transit_points"
    assert (features.values["transits_expected"], features.values["transits_observed"]) == (9, 0)


def make_hostile_case(seed: int) -> tuple[PreparedLightCurve, Candidate]:
    """Return a random light curve and candidate that are absurd, but of the correct types."""
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
def test_every_missing_value_has_a_reason(seed: int) -> None:
    curve, candidate = make_hostile_case(seed)
    other = replace(make_hostile_case(seed + 1000)[1], number=2)
    check_features(measure(curve, candidate))
    check_features(measure(curve, candidate, [candidate, other]))


def test_secondary_of_an_extremely_short_transit_is_masked() -> None:
    curve = simulate_light_curve(noise_ppm=100.0)
    features = check_features(measure(curve, make_candidate(curve, 13.0, 0.0, 1e-6)))
    assert features.masks["secondary_phase"] == "undefined"


PRINT_FEATURES = """
from tests.transits.synthetic import Planet, make_planet_candidate, simulate_light_curve
from tasks.transits.features import measure
planet = Planet(impact=0.4)
curve = simulate_light_curve(planets=[planet], seed=3)
print({name: value for name, value in measure(curve, make_planet_candidate(curve, planet)).values.items()})
"""


def test_values_do_not_depend_on_the_number_of_threads() -> None:
    def print_features(threads: str) -> str:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = os.environ | dict.fromkeys(names, threads)
        command = [sys.executable, "-c", PRINT_FEATURES]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=ROOT).stdout

    assert print_features("1") == print_features("3")


# Real stars

# By name in truth.csv: depth in ppm by catalogue and search, and the number of transits between the ends of the data.
# The last transit of Kepler-1 b is at the very end, where preparation may cut it off.
REAL = {
    "WASP-126 b": (6800.0, {8}),
    "pi Men c": (290.0, {5}),
    "K2-3 b": (1200.0, {8}),
    "Kepler-1 b (=TrES-2 b)": (14_000.0, {3, 4}),
}


@pytest.fixture(scope="module")
def read_truth(shared_data: Path) -> dict[str, dict[str, str]]:
    """Return the rows of truth.csv by name."""
    with (shared_data / "lightcurves" / "truth.csv").open(encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def make_catalogue_candidate(row: dict[str, str], curve: PreparedLightCurve, ingress_fraction: float) -> Candidate:
    """Return the catalogue's ephemeris as a candidate, its time in the light curve's own system."""
    period, start = float(row["period_days"]), float(row["t0"])
    zero = 2_457_000.0 if start > 2e6 > curve.time[0] else 0.0
    start -= zero
    start += math.ceil((curve.time[0] - start) / period) * period
    return make_candidate(curve, period, start, float(row["duration_h"]) / 24.0, ingress_fraction)


@pytest.mark.parametrize("name", REAL)
def test_features_of_known_planets_are_measured(
    name: str, read_truth: dict[str, dict[str, str]], shared_data: Path
) -> None:
    row = read_truth[name]
    files = sorted((shared_data / "lightcurves").glob(row["file"]))
    curve = prepare(read_light_curve(files, Star(), "pdcsap"), TransitParams())
    ingress_fraction = 0.336 if "Kepler-1 b" in name else 0.12  # of the published b = 0.84, k = 0.125: nearly grazing
    depth, transits = REAL[name]
    features = check_features(measure(curve, make_catalogue_candidate(row, curve, ingress_fraction)))
    assert features.values["depth_ppm"] == pytest.approx(depth, rel=0.1)
    assert features.values["transits_observed"] == features.values["transits_expected"] in transits
    assert features.values["pink_noise_snr"] > 30
    assert features.values["odd_even_mismatch_sigma"] < 3
    assert 0.3 < features.values["duration_ratio"] < 1.5
