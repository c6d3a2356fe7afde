"""Rows of one star: signals of the search, given candidates and single transits."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.transits.analysis import StarAnalysis, analyze_star
from tasks.transits.columns import COLUMNS
from tasks.transits.given import Ephemeris
from tasks.transits.light_curve import TIME_ZERO_DAYS, Star
from tasks.transits.params import TransitParams
from tests.transits.observations import SECTOR, csv_rows, write_csv
from tests.transits.synthetic import Planet, make_times

START = 1325.3
PARAMS = TransitParams(plots=False, run_tls=False, max_planets=2)
BIG = Planet(period_days=3.29, transit_time_days=1.2, radius_ratio=0.08)


def analyze(folder: Path, flux: np.ndarray, *given: Ephemeris) -> StarAnalysis:
    time = make_times(27.4, gaps=[(13.0, 14.1)]) + START
    path = write_csv(folder / "TIC 5.csv", "time,flux", *csv_rows(time, flux))
    target: dict[str, Any] = {"name": "TIC 5", "mission": "TESS", "segments": [], "star": asdict(Star())}
    return analyze_star({**target, "candidates": [asdict(each) for each in given]}, [path], PARAMS)


def simulate(*planets: Planet, seed: int = 1, noise: float = 8e-4) -> np.ndarray:
    time = make_times(27.4, gaps=[(13.0, 14.1)])
    flux = 1.0 + np.random.default_rng(seed).normal(0.0, noise, len(time))
    for planet in planets:
        flux *= planet.compute_flux(time)
    return flux


def list_rows(study: StarAnalysis, origin: str) -> list[Any]:
    return [row for row in study.rows if row["origin"] == origin]


def test_given_candidates_have_rows_and_matches(tmp_path: Path) -> None:
    zero = TIME_ZERO_DAYS["BTJD"] + START
    given = [Ephemeris(9.1, zero + 4.0, 0.1), Ephemeris(2 * 3.29, zero + 1.2, 0.12, 0.0064), Ephemeris(None, zero)]
    study = analyze(tmp_path, simulate(BIG), *given)
    (found,) = list_rows(study, "search")
    weak, half, unknown = list_rows(study, "given")
    assert (found["match"], found["harmonic"]) == (2, 2.0)
    assert (half["match"], half["harmonic"], half["ephemeris"]) == (1, 0.5, "fitted")
    assert half["period_days"] == pytest.approx(6.58, rel=1e-3)
    assert half["depth_ppm"] == pytest.approx(found["depth_ppm"], rel=0.05)
    assert (half["given_period_days"], half["given_depth_ppm"]) == (6.58, pytest.approx(6400.0))
    assert half["given_transit_time_days"] == pytest.approx(START + 1.2)
    assert (weak["match"], weak["ephemeris"], weak["period_days"]) == (None, "exact", 9.1)
    assert "weak" in weak["false_positive_flags"].split(";")
    assert unknown["mask_reasons"].count("=no_given_period") == 27
    assert [row["candidate_number"] for row in (weak, half, unknown)] == [1, 2, 3]
    assert [row["candidates"] for row in study.rows] == [1] * 4
    assert {name for row in study.rows for name in row} <= {column.name for column in COLUMNS}
    assert study.get_values()["candidates"] == 1
    assert found["pipelines"] == "csv"


def test_same_period_has_the_sde_of_the_search(tmp_path: Path) -> None:
    study = analyze(tmp_path, simulate(BIG), Ephemeris(3.29))
    (found,), (given,) = list_rows(study, "search"), list_rows(study, "given")
    assert given["sde"] == found["sde"]
    assert given["harmonic"] == found["harmonic"] == 1.0


def test_single_transit_is_a_row_without_a_period(tmp_path: Path) -> None:
    long = Planet(period_days=40.0, transit_time_days=8.3, radius_ratio=0.07, scaled_axis=45.0)
    study = analyze(tmp_path, simulate(BIG, long))
    (single,) = list_rows(study, "single_transit")
    assert single["transit_time_days"] == pytest.approx(START + 8.3, abs=0.01)
    assert single["duration_days"] == pytest.approx(long.duration_days, rel=0.1)
    assert single["depth_ppm"] == pytest.approx(1e6 * 0.07**2 * 1.15, rel=0.15)
    assert single["snr"] > 7.1
    assert single["period_days"] is None
    assert "period_days=single_transit" in single["mask_reasons"]
    assert single["candidate_number"] == 1
    assert [row["period_days"] for row in list_rows(study, "search")] == pytest.approx([3.29], rel=1e-3)


def test_star_that_cannot_be_searched_keeps_its_given_rows(tmp_path: Path) -> None:
    time = SECTOR[:20]
    path = write_csv(tmp_path / "x.csv", "time,flux", *csv_rows(time, np.ones(20)))
    target = {"name": "x", "mission": "TESS", "segments": [], "star": asdict(Star())}
    study = analyze_star({**target, "candidates": [asdict(Ephemeris(3.0))]}, [path], PARAMS)
    assert [row["origin"] for row in study.rows] == ["search", "given"]
    assert [row["mask_reasons"].count("=too_few_points") for row in study.rows] == [27, 27]


def test_bad_points_are_counted_and_do_not_hide_a_planet(tmp_path: Path) -> None:
    flux = simulate(BIG)
    places = np.random.default_rng(1).choice(len(flux), 40, replace=False)
    flux[places[:10]], flux[places[10:]] = 0.8, 0.0
    study = analyze(tmp_path, flux)
    assert [row["period_days"] for row in list_rows(study, "search")] == pytest.approx([3.29], rel=1e-3)
    values = study.get_values()
    assert (values["nonpositive_points"], values["short_dip_points"]) == (30, pytest.approx(10, abs=1))
