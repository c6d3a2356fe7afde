"""Tests the height of peaks, and that all search modes find the same planet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.transits.light_curve import Floats
from tasks.transits.params import TransitParams
from tasks.transits.searching.grid import build_grid
from tasks.transits.searching.peaks import find_strongest_peak, search_periods, search_transits_near
from tasks.transits.searching.points import Points
from tests.transits.synthetic import Planet, make_times, simulate_light_curve

TEN_MINUTES_DAYS = 600.0 / 86_400.0
GRID = build_grid(27.0, 0.6, 13.0)
MODES: dict[str, dict[str, Any]] = {
    "boxes alone": {"run_tls": False},
    "transits alone": {"run_bls": False},
    "boxes, transits on their peaks": {},
    "boxes, transits over all periods": {"tls_scope": "full"},
}


def make_points(
    planets: list[Planet], seed: int = 0, added: Floats | None = None, cadence_days: float = TEN_MINUTES_DAYS
) -> Points:
    curve = simulate_light_curve(make_times(cadence_days=cadence_days), planets, 400.0, seed, added=added)
    return Points(curve.time, curve.flux, curve.noise)


def test_sde_of_the_box_search_is_the_height_of_its_peak() -> None:
    params = TransitParams(run_tls=False)
    points = make_points([Planet(radius_ratio=0.03)])
    spectrum = search_periods(points, GRID, params)
    peak = find_strongest_peak(spectrum)
    assert peak is not None
    assert spectrum.periodogram is not None
    assert peak.sde == spectrum.periodogram.power.max()
    assert peak.signal.period_days == spectrum.periodogram.period_days[spectrum.periodogram.power.argmax()]


def test_sde_of_tls_near_a_peak_is_on_the_scale_of_the_box_search() -> None:
    points = make_points([Planet(radius_ratio=0.03)])
    spectrum = search_periods(points, GRID, TransitParams())
    peak = find_strongest_peak(spectrum)
    near = search_transits_near(points, GRID, 3.0)
    assert peak is not None
    assert near is not None
    assert spectrum.compute_transit_sde(points.compute_flat_chi_square() - near.gain, 3.0) == pytest.approx(
        peak.sde, rel=0.15
    )


# Search modes


@pytest.mark.parametrize("period_days", [2.37, 3.0, 8.2])
def test_all_modes_find_the_same_planet_within_a_step_of_the_grid(period_days: float) -> None:
    planet = Planet(
        period_days, transit_time_days=0.4 * period_days, radius_ratio=0.05, scaled_axis=4.2 * period_days ** (2 / 3)
    )
    points = make_points([planet], cadence_days=1 / 48)
    grid = build_grid(27.0, 1.5, 13.0)
    for mode, choice in MODES.items():
        params = TransitParams(**choice)
        peak = find_strongest_peak(search_periods(points, grid, params))
        assert peak is not None, mode
        assert peak.signal.period_days == pytest.approx(period_days, abs=1.5 * grid.get_step_days(period_days)), mode
        assert peak.sde > 10.0, mode


def test_each_mode_runs_only_the_selected_searches() -> None:
    points = make_points([Planet(radius_ratio=0.05)], cadence_days=1 / 48)
    grid = build_grid(27.0, 2.0, 6.0)
    searches = {mode: search_periods(points, grid, TransitParams(**choice)) for mode, choice in MODES.items()}
    done = {mode: (spectrum.boxes is not None, spectrum.transits is not None) for mode, spectrum in searches.items()}
    assert list(done.values()) == [(True, False), (False, True), (True, False), (True, True)]
    alone = searches["transits alone"]
    assert alone.transits is not None
    assert alone.periodogram is not None
    assert np.array_equal(alone.periodogram.power, alone.transits.power)


@pytest.mark.parametrize("mode", MODES)
def test_flat_curve_has_no_peak(mode: str) -> None:
    time = make_times(cadence_days=1 / 48)
    points = Points(time, np.ones(len(time)), np.full(len(time), 4e-4))
    params = TransitParams(**MODES[mode])
    spectrum = search_periods(points, build_grid(27.0, 2.0, 6.0), params)
    assert spectrum.periodogram is None
    assert find_strongest_peak(spectrum) is None
