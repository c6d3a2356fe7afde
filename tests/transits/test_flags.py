"""Each flag is raised for its own kind of signal, and a planet raises none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tasks.transits.candidate import Candidate
from tasks.transits.columns import Flag
from tasks.transits.features import mask_all_features, measure
from tasks.transits.flags import CHECKS, find_false_positive_flags, format_flags
from tasks.transits.light_curve import PreparedLightCurve, Star
from tasks.transits.orbit import compute_scaled_axis
from tests.transits.synthetic import (
    SUN,
    Planet,
    make_candidate,
    make_planet_candidate,
    make_times,
    simulate_light_curve,
)

# Around a star like the Sun, so that its duration is realistic.
PLANET = Planet(scaled_axis=compute_scaled_axis(3.0, SUN.density))


def find_flags(curve: PreparedLightCurve, candidate: Candidate, *others: Candidate) -> tuple[Flag, ...]:
    together = [candidate, *others]
    return find_false_positive_flags(curve, candidate, measure(curve, candidate, together), together)


def test_every_flag_has_its_own_function() -> None:
    assert set(CHECKS) == set(Flag)
    assert len(set(CHECKS.values())) == len(Flag)


@pytest.mark.parametrize("impact", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("radius_ratio", [0.03, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_planet_raises_no_flag(impact: float, radius_ratio: float, seed: int) -> None:
    planet = replace(PLANET, impact=impact, radius_ratio=radius_ratio)
    curve = simulate_light_curve(planets=[planet], seed=seed, rotation_days=9.0)
    assert find_flags(curve, make_planet_candidate(curve, planet)) == ()


def test_two_planets_raise_no_flag() -> None:
    large = Planet(period_days=8.1, transit_time_days=2.3, scaled_axis=compute_scaled_axis(8.1, 1.0))
    small = replace(PLANET, radius_ratio=0.05)
    curve = simulate_light_curve(planets=[large, small])
    first, second = make_planet_candidate(curve, large), replace(make_planet_candidate(curve, small), number=2)
    assert find_flags(curve, first, second) == ()
    assert find_flags(curve, second, first) == ()


def test_noise_is_weak_and_not_unique() -> None:
    curve = simulate_light_curve(seed=3)
    flags = find_flags(curve, make_candidate(curve, 3.0, 1.0, 0.12))
    assert {Flag.WEAK, Flag.NOT_UNIQUE} <= set(flags)


def test_dip_among_equal_dips_is_not_unique() -> None:
    time = make_times()
    waves = 3e-4 * np.cos(2 * np.pi * (time - 1.0) / 0.6)  # five waves per period, with the transit in a trough
    curve = simulate_light_curve(time, added=-waves)
    assert Flag.NOT_UNIQUE in find_flags(curve, make_candidate(curve, 3.0, 1.0, 0.12))


def test_two_transits_are_few_transits() -> None:
    planet = Planet(period_days=12.0, scaled_axis=compute_scaled_axis(12.0, 1.0))
    for days, raised in ((20.0, True), (26.0, False)):
        curve = simulate_light_curve(make_times(days=days), planets=[planet])
        assert (Flag.FEW_TRANSITS in find_flags(curve, make_planet_candidate(curve, planet))) is raised


def test_single_dip_is_a_single_event() -> None:
    time = make_times()
    dip = np.where(np.abs(time - 10.0) < 0.06, -0.01, 0.0)
    curve = simulate_light_curve(time, added=dip)
    assert Flag.SINGLE_EVENT in find_flags(curve, make_candidate(curve, 3.0, 1.0, 0.12))


def test_two_equal_transits_are_not_a_single_event() -> None:
    planet = Planet(period_days=12.0, scaled_axis=compute_scaled_axis(12.0, 1.0))
    curve = simulate_light_curve(make_times(days=20.0), planets=[planet])
    assert find_flags(curve, make_planet_candidate(curve, planet)) == (Flag.FEW_TRANSITS,)


@pytest.mark.parametrize("star", [SUN, Star()])
@pytest.mark.parametrize(("period", "duration", "needs_star"), [(3.0, 0.3, True), (1.0, 0.25, False)])
def test_transit_longer_than_any_orbit_allows_is_too_long(
    star: Star, period: float, duration: float, needs_star: bool
) -> None:
    curve = simulate_light_curve(star=star)
    flags = find_flags(curve, make_candidate(curve, period, 0.5, duration))
    assert (Flag.TOO_LONG in flags) is (star is SUN or not needs_star)


@pytest.mark.parametrize(
    ("rotation", "raised"),
    [(3.0, True), (6.1, True), (1.45, True), (1.01, True), (3.3, False), (9.0, False), (None, False)],
)
def test_period_near_a_multiple_of_the_rotation_is_flagged(rotation: float | None, raised: bool) -> None:
    curve = simulate_light_curve(planets=[PLANET], rotation_days=rotation)
    assert (Flag.NEAR_ROTATION in find_flags(curve, make_planet_candidate(curve, PLANET))) is raised


def test_eclipsing_binary_at_half_its_period_is_odd_even() -> None:
    binary = Planet(period_days=6.0, scaled_axis=compute_scaled_axis(6.0, 1.0), secondary_depth=0.004)
    curve = simulate_light_curve(planets=[binary])
    candidate = make_candidate(curve, 3.0, 1.0, binary.duration_days, binary.ingress_fraction)
    assert Flag.ODD_EVEN in find_flags(curve, candidate)


def test_eclipsing_binary_at_its_period_has_a_secondary() -> None:
    binary = replace(PLANET, secondary_depth=0.003)
    curve = simulate_light_curve(planets=[binary])
    assert find_flags(curve, make_planet_candidate(curve, binary)) == (Flag.SECONDARY,)


def test_light_of_a_hot_planet_is_not_a_secondary() -> None:
    near = Planet(period_days=0.8, scaled_axis=compute_scaled_axis(0.8, 1.0), radius_ratio=0.12, secondary_depth=0.0004)
    curve = simulate_light_curve(planets=[near], noise_ppm=100.0)
    values = measure(curve, make_planet_candidate(curve, near)).values
    assert values["secondary_significance"] > 20
    assert find_flags(curve, make_planet_candidate(curve, near)) == ()
    far = replace(PLANET, radius_ratio=0.12, secondary_depth=0.0009)  # an albedo above 1
    curve = simulate_light_curve(planets=[far], noise_ppm=100.0)
    assert find_flags(curve, make_planet_candidate(curve, far)) == (Flag.SECONDARY,)


@pytest.mark.parametrize("other", [0.003, -0.003])
def test_dip_among_equally_strong_ones_is_not_a_secondary(other: float) -> None:
    """Add a dip or a brightening nearly as strong as the secondary: a variable star, not a binary."""
    time = make_times()
    phase = ((time - 1.0) / 3.0) % 1.0
    binary = replace(PLANET, secondary_depth=0.003)
    bump = np.where(np.abs(phase - 0.25) < 0.02, other, 0.0)
    alone, among = (simulate_light_curve(time, [binary], noise_ppm=8000.0, added=added) for added in (0.0 * bump, bump))
    assert Flag.SECONDARY in find_flags(alone, make_planet_candidate(alone, binary))
    assert Flag.SECONDARY not in find_flags(among, make_planet_candidate(among, binary))


def test_planet_at_twice_its_period_is_half_period() -> None:
    curve = simulate_light_curve(planets=[PLANET])
    candidate = replace(make_planet_candidate(curve, PLANET), period_days=6.0)
    assert Flag.HALF_PERIOD in find_flags(curve, candidate)
    assert Flag.SECONDARY not in find_flags(curve, candidate)


@pytest.mark.parametrize(("noise_ppm", "raised"), [(300.0, True), (15_000.0, False)])
def test_grazing_eclipse_is_v_shaped_unless_noise_hides_the_shape(noise_ppm: float, raised: bool) -> None:
    grazing = replace(PLANET, impact=1.0, radius_ratio=0.15)
    curve = simulate_light_curve(planets=[grazing], noise_ppm=noise_ppm)
    assert grazing.ingress_fraction == 0.5
    assert (Flag.V_SHAPE in find_flags(curve, make_planet_candidate(curve, grazing))) is raised


def test_transit_of_few_exposures_is_not_v_shaped() -> None:
    curve = simulate_light_curve(make_times(cadence_days=0.04), planets=[PLANET], noise_ppm=100.0)
    candidate = replace(make_planet_candidate(curve, PLANET), ingress_fraction=0.5)
    assert Flag.V_SHAPE not in find_flags(curve, candidate)


def test_too_large_requires_the_radius_of_the_star() -> None:
    large = replace(PLANET, radius_ratio=0.3)
    for star, raised in ((SUN, True), (Star(radius=0.5, mass=0.5), False), (Star(), False)):
        curve = simulate_light_curve(planets=[large], star=star)
        assert (Flag.TOO_LARGE in find_flags(curve, make_planet_candidate(curve, large))) is raised


def test_later_candidate_of_the_same_period_is_flagged() -> None:
    binary = replace(PLANET, secondary_depth=0.003)
    curve = simulate_light_curve(planets=[binary])
    first = make_planet_candidate(curve, binary)
    used = np.abs((curve.time - 1.0 + 1.5) % 3.0 - 1.5) > binary.duration_days
    second = replace(first, number=2, transit_time_days=2.5, used=used)
    assert find_flags(curve, first, second) == (Flag.SECONDARY,)
    assert find_flags(curve, second, first) == (Flag.SAME_PERIOD,)
    another = replace(second, period_days=3.1)
    assert Flag.SAME_PERIOD not in find_flags(curve, another, first)


def test_masked_features_raise_no_flag() -> None:
    curve = simulate_light_curve(planets=[PLANET], rotation_days=math.nan)
    candidate = make_planet_candidate(curve, PLANET)
    assert find_false_positive_flags(curve, candidate, mask_all_features("no_candidate"), [candidate]) == ()


def test_flags_are_in_the_order_of_their_declaration() -> None:
    curve = simulate_light_curve(seed=3, rotation_days=3.0)
    flags = find_flags(curve, make_candidate(curve, 3.0, 1.0, 0.9))
    assert list(flags) == sorted(flags, key=list(Flag).index)
    assert format_flags(flags) == ";".join(flags)
    assert Flag.TOO_LONG in flags


def test_deep_eclipse_is_flagged_if_the_radius_of_the_star_is_unknown() -> None:
    for star, ratio, raised in ((Star(), 0.45, True), (Star(), 0.25, False), (Star(0.013, 0.5), 0.45, False)):
        planet = replace(PLANET, radius_ratio=ratio, limb_darkening=(0.0, 0.0))
        curve = simulate_light_curve(planets=[planet], star=star)
        assert (Flag.TOO_DEEP in find_flags(curve, make_planet_candidate(curve, planet))) is raised


@pytest.mark.parametrize(
    ("disturbed", "edges", "share", "raised"),
    [
        (1.0 + 3.0 * np.arange(9), (), 1.0, True),  # a dump in every transit
        (2.5 + 3.0 * np.arange(9), (), 0.0, False),
        (np.arange(0.0, 27.0, 0.15), (), 1.0, False),  # thrusters fire so often that they are in every transit
        ((1.0, 7.0), (), 2 / 9, False),
        ((), 1.0 + 3.0 * np.arange(6) + 0.15, 6 / 9, True),
    ],
)
def test_transits_at_dumps_and_edges_are_counted(
    disturbed: Sequence[float], edges: Sequence[float], share: float, raised: bool
) -> None:
    plain = simulate_light_curve(planets=[PLANET])
    curve = replace(plain, disturbed=np.array(disturbed, dtype=float), edges=np.array(edges, dtype=float))
    candidate = make_planet_candidate(curve, PLANET)
    assert measure(curve, candidate).evidence.disturbed_share == pytest.approx(share)
    assert (Flag.AT_DUMPS_OR_EDGES in find_flags(curve, candidate)) is raised
