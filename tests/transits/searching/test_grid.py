"""The trial grid: as fine as the data need, measured against TLS's own grid and against the shift of a transit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from transitleastsquares.grid import T14, period_grid

from tasks.transits.preparation import longest_transit_days
from tasks.transits.searching.grid import (
    MAX_SHARE,
    OVERSAMPLING,
    UNKNOWN_DENSITIES,
    duration_share,
    search_grid,
    trial_periods,
)
from tests.transits.synthetic import SUN


@pytest.mark.parametrize(
    ("baseline_days", "shortest_days", "longest_days"),
    [(27.4, 0.6, 13.7), (80.0, 0.6, 40.0), (1_470.0, 1.0, 500.0), (365.0, 10.0, 180.0)],
)
def test_as_many_periods_as_tls_has_for_the_sun(
    baseline_days: float, shortest_days: float, longest_days: float
) -> None:
    theirs = period_grid(1.0, 1.0, baseline_days, shortest_days, longest_days, oversampling_factor=OVERSAMPLING)
    assert len(trial_periods(baseline_days, shortest_days, longest_days)) == pytest.approx(len(theirs), rel=0.01)


@pytest.mark.parametrize("baseline_days", [1.5, 27.4, 80.0, 1_470.0, 6_000.0])
def test_between_neighbours_a_transit_shifts_by_a_third_of_its_duration_at_the_far_end(baseline_days: float) -> None:
    periods = trial_periods(baseline_days, 0.6, baseline_days)
    shift_turns = np.diff(1.0 / periods)[::-1] * -baseline_days
    duration_turns = duration_share(periods, 1.0)[::-1]
    bound = np.maximum(duration_turns[1:], duration_turns[:-1]) / OVERSAMPLING
    assert np.all(shift_turns <= bound * (1 + 1e-9))
    assert shift_turns[len(shift_turns) // 2] == pytest.approx(bound[len(bound) // 2], rel=0.05)  # and no finer


@pytest.mark.parametrize(("baseline_days", "longest_days"), [(27.4, 13.7), (1.3, 1.3), (6_000.0, 2_000.0)])
def test_ascends_from_the_shortest_to_the_longest_with_both(baseline_days: float, longest_days: float) -> None:
    periods = trial_periods(baseline_days, 0.6, longest_days)
    assert periods.dtype == np.float64
    assert np.all(np.diff(periods) > 0)
    assert periods[[0, -1]] == pytest.approx([0.6, longest_days], rel=1e-12)


def test_two_periods_that_the_data_cannot_tell_apart_are_both_tried() -> None:
    assert trial_periods(27.4, 3.0, 3.0001) == pytest.approx([3.0, 3.0001])


def test_one_period_only() -> None:
    grid = search_grid(27.4, 3.0, 3.0)
    assert grid.period_days == pytest.approx([3.0, 3.0])
    assert np.all(grid.shortest_share < grid.longest_share)
    assert grid.step_days(3.0) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("baseline_days", [0.01, 1e6])
def test_a_baseline_beyond_all_missions_makes_a_grid_that_fits_it(baseline_days: float) -> None:
    periods = trial_periods(baseline_days, 300.0, 301.0)
    assert np.all(np.isfinite(periods))
    assert np.all(np.diff(periods) > 0)
    assert np.max(np.diff(1 / periods)[::-1] * -baseline_days) <= duration_share(np.array([301.0]), 1.0)[0]


@pytest.mark.parametrize("density", [0.05, 1.0, 10.0])
@pytest.mark.parametrize("period_days", [5.0, 40.0, 365.25])
def test_share_of_a_period_is_that_of_a_transit_through_the_middle(density: float, period_days: float) -> None:
    share = float(duration_share(np.array([period_days]), density)[0])
    # T14 of TLS of a star of a solar radius, small planet; its solar mass and radius differ in the third digit.
    expected = T14(R_s=1.0, M_s=density, P=period_days, small=True)
    assert share == pytest.approx(min(expected, MAX_SHARE), rel=0.01)


def test_share_agrees_with_the_transit_that_the_detrending_spares() -> None:
    periods = np.array([10.0, 100.0, 365.25])
    expected = [longest_transit_days(period, SUN) / period for period in periods]
    assert duration_share(periods, SUN.density) == pytest.approx(expected, rel=0.01)


def test_no_transit_takes_more_than_the_longest_share_known() -> None:
    assert duration_share(np.array([0.1, 0.3]), 0.02) == pytest.approx([MAX_SHARE, MAX_SHARE])


@pytest.mark.parametrize("density", [*UNKNOWN_DENSITIES, 0.1, 1.0, 10.0])
def test_durations_bracket_those_of_every_star_where_none_is_known(density: float) -> None:
    grid = search_grid(80.0, 0.6, 40.0)
    expected = duration_share(grid.period_days, density)
    assert np.all(grid.shortest_share <= expected)
    assert np.all(expected <= grid.longest_share)


@pytest.mark.parametrize("density", [0.1, 1.0, 20.0])
def test_a_known_density_narrows_the_durations_around_the_expected_one(density: float) -> None:
    known, unknown = search_grid(80.0, 5.0, 40.0, density), search_grid(80.0, 5.0, 40.0)
    expected = duration_share(known.period_days, density)
    assert known.shortest_share / expected == pytest.approx(0.342, abs=0.001)
    assert np.all(known.longest_share > 1.0 * expected)
    ratio = known.longest_share / known.shortest_share
    assert np.all(ratio < unknown.longest_share / unknown.shortest_share)
    assert np.array_equal(known.period_days, unknown.period_days)


def test_step_is_the_distance_of_the_periods_around_one() -> None:
    grid = search_grid(27.4, 0.6, 13.7)
    inside = 0.5 * (grid.period_days[100] + grid.period_days[101])
    assert grid.step_days(inside) == grid.period_days[101] - grid.period_days[100]
    assert grid.step_days(0.1) == grid.period_days[1] - grid.period_days[0]
    assert grid.step_days(math.inf) == grid.period_days[-1] - grid.period_days[-2]
