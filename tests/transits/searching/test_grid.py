"""Tests the trial grid against TLS's grid and against the shift of a transit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from transitleastsquares.grid import T14, period_grid

from tasks.transits.preparation import compute_max_transit_days
from tasks.transits.searching.grid import (
    MAX_SHARE,
    OVERSAMPLING,
    UNKNOWN_DENSITIES,
    build_grid,
    compute_duration_share,
    compute_trial_periods,
)
from tests.transits.synthetic import SUN


@pytest.mark.parametrize(
    ("baseline_days", "min_period_days", "max_period_days"),
    [(27.4, 0.6, 13.7), (80.0, 0.6, 40.0), (1_470.0, 1.0, 500.0), (365.0, 10.0, 180.0)],
)
def test_number_of_periods_equals_that_of_tls_for_the_sun(
    baseline_days: float, min_period_days: float, max_period_days: float
) -> None:
    theirs = period_grid(1.0, 1.0, baseline_days, min_period_days, max_period_days, oversampling_factor=OVERSAMPLING)
    assert len(compute_trial_periods(baseline_days, min_period_days, max_period_days)) == pytest.approx(
        len(theirs), rel=0.01
    )


@pytest.mark.parametrize("baseline_days", [1.5, 27.4, 80.0, 1_470.0, 6_000.0])
def test_neighbouring_periods_shift_the_last_transit_by_a_third_of_its_duration(baseline_days: float) -> None:
    periods = compute_trial_periods(baseline_days, 0.6, baseline_days)
    shift_turns = np.diff(1.0 / periods)[::-1] * -baseline_days
    duration_turns = compute_duration_share(periods, 1.0)[::-1]
    bound = np.maximum(duration_turns[1:], duration_turns[:-1]) / OVERSAMPLING
    assert np.all(shift_turns <= bound * (1 + 1e-9))
    assert shift_turns[len(shift_turns) // 2] == pytest.approx(bound[len(bound) // 2], rel=0.05)  # and no finer


@pytest.mark.parametrize(("baseline_days", "max_period_days"), [(27.4, 13.7), (1.3, 1.3), (6_000.0, 2_000.0)])
def test_periods_ascend_from_minimum_to_maximum_inclusive(baseline_days: float, max_period_days: float) -> None:
    periods = compute_trial_periods(baseline_days, 0.6, max_period_days)
    assert periods.dtype == np.float64
    assert np.all(np.diff(periods) > 0)
    assert periods[[0, -1]] == pytest.approx([0.6, max_period_days], rel=1e-12)


def test_indistinguishable_limits_are_both_tried() -> None:
    assert compute_trial_periods(27.4, 3.0, 3.0001) == pytest.approx([3.0, 3.0001])


def test_equal_limits_give_one_period() -> None:
    grid = build_grid(27.4, 3.0, 3.0)
    assert grid.period_days == pytest.approx([3.0, 3.0])
    assert np.all(grid.min_share < grid.max_share)
    assert grid.get_step_days(3.0) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("baseline_days", [0.01, 1e6])
def test_extreme_baselines_give_a_valid_grid(baseline_days: float) -> None:
    periods = compute_trial_periods(baseline_days, 300.0, 301.0)
    assert np.all(np.isfinite(periods))
    assert np.all(np.diff(periods) > 0)
    assert np.max(np.diff(1 / periods)[::-1] * -baseline_days) <= compute_duration_share(np.array([301.0]), 1.0)[0]


@pytest.mark.parametrize("density", [0.05, 1.0, 10.0])
@pytest.mark.parametrize("period_days", [5.0, 40.0, 365.25])
def test_duration_share_is_that_of_a_central_transit(density: float, period_days: float) -> None:
    share = float(compute_duration_share(np.array([period_days]), density)[0])
    # T14 of TLS of a star of a solar radius, small planet; its solar mass and radius differ in the third digit.
    expected = T14(R_s=1.0, M_s=density, P=period_days, small=True)
    assert share == pytest.approx(min(expected, MAX_SHARE), rel=0.01)


def test_duration_share_agrees_with_the_longest_transit_of_the_detrending() -> None:
    periods = np.array([10.0, 100.0, 365.25])
    expected = [compute_max_transit_days(period, SUN) / period for period in periods]
    assert compute_duration_share(periods, SUN.density) == pytest.approx(expected, rel=0.01)


def test_duration_share_is_capped() -> None:
    assert compute_duration_share(np.array([0.1, 0.3]), 0.02) == pytest.approx([MAX_SHARE, MAX_SHARE])


@pytest.mark.parametrize("density", [*UNKNOWN_DENSITIES, 0.1, 1.0, 10.0])
def test_durations_cover_all_stars_if_density_is_unknown(density: float) -> None:
    grid = build_grid(80.0, 0.6, 40.0)
    expected = compute_duration_share(grid.period_days, density)
    assert np.all(grid.min_share <= expected)
    assert np.all(expected <= grid.max_share)


@pytest.mark.parametrize("density", [0.1, 1.0, 20.0])
def test_given_density_narrows_the_durations(density: float) -> None:
    narrow, wide = build_grid(80.0, 5.0, 40.0, density), build_grid(80.0, 5.0, 40.0)
    expected = compute_duration_share(narrow.period_days, density)
    assert narrow.min_share / expected == pytest.approx(0.342, abs=0.001)
    assert np.all(narrow.max_share > 1.0 * expected)
    ratio = narrow.max_share / narrow.min_share
    assert np.all(ratio < wide.max_share / wide.min_share)
    assert np.array_equal(narrow.period_days, wide.period_days)


def test_step_is_the_distance_between_neighbouring_periods() -> None:
    grid = build_grid(27.4, 0.6, 13.7)
    inside = 0.5 * (grid.period_days[100] + grid.period_days[101])
    assert grid.get_step_days(inside) == grid.period_days[101] - grid.period_days[100]
    assert grid.get_step_days(0.1) == grid.period_days[1] - grid.period_days[0]
    assert grid.get_step_days(math.inf) == grid.period_days[-1] - grid.period_days[-2]
