"""Flags: each is raised by what it is for, and a planet raises none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tasks.transits.candidate import Candidate
from tasks.transits.columns import Flag
from tasks.transits.features import masked_features, measure
from tasks.transits.flags import CHECKS, false_positive_flags, flags_text
from tasks.transits.light_curve import PreparedLightCurve, Star
from tasks.transits.orbit import scaled_axis
from tests.transits.synthetic import (
    SUN,
    Planet,
    make_candidate,
    make_planet_candidate,
    make_times,
    simulate_light_curve,
)

# Of a star like the Sun, so that its duration is right.
PLANET = Planet(scaled_axis=scaled_axis(3.0, SUN.density))


def flags_of(curve: PreparedLightCurve, found: Candidate, *others: Candidate) -> tuple[Flag, ...]:
    together = [found, *others]
    return false_positive_flags(curve, found, measure(curve, found, together), together)


def test_every_flag_has_one_function_of_its_own() -> None:
    assert set(CHECKS) == set(Flag)
    assert len(set(CHECKS.values())) == len(Flag)


@pytest.mark.parametrize("impact", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("radius_ratio", [0.03, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_a_planet_raises_none(impact: float, radius_ratio: float, seed: int) -> None:
    planet = replace(PLANET, impact=impact, radius_ratio=radius_ratio)
    curve = simulate_light_curve(planets=[planet], seed=seed, rotation_days=9.0)
    assert flags_of(curve, make_planet_candidate(curve, planet)) == ()


def test_two_planets_raise_none() -> None:
    large = Planet(period_days=8.1, transit_time_days=2.3, scaled_axis=scaled_axis(8.1, 1.0))
    small = replace(PLANET, radius_ratio=0.05)
    curve = simulate_light_curve(planets=[large, small])
    first, second = make_planet_candidate(curve, large), replace(make_planet_candidate(curve, small), number=2)
    assert flags_of(curve, first, second) == ()
    assert flags_of(curve, second, first) == ()


def test_weak_and_not_unique_in_noise_alone() -> None:
    curve = simulate_light_curve(seed=3)
    found = flags_of(curve, make_candidate(curve, 3.0, 1.0, 0.12))
    assert {Flag.WEAK, Flag.NOT_UNIQUE} <= set(found)


def test_not_unique_among_dips_as_deep() -> None:
    time = make_times()
    waves = 3e-4 * np.cos(2 * np.pi * (time - 1.0) / 0.6)  # five waves a period, the transit in a trough of one
    curve = simulate_light_curve(time, added=-waves)
    assert Flag.NOT_UNIQUE in flags_of(curve, make_candidate(curve, 3.0, 1.0, 0.12))


def test_few_transits() -> None:
    planet = Planet(period_days=12.0, scaled_axis=scaled_axis(12.0, 1.0))
    for days, raised in ((20.0, True), (26.0, False)):
        curve = simulate_light_curve(make_times(days=days), planets=[planet])
        assert (Flag.FEW_TRANSITS in flags_of(curve, make_planet_candidate(curve, planet))) is raised


def test_single_event_where_one_dip_makes_the_signal() -> None:
    time = make_times()
    dip = np.where(np.abs(time - 10.0) < 0.06, -0.01, 0.0)
    curve = simulate_light_curve(time, added=dip)
    assert Flag.SINGLE_EVENT in flags_of(curve, make_candidate(curve, 3.0, 1.0, 0.12))


def test_two_equal_transits_are_no_single_event() -> None:
    planet = Planet(period_days=12.0, scaled_axis=scaled_axis(12.0, 1.0))
    curve = simulate_light_curve(make_times(days=20.0), planets=[planet])
    assert flags_of(curve, make_planet_candidate(curve, planet)) == (Flag.FEW_TRANSITS,)


@pytest.mark.parametrize("star", [SUN, Star()])
@pytest.mark.parametrize(("period", "duration", "known_only"), [(3.0, 0.3, True), (1.0, 0.25, False)])
def test_too_long(star: Star, period: float, duration: float, known_only: bool) -> None:
    curve = simulate_light_curve(star=star)
    found = flags_of(curve, make_candidate(curve, period, 0.5, duration))
    assert (Flag.TOO_LONG in found) is (star is SUN or not known_only)


@pytest.mark.parametrize(
    ("rotation", "raised"),
    [(3.0, True), (6.1, True), (1.45, True), (1.01, True), (3.3, False), (9.0, False), (None, False)],
)
def test_near_rotation(rotation: float | None, raised: bool) -> None:
    curve = simulate_light_curve(planets=[PLANET], rotation_days=rotation)
    assert (Flag.NEAR_ROTATION in flags_of(curve, make_planet_candidate(curve, PLANET))) is raised


def test_an_eclipsing_binary_at_half_its_period() -> None:
    binary = Planet(period_days=6.0, scaled_axis=scaled_axis(6.0, 1.0), secondary_depth=0.004)
    curve = simulate_light_curve(planets=[binary])
    found = make_candidate(curve, 3.0, 1.0, binary.duration_days, binary.ingress_fraction)
    assert Flag.ODD_EVEN in flags_of(curve, found)


def test_an_eclipsing_binary_at_its_period() -> None:
    binary = replace(PLANET, secondary_depth=0.003)
    curve = simulate_light_curve(planets=[binary])
    assert flags_of(curve, make_planet_candidate(curve, binary)) == (Flag.SECONDARY,)


def test_a_hot_planets_own_light_is_no_second_star() -> None:
    near = Planet(period_days=0.8, scaled_axis=scaled_axis(0.8, 1.0), radius_ratio=0.12, secondary_depth=0.0004)
    curve = simulate_light_curve(planets=[near], noise_ppm=100.0)
    values = measure(curve, make_planet_candidate(curve, near)).values
    assert values["secondary_significance"] > 20
    assert flags_of(curve, make_planet_candidate(curve, near)) == ()
    far = replace(PLANET, radius_ratio=0.12, secondary_depth=0.0009)  # more than all of the star's light thrown back
    curve = simulate_light_curve(planets=[far], noise_ppm=100.0)
    assert flags_of(curve, make_planet_candidate(curve, far)) == (Flag.SECONDARY,)


@pytest.mark.parametrize("other", [0.003, -0.003])
def test_a_dip_among_others_as_strong_is_no_secondary(other: float) -> None:
    """Another dip, or a brightening, nearly as strong as the secondary: a variable star, not a binary."""
    time = make_times()
    phase = ((time - 1.0) / 3.0) % 1.0
    binary = replace(PLANET, secondary_depth=0.003)
    bump = np.where(np.abs(phase - 0.25) < 0.02, other, 0.0)
    alone, among = (simulate_light_curve(time, [binary], noise_ppm=8000.0, added=added) for added in (0.0 * bump, bump))
    assert Flag.SECONDARY in flags_of(alone, make_planet_candidate(alone, binary))
    assert Flag.SECONDARY not in flags_of(among, make_planet_candidate(among, binary))


def test_a_planet_found_at_twice_its_period() -> None:
    curve = simulate_light_curve(planets=[PLANET])
    found = replace(make_planet_candidate(curve, PLANET), period_days=6.0)
    assert Flag.HALF_PERIOD in flags_of(curve, found)
    assert Flag.SECONDARY not in flags_of(curve, found)


@pytest.mark.parametrize(("noise_ppm", "raised"), [(300.0, True), (15_000.0, False)])
def test_a_grazing_eclipse_is_v_shaped_where_the_noise_lets_us_see_it(noise_ppm: float, raised: bool) -> None:
    grazing = replace(PLANET, impact=1.0, radius_ratio=0.15)
    curve = simulate_light_curve(planets=[grazing], noise_ppm=noise_ppm)
    assert grazing.ingress_fraction == 0.5
    assert (Flag.V_SHAPE in flags_of(curve, make_planet_candidate(curve, grazing))) is raised


def test_a_transit_of_a_few_exposures_has_no_shape() -> None:
    curve = simulate_light_curve(make_times(cadence_days=0.04), planets=[PLANET], noise_ppm=100.0)
    found = replace(make_planet_candidate(curve, PLANET), ingress_fraction=0.5)
    assert Flag.V_SHAPE not in flags_of(curve, found)


def test_too_large_is_said_where_the_stars_size_is_known() -> None:
    large = replace(PLANET, radius_ratio=0.3)
    for star, raised in ((SUN, True), (Star(radius=0.5, mass=0.5), False), (Star(), False)):
        curve = simulate_light_curve(planets=[large], star=star)
        assert (Flag.TOO_LARGE in flags_of(curve, make_planet_candidate(curve, large))) is raised


def test_a_later_candidate_of_the_same_period() -> None:
    binary = replace(PLANET, secondary_depth=0.003)
    curve = simulate_light_curve(planets=[binary])
    first = make_planet_candidate(curve, binary)
    used = np.abs((curve.time - 1.0 + 1.5) % 3.0 - 1.5) > binary.duration_days
    second = replace(first, number=2, transit_time_days=2.5, used=used)
    assert flags_of(curve, first, second) == (Flag.SECONDARY,)
    assert flags_of(curve, second, first) == (Flag.SAME_PERIOD,)
    another = replace(second, period_days=3.1)
    assert Flag.SAME_PERIOD not in flags_of(curve, another, first)


def test_what_is_masked_raises_no_flag() -> None:
    curve = simulate_light_curve(planets=[PLANET], rotation_days=math.nan)
    found = make_planet_candidate(curve, PLANET)
    assert false_positive_flags(curve, found, masked_features("no_candidate"), [found]) == ()


def test_flags_come_in_the_order_of_the_vocabulary() -> None:
    curve = simulate_light_curve(seed=3, rotation_days=3.0)
    found = flags_of(curve, make_candidate(curve, 3.0, 1.0, 0.9))
    assert list(found) == sorted(found, key=list(Flag).index)
    assert flags_text(found) == ";".join(found)
    assert Flag.TOO_LONG in found
