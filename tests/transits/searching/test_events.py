"""Single dimmings: set aside where one dip makes the peak, and not where two do."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.transits.light_curve import Floats
from tasks.transits.searching.events import single_event
from tasks.transits.searching.points import Points
from tasks.transits.searching.trapezoid import Signal
from tests.transits.synthetic import times

TEN_MINUTES_DAYS = 600.0 / 86_400.0
SIGNAL = Signal(10.0, 3.3, 0.25)  # three transits in a sector: at 3.3, 13.3 and 23.3
NOISE = 3e-4


def dips(depths: dict[float, float], time: Floats | None = None, seed: int = 0) -> Points:
    """A dip of each depth at its time, shaped like a transit of ``SIGNAL``."""
    time = times(cadence_days=TEN_MINUTES_DAYS) if time is None else time
    flux = 1.0 + np.random.default_rng(seed).normal(0.0, NOISE, len(time))
    for middle, depth in depths.items():
        flux -= depth * Signal(1e4, middle, 0.25).shape(time)
    return Points(time, flux, np.full(len(time), NOISE))


@pytest.mark.parametrize("middle", [3.3, 13.3, 23.3])
@pytest.mark.parametrize("seed", range(3))
def test_one_deep_dip_is_an_event_at_its_time(middle: float, seed: int) -> None:
    assert single_event(dips({middle: 0.01}, seed=seed), SIGNAL) == pytest.approx(middle, abs=0.01)


@pytest.mark.parametrize("depths", [{3.3: 0.01, 13.3: 0.01}, {3.3: 0.01, 23.3: 0.01}, {3.3: 0.002, 13.3: 0.0015}])
def test_two_alike_are_a_signal(depths: dict[float, float]) -> None:
    assert single_event(dips(depths), SIGNAL) is None


def test_three_of_which_one_is_a_little_deeper_are_a_signal() -> None:
    assert single_event(dips({3.3: 0.002, 13.3: 0.003, 23.3: 0.002}), SIGNAL) is None


def test_two_of_which_one_has_a_tenth_of_the_depth_are_an_event() -> None:
    two = Signal(10.0, 3.3, 0.25)
    time = times(days=20.0, cadence_days=TEN_MINUTES_DAYS)
    assert single_event(dips({3.3: 0.01, 13.3: 0.001}, time), two) == pytest.approx(3.3, abs=0.01)
    assert single_event(dips({3.3: 0.001, 13.3: 0.01}, time), two) == pytest.approx(13.3, abs=0.01)


@pytest.mark.parametrize(("share", "alone"), [(0.2, True), (0.3, True), (0.5, False), (1.0, False)])
def test_how_deep_the_second_of_two_must_be(share: float, alone: bool) -> None:
    """Without the first, d**2 is left of (1 + d)**2 / 2: 15 % of it where d is 0.38."""
    time = times(days=20.0, cadence_days=TEN_MINUTES_DAYS)
    found = single_event(dips({3.3: 0.02, 13.3: 0.02 * share}, time), SIGNAL)
    assert (found is not None) is alone


def test_a_brightening_beside_a_dip_does_not_count_for_it() -> None:
    assert single_event(dips({3.3: 0.01, 13.3: -0.01, 23.3: -0.01}), SIGNAL) == pytest.approx(3.3, abs=0.01)


def test_a_dip_in_the_only_transit_with_data_is_an_event() -> None:
    time = times(cadence_days=TEN_MINUTES_DAYS, gaps=[(12.0, 15.0), (22.0, 25.0)])
    assert single_event(dips({3.3: 0.01}, time), SIGNAL) == pytest.approx(3.3, abs=0.01)


def test_half_seen_the_time_is_that_of_the_points_there_are() -> None:
    time = times(cadence_days=TEN_MINUTES_DAYS, gaps=[(3.3, 4.0)])
    found = single_event(dips({3.3: 0.01}, time), SIGNAL)
    assert found is not None
    assert 3.3 - 0.125 < found < 3.3


def test_a_point_of_little_weight_makes_no_event() -> None:
    time = times(cadence_days=TEN_MINUTES_DAYS)
    clean = dips({3.3: 0.002, 13.3: 0.002, 23.3: 0.002}, time)
    wild = np.abs(time - 13.3) < TEN_MINUTES_DAYS / 2
    noise = np.where(wild, 0.5, clean.noise)
    assert single_event(Points(time, np.where(wild, 0.3, clean.flux), noise), SIGNAL) is None


def test_no_points_in_any_transit_is_no_event() -> None:
    time = times(days=20.0, cadence_days=TEN_MINUTES_DAYS, gaps=[(3.0, 3.6), (13.0, 13.6)])
    assert single_event(dips({}, time), SIGNAL) is None


def test_flat_flux_is_no_event() -> None:
    time = times(cadence_days=TEN_MINUTES_DAYS)
    found = single_event(Points(time, np.ones(len(time)), np.full(len(time), NOISE)), SIGNAL)
    assert found is None
