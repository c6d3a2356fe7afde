"""Peaks: which of them are looked at, what outranks what, and that each way of searching finds the same planet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.transits.light_curve import Floats
from tasks.transits.params import TransitParams
from tasks.transits.searching import peaks
from tasks.transits.searching.grid import search_grid
from tasks.transits.searching.peaks import searched, strongest, transits_near
from tasks.transits.searching.points import Points
from tasks.transits.searching.trapezoid import Signal
from tests.transits.synthetic import Planet, light_curve, times

TEN_MINUTES_DAYS = 600.0 / 86_400.0
GRID = search_grid(27.0, 0.6, 13.0)
MODES: dict[str, dict[str, Any]] = {
    "boxes alone": {"run_tls": False},
    "transits alone": {"run_bls": False},
    "boxes, transits on their peaks": {},
    "boxes, transits over all periods": {"tls_scope": "full"},
}


def points_of(
    planets: list[Planet], seed: int = 0, added: Floats | None = None, cadence_days: float = TEN_MINUTES_DAYS
) -> Points:
    curve = light_curve(times(cadence_days=cadence_days), planets, 400.0, seed, added=added)
    return Points(curve.time, curve.flux, curve.noise)


def peaks_of(power: Floats, count: int = 5) -> list[int]:
    return list(peaks._peaks(power, count))


# Peaks of a spectrum


def test_peaks_come_highest_first() -> None:
    power = np.zeros(100)
    power[[10, 40, 70]] = [5.0, 9.0, 7.0]
    assert peaks_of(power) == [40, 70, 10]
    assert peaks_of(power, 2) == [40, 70]


def test_neighbours_of_a_peak_are_no_peaks() -> None:
    power = 10.0 * np.exp(-0.5 * ((np.arange(200) - 80.0) / 8.0) ** 2)
    power[150] = 3.0
    assert peaks_of(power) == [80, 150]


def test_a_dent_in_a_slope_is_no_peak_of_its_own_near_the_top() -> None:
    power = np.zeros(100)
    power[47:54] = [1.0, 6.0, 5.0, 9.0, 4.0, 6.5, 1.0]
    assert peaks_of(power) == [50]


@pytest.mark.parametrize("place", [0, 99])
def test_a_peak_at_the_end_of_the_spectrum(place: int) -> None:
    power = np.zeros(100)
    power[place], power[50] = 9.0, 3.0
    assert peaks_of(power) == [place, 50]


def test_nothing_above_the_background_is_no_peak() -> None:
    assert peaks_of(np.full(50, -1.0)) == []
    assert peaks_of(np.zeros(50)) == []


def test_the_spectrum_is_left_as_it_was() -> None:
    power = np.random.default_rng(0).normal(size=300)
    before = power.copy()
    peaks_of(power)
    assert np.array_equal(power, before)


@pytest.mark.parametrize("seed", range(5))
def test_peaks_of_noise_are_apart_and_local_maxima(seed: int) -> None:
    power = np.random.default_rng(seed).normal(size=500)
    found = peaks_of(power)
    assert len(found) == 5
    assert power[found[0]] == power.max()
    assert np.all(np.diff(np.sort(found)) > 3)
    assert all(power[max(0, at - 1) : at + 2].max() == power[at] for at in found)


# What outranks what


def test_a_transit_outranks_dips_of_another_shape_that_a_box_prefers() -> None:
    """The dips between are deepest at their sides and nothing in the middle: to a box, it is all one."""
    planet = Planet(period_days=3.0, transit_time_days=1.0, radius_ratio=0.03, impact=0.6)
    offset = np.abs(Signal(4.3, 2.2, 0.1).offset_days(times(cadence_days=TEN_MINUTES_DAYS))) / planet.duration_days
    depth = 1.0 - float(planet.flux(np.array([1.0]))[0])
    points = points_of([planet], added=-2.42 * depth * 2.0 * offset * (offset < 0.5))
    alone, fitted = TransitParams(run_tls=False), TransitParams()
    boxes, both = (strongest(points, searched(points, GRID, params), params) for params in (alone, fitted))
    assert boxes is not None
    assert both is not None
    assert boxes.signal.period_days == pytest.approx(4.3, abs=0.02)
    assert both.signal.period_days == pytest.approx(3.0, abs=0.02)


def test_sde_of_boxes_alone_is_the_height_of_their_peak() -> None:
    params = TransitParams(run_tls=False)
    points = points_of([Planet(radius_ratio=0.03)])
    spectrum = searched(points, GRID, params)
    nomination = strongest(points, spectrum, params)
    assert nomination is not None
    assert spectrum.periodogram is not None
    assert nomination.sde == spectrum.periodogram.power.max()
    assert nomination.signal.period_days == spectrum.periodogram.period_days[spectrum.periodogram.power.argmax()]


def test_sde_of_transits_on_peaks_is_on_the_scale_of_the_boxes() -> None:
    params = TransitParams()
    points = points_of([Planet(radius_ratio=0.03)])
    spectrum = searched(points, GRID, params)
    nomination = strongest(points, spectrum, params)
    near = transits_near(points, GRID, 3.0)
    assert nomination is not None
    assert near is not None
    assert nomination.sde == pytest.approx(spectrum.transit_sde(points.flat_chi_square() - near.gain, 3.0), rel=0.05)
    assert spectrum.periodogram is not None
    assert nomination.sde == pytest.approx(spectrum.periodogram.power.max(), rel=0.15)


# Ways of searching


@pytest.mark.parametrize("period_days", [2.37, 3.0, 8.2])
def test_each_way_finds_the_same_planet_within_a_step_of_the_grid(period_days: float) -> None:
    planet = Planet(
        period_days, transit_time_days=0.4 * period_days, radius_ratio=0.05, scaled_axis=4.2 * period_days ** (2 / 3)
    )
    points = points_of([planet], cadence_days=1 / 48)
    grid = search_grid(27.0, 1.5, 13.0)
    for mode, choice in MODES.items():
        params = TransitParams(**choice)
        found = strongest(points, searched(points, grid, params), params)
        assert found is not None, mode
        assert found.signal.period_days == pytest.approx(period_days, abs=1.5 * grid.step_days(period_days)), mode
        assert found.sde > 10.0, mode


def test_each_way_searches_what_it_was_asked_for_and_no_more() -> None:
    points = points_of([Planet(radius_ratio=0.05)], cadence_days=1 / 48)
    grid = search_grid(27.0, 2.0, 6.0)
    searches = {mode: searched(points, grid, TransitParams(**choice)) for mode, choice in MODES.items()}
    done = {mode: (found.boxes is not None, found.transits is not None) for mode, found in searches.items()}
    assert list(done.values()) == [(True, False), (False, True), (True, False), (True, True)]
    alone = searches["transits alone"]
    assert alone.transits is not None
    assert alone.periodogram is not None
    assert np.array_equal(alone.periodogram.power, alone.transits.power)


@pytest.mark.parametrize("mode", MODES)
def test_a_flat_curve_nominates_nothing(mode: str) -> None:
    time = times(cadence_days=1 / 48)
    points = Points(time, np.ones(len(time)), np.full(len(time), 4e-4))
    params = TransitParams(**MODES[mode])
    spectrum = searched(points, search_grid(27.0, 2.0, 6.0), params)
    assert spectrum.periodogram is None
    assert strongest(points, spectrum, params) is None
