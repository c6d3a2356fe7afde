"""Peaks: how high they are, and that each way of searching finds the same planet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.transits.light_curve import Floats
from tasks.transits.params import TransitParams
from tasks.transits.searching.grid import search_grid
from tasks.transits.searching.peaks import searched, strongest, transits_near
from tasks.transits.searching.points import Points
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


def test_sde_of_boxes_alone_is_the_height_of_their_peak() -> None:
    params = TransitParams(run_tls=False)
    points = points_of([Planet(radius_ratio=0.03)])
    spectrum = searched(points, GRID, params)
    nomination = strongest(spectrum)
    assert nomination is not None
    assert spectrum.periodogram is not None
    assert nomination.sde == spectrum.periodogram.power.max()
    assert nomination.signal.period_days == spectrum.periodogram.period_days[spectrum.periodogram.power.argmax()]


def test_sde_of_transits_on_a_peak_is_on_the_scale_of_the_boxes() -> None:
    points = points_of([Planet(radius_ratio=0.03)])
    spectrum = searched(points, GRID, TransitParams())
    nomination = strongest(spectrum)
    near = transits_near(points, GRID, 3.0)
    assert nomination is not None
    assert near is not None
    assert spectrum.transit_sde(points.flat_chi_square() - near.gain, 3.0) == pytest.approx(nomination.sde, rel=0.15)


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
        found = strongest(searched(points, grid, params))
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
    assert strongest(spectrum) is None
