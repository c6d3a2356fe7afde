"""Real stars with and without planets: read, prepared and searched with default parameters.

A full search of four years of Kepler takes half a minute, so only the benchmark does it. This test searches periods
around the planets that stand out before the transits of others are masked.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tasks.transits.candidate import Candidate
from tasks.transits.columns import Flag
from tasks.transits.features import measure
from tasks.transits.flags import find_false_positive_flags
from tasks.transits.light_curve import PreparedLightCurve, Star
from tasks.transits.params import TransitParams
from tasks.transits.preparation import prepare
from tasks.transits.reading import read_light_curve
from tasks.transits.searching import search

PERIOD_TOLERANCE = 0.001
FOUR_YEARS = "kplr006850504/kplr006850504-*_llc.fits"
WINDOW = 1.03  # from the period over this to the period times this


@dataclass(frozen=True)
class SearchedStar:
    curve: PreparedLightCurve
    candidates: tuple[Candidate, ...]

    def find_nearest(self, period_days: float) -> Candidate | None:
        """Return the candidate whose period is within 1 % of this one."""
        close = [each for each in self.candidates if abs(each.period_days / period_days - 1.0) < 0.01]
        return min(close, key=lambda each: abs(each.period_days - period_days), default=None)


@pytest.fixture(scope="module")
def truth(shared_data: Path) -> dict[str, dict[str, float]]:
    """Return the periods in days by planet, by file."""
    planets: dict[str, dict[str, float]] = {}
    with (shared_data / "lightcurves" / "truth.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            of_star = planets.setdefault(row["file"], {})
            if row["kind"] == "planet":
                of_star[row["name"]] = float(row["period_days"])
    return planets


@pytest.fixture(scope="module")
def search_star(shared_data: Path) -> Callable[..., SearchedStar]:
    """Search the stars of ``truth.csv`` once each, by the pattern of their files."""

    @cache
    def run(pattern: str, **params: float) -> SearchedStar:
        options = TransitParams(**params)
        files = sorted((shared_data / "lightcurves").glob(pattern))
        result = search(prepare(read_light_curve(files, Star(), "pdcsap"), options), options)
        return SearchedStar(result.curve, result.candidates)

    return run


@pytest.mark.parametrize(
    ("pattern", "planets"),
    [
        pytest.param("tess*0025155310*.fits", ["WASP-126 b"], id="TESS, WASP-126"),
        pytest.param("tess*0038846515*.fits", ["WASP-100 b"], id="TESS, WASP-100"),
        pytest.param("tess*0281459670*.fits", ["HATS-30 b"], id="TESS, HATS-30"),
        pytest.param("pimen*.csv", ["pi Men c"], id="TESS as CSV, pi Men"),
        pytest.param("EPIC201367065.csv", ["K2-3 b", "K2-3 c", "K2-3 d"], id="K2 as CSV, K2-3"),
        pytest.param("ktwo206103150*.fits", ["WASP-47 b", "WASP-47 d", "WASP-47 e"], id="K2, WASP-47"),
        pytest.param("kplr011446443*_slc.fits", ["Kepler-1 b (=TrES-2 b)"], id="10 days of Kepler's short cadence"),
    ],
)
def test_known_planets_are_found(
    pattern: str, planets: list[str], truth: dict[str, dict[str, float]], search_star: Callable[..., SearchedStar]
) -> None:
    periods = {name: period for of_star in truth.values() for name, period in of_star.items()}
    star = search_star(pattern)
    for name in planets:
        nearest = star.find_nearest(periods[name])
        assert nearest is not None, f"{name} is not among {[each.period_days for each in star.candidates]}"
        assert nearest.period_days == pytest.approx(periods[name], rel=PERIOD_TOLERANCE)
    assert star.candidates[0] is star.find_nearest(periods[planets[0]]), "the deepest planet comes first"


@pytest.mark.parametrize("planet", ["b", "c", "d"])
def test_planets_in_four_years_of_kepler_are_found(
    planet: str, truth: dict[str, dict[str, float]], search_star: Callable[..., SearchedStar]
) -> None:
    period = truth[FOUR_YEARS][f"Kepler-20 A {planet}"]
    around = {"min_period": period / WINDOW, "max_period": period * WINDOW}
    star = search_star(FOUR_YEARS, **around, max_planets=2, min_sde=5.0)  # with few periods, peaks are low
    candidate = star.find_nearest(period)
    assert candidate is not None
    assert candidate.period_days == pytest.approx(period, rel=PERIOD_TOLERANCE)


@pytest.mark.parametrize("pattern", ["ktwo211495446*.fits", "ktwo211696659*.fits"])
def test_quiet_star_without_known_planets_has_no_candidate(
    pattern: str, search_star: Callable[..., SearchedStar]
) -> None:
    candidates = search_star(pattern).candidates
    assert not candidates, [(each.period_days, each.sde, each.snr) for each in candidates]


def test_variable_star_is_flagged_for_its_rotation(search_star: Callable[..., SearchedStar]) -> None:
    star = search_star("ktwo211719918*.fits")
    assert star.candidates
    for candidate in star.candidates:
        features = measure(star.curve, candidate, star.candidates)
        assert Flag.NEAR_ROTATION in find_false_positive_flags(star.curve, candidate, features, star.candidates)
