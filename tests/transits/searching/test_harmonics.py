"""The true period is recovered from any of its harmonics."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.transits.light_curve import Floats
from tasks.transits.searching.boxes import search_boxes
from tasks.transits.searching.grid import Grid, build_grid
from tasks.transits.searching.harmonics import Box, find_closest_box, resolve_harmonics
from tasks.transits.searching.points import Points
from tasks.transits.searching.trapezoid import Signal
from tests.transits.synthetic import Planet, make_times, simulate_light_curve

TEN_MINUTES_DAYS = 600.0 / 86_400.0
PERIOD_DAYS = 4.0
TRUTH = Signal(PERIOD_DAYS, 1.3, 0.15)
GRID = build_grid(54.0, 0.6, 27.0)
STEP = GRID.get_step_days(PERIOD_DAYS)


def make_eclipses(primary: float, secondary: float = 0.0, time: Floats | None = None, seed: int = 0) -> Points:
    """Return dips of the two depths, half a period of ``TRUTH`` apart."""
    time = make_times(54.0, TEN_MINUTES_DAYS) if time is None else time
    other = Signal(PERIOD_DAYS, 1.3 + PERIOD_DAYS / 2, 0.15)
    noise = np.random.default_rng(seed).normal(0.0, 5e-4, len(time))
    flux = 1.0 - primary * TRUTH.compute_shape(time) - secondary * other.compute_shape(time) + noise
    return Points(time, flux, np.full(len(time), 5e-4))


def resolve_from_harmonic(points: Points, factor: float, grid: Grid = GRID) -> Box:
    """Resolve a peak at ``factor`` times the true period."""
    return resolve_harmonics(points, grid, Signal(PERIOD_DAYS * factor, 1.3, 0.15))


@pytest.mark.parametrize("factor", [1 / 3, 1 / 2, 2 / 3, 1.0, 3 / 2, 2.0, 3.0])
@pytest.mark.parametrize("seed", range(2))
def test_true_period_is_found_from_each_harmonic(factor: float, seed: int) -> None:
    box = resolve_from_harmonic(make_eclipses(0.002, seed=seed), factor)
    assert box.signal.period_days == pytest.approx(PERIOD_DAYS, abs=STEP)
    assert abs(TRUTH.compute_offset_days(np.array([box.signal.transit_time_days]))[0]) < 0.05
    assert box.signal.duration_days == pytest.approx(0.15, rel=0.3)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_true_period_of_a_planet_is_found_from_each_harmonic(factor: float) -> None:
    planet = Planet(period_days=PERIOD_DAYS, transit_time_days=1.3, radius_ratio=0.05, scaled_axis=10.6)
    curve = simulate_light_curve(make_times(54.0, TEN_MINUTES_DAYS), [planet], noise_ppm=400.0)
    points = Points(curve.time, curve.flux, curve.noise)
    assert resolve_from_harmonic(points, factor).signal.period_days == pytest.approx(PERIOD_DAYS, abs=STEP)


def test_harmonic_outside_the_grid_is_not_tried() -> None:
    narrow = build_grid(54.0, 1.5, 3.0)  # the true period is not searched
    assert resolve_from_harmonic(make_eclipses(0.002), 0.5, narrow).signal.period_days == pytest.approx(2.0, abs=STEP)


GAPPY_TIME = make_times(80.0, 1 / 48, gaps=[(19.0, 21.5), (48.5, 52.0), (79.0, 80.0)])


@pytest.mark.parametrize("start_days", [15.0, 30.0])
@pytest.mark.parametrize("seed", range(3))
def test_longer_period_wins_if_transits_between_fall_into_gaps(start_days: float, seed: int) -> None:
    """Resolve a period and its half that explain the same points: K2-3 d was not observed in between."""
    truth = Signal(30.0, 5.2, 0.2)
    noise = np.random.default_rng(seed).normal(0.0, 2e-4, len(GAPPY_TIME))
    points = Points(GAPPY_TIME, 1.0 - 0.001 * truth.compute_shape(GAPPY_TIME) + noise, np.full(len(GAPPY_TIME), 2e-4))
    grid = build_grid(80.0, 1.0, 80.0)
    box = resolve_harmonics(points, grid, Signal(start_days, 5.2, 0.2))
    assert box.signal.period_days == pytest.approx(30.0, abs=0.1)


@pytest.mark.parametrize("start_days", [15.0, 30.0])
def test_shorter_period_wins_if_transits_between_are_observed(start_days: float) -> None:
    clear = make_times(80.0, 1 / 48)
    noise = np.random.default_rng(0).normal(0.0, 2e-4, len(clear))
    points = Points(clear, 1.0 - 0.001 * Signal(15.0, 5.2, 0.2).compute_shape(clear) + noise, np.full(len(clear), 2e-4))
    box = resolve_harmonics(points, build_grid(80.0, 1.0, 80.0), Signal(start_days, 5.2, 0.2))
    assert box.signal.period_days == pytest.approx(15.0, abs=0.1)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.38])
@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_eclipsing_binary_with_shallow_secondary_keeps_its_period(share: float, factor: float) -> None:
    """Gain (1 + s)**2 / 2 of the primary's gain at half the period: more than the primary alone from s = 0.41."""
    box = resolve_from_harmonic(make_eclipses(0.01, 0.01 * share), factor)
    assert box.signal.period_days == pytest.approx(PERIOD_DAYS, abs=STEP)


@pytest.mark.parametrize("share", [0.45, 1.0])
def test_eclipsing_binary_of_similar_stars_is_found_at_half_its_period(share: float) -> None:
    """Leave the distinction to the odd-even depth test."""
    box = resolve_from_harmonic(make_eclipses(0.01, 0.01 * share), 1.0)
    assert box.signal.period_days == pytest.approx(PERIOD_DAYS / 2, abs=STEP)


# Refinement


@pytest.mark.parametrize("off_steps", [-1.5, -0.4, 0.0, 0.7, 1.5])
def test_closest_box_finds_periods_between_the_steps_of_the_grid(off_steps: float) -> None:
    box = find_closest_box(make_eclipses(0.002), GRID, PERIOD_DAYS + off_steps * STEP, 0.15)
    assert box.signal.period_days == pytest.approx(PERIOD_DAYS, abs=0.35 * STEP)


@pytest.mark.parametrize("duration_days", [0.09, 0.15, 0.28])
def test_closest_box_finds_durations_from_half_to_twice(duration_days: float) -> None:
    box = find_closest_box(make_eclipses(0.002), GRID, PERIOD_DAYS, duration_days)
    assert box.signal.duration_days == pytest.approx(0.14, rel=0.2)  # between those of the floor and of the contacts


def test_gain_of_the_closest_box_is_at_least_that_of_the_grid() -> None:
    points = make_eclipses(0.002)
    spectrum = search_boxes(points, GRID)
    best = int(np.argmax(spectrum.gain))
    box = find_closest_box(points, GRID, float(spectrum.period_days[best]), float(spectrum.duration_days[best]))
    assert box.gain >= spectrum.gain[best]


def test_flat_curve_has_no_gain() -> None:
    time = make_times(54.0, TEN_MINUTES_DAYS)
    flat = Points(time, np.ones(len(time)), np.full(len(time), 5e-4))
    assert find_closest_box(flat, GRID, PERIOD_DAYS, 0.15).gain == 0.0
    assert resolve_harmonics(flat, GRID, TRUTH).gain == 0.0
