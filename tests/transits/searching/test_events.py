"""Single dimmings are excluded if one dip makes the peak, and kept if two do."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.transits.light_curve import Floats
from tasks.transits.searching.events import find_single_event
from tasks.transits.searching.points import Points
from tasks.transits.searching.trapezoid import Signal
from tests.transits.synthetic import make_times

TEN_MINUTES_DAYS = 600.0 / 86_400.0
SIGNAL = Signal(10.0, 3.3, 0.25)  # three transits in a sector: at 3.3, 13.3 and 23.3
NOISE = 3e-4


def find_time(points: Points, signal: Signal) -> float | None:
    event = find_single_event(points, signal)
    return None if event is None else event.time_days


def make_dips(depths: dict[float, float], time: Floats | None = None, seed: int = 0) -> Points:
    """Return dips of the given depths at the given times, shaped like a transit of ``SIGNAL``."""
    time = make_times(cadence_days=TEN_MINUTES_DAYS) if time is None else time
    flux = 1.0 + np.random.default_rng(seed).normal(0.0, NOISE, len(time))
    for middle, depth in depths.items():
        flux -= depth * Signal(1e4, middle, 0.25).compute_shape(time)
    return Points(time, flux, np.full(len(time), NOISE))


@pytest.mark.parametrize("middle", [3.3, 13.3, 23.3])
@pytest.mark.parametrize("seed", range(3))
def test_single_deep_dip_is_an_event_at_its_time(middle: float, seed: int) -> None:
    assert find_time(make_dips({middle: 0.01}, seed=seed), SIGNAL) == pytest.approx(middle, abs=0.01)


@pytest.mark.parametrize("depths", [{3.3: 0.01, 13.3: 0.01}, {3.3: 0.01, 23.3: 0.01}, {3.3: 0.002, 13.3: 0.0015}])
def test_two_similar_dips_are_a_signal(depths: dict[float, float]) -> None:
    assert find_time(make_dips(depths), SIGNAL) is None


def test_three_dips_with_one_slightly_deeper_are_a_signal() -> None:
    assert find_time(make_dips({3.3: 0.002, 13.3: 0.003, 23.3: 0.002}), SIGNAL) is None


def test_two_dips_are_an_event_if_one_has_a_tenth_of_the_depth() -> None:
    two = Signal(10.0, 3.3, 0.25)
    time = make_times(days=20.0, cadence_days=TEN_MINUTES_DAYS)
    assert find_time(make_dips({3.3: 0.01, 13.3: 0.001}, time), two) == pytest.approx(3.3, abs=0.01)
    assert find_time(make_dips({3.3: 0.001, 13.3: 0.01}, time), two) == pytest.approx(13.3, abs=0.01)


@pytest.mark.parametrize(("share", "alone"), [(0.2, True), (0.3, True), (0.5, False), (1.0, False)])
def test_second_dip_must_have_38_percent_of_the_depth_of_the_first(share: float, alone: bool) -> None:
    """Keep d**2 of (1 + d)**2 / 2 without the first dip: 15 % of it if d is 0.38."""
    time = make_times(days=20.0, cadence_days=TEN_MINUTES_DAYS)
    event = find_time(make_dips({3.3: 0.02, 13.3: 0.02 * share}, time), SIGNAL)
    assert (event is not None) is alone


def test_brightenings_at_other_transits_do_not_support_a_dip() -> None:
    assert find_time(make_dips({3.3: 0.01, 13.3: -0.01, 23.3: -0.01}), SIGNAL) == pytest.approx(3.3, abs=0.01)


def test_dip_in_the_only_transit_with_data_is_an_event() -> None:
    time = make_times(cadence_days=TEN_MINUTES_DAYS, gaps=[(12.0, 15.0), (22.0, 25.0)])
    assert find_time(make_dips({3.3: 0.01}, time), SIGNAL) == pytest.approx(3.3, abs=0.01)


def test_time_of_a_half_observed_event_is_that_of_its_points() -> None:
    time = make_times(cadence_days=TEN_MINUTES_DAYS, gaps=[(3.3, 4.0)])
    event = find_time(make_dips({3.3: 0.01}, time), SIGNAL)
    assert event is not None
    assert 3.3 - 0.125 < event < 3.3


def test_point_of_little_weight_is_not_an_event() -> None:
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    clean = make_dips({3.3: 0.002, 13.3: 0.002, 23.3: 0.002}, time)
    wild = np.abs(time - 13.3) < TEN_MINUTES_DAYS / 2
    noise = np.where(wild, 0.5, clean.noise)
    assert find_time(Points(time, np.where(wild, 0.3, clean.flux), noise), SIGNAL) is None


def test_transits_without_points_are_not_an_event() -> None:
    time = make_times(days=20.0, cadence_days=TEN_MINUTES_DAYS, gaps=[(3.0, 3.6), (13.0, 13.6)])
    assert find_time(make_dips({}, time), SIGNAL) is None


def test_flat_flux_is_not_an_event() -> None:
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    assert find_time(Points(time, np.ones(len(time)), np.full(len(time), NOISE)), SIGNAL) is None
