"""Real stars with planets whose periods are known, and stars without; read, prepared and searched with defaults.

Four years of Kepler take half a minute to search in full, which the benchmark does; here, periods around the planets
that stand out before the transits of others are masked.
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
class Searched:
    curve: PreparedLightCurve
    candidates: tuple[Candidate, ...]

    def nearest(self, period_days: float) -> Candidate | None:
        """The candidate that means this period, were it wrong by 1 %."""
        close = [found for found in self.candidates if abs(found.period_days / period_days - 1.0) < 0.01]
        return min(close, key=lambda found: abs(found.period_days - period_days), default=None)


@pytest.fixture(scope="module")
def truth(shared_data: Path) -> dict[str, dict[str, float]]:
    """Periods in days by planet, by file."""
    planets: dict[str, dict[str, float]] = {}
    with (shared_data / "lightcurves" / "truth.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            of_star = planets.setdefault(row["file"], {})
            if row["kind"] == "planet":
                of_star[row["name"]] = float(row["period_days"])
    return planets


@pytest.fixture(scope="module")
def searched(shared_data: Path) -> Callable[..., Searched]:
    """A star of ``truth.csv`` by the pattern of its files, each searched once."""

    @cache
    def run(pattern: str, **params: float) -> Searched:
        options = TransitParams(**params)
        files = sorted((shared_data / "lightcurves").glob(pattern))
        result = search(prepare(read_light_curve(files, Star(), "pdcsap"), options), options)
        return Searched(result.curve, result.candidates)

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
    pattern: str, planets: list[str], truth: dict[str, dict[str, float]], searched: Callable[..., Searched]
) -> None:
    periods = {name: period for of_star in truth.values() for name, period in of_star.items()}
    star = searched(pattern)
    for name in planets:
        found = star.nearest(periods[name])
        assert found is not None, f"{name} is not among {[one.period_days for one in star.candidates]}"
        assert found.period_days == pytest.approx(periods[name], rel=PERIOD_TOLERANCE)
    assert star.candidates[0] is star.nearest(periods[planets[0]]), "the deepest planet comes first"


@pytest.mark.parametrize("planet", ["b", "c", "d"])
def test_planets_in_four_years_of_kepler_are_found(
    planet: str, truth: dict[str, dict[str, float]], searched: Callable[..., Searched]
) -> None:
    period = truth[FOUR_YEARS][f"Kepler-20 A {planet}"]
    around = {"min_period": period / WINDOW, "max_period": period * WINDOW}
    found = searched(FOUR_YEARS, **around, max_planets=2, min_sde=5.0).nearest(period)  # so few periods, so low a peak
    assert found is not None
    assert found.period_days == pytest.approx(period, rel=PERIOD_TOLERANCE)


@pytest.mark.parametrize("pattern", ["ktwo211495446*.fits", "ktwo211696659*.fits"])
def test_a_quiet_star_without_known_planets_is_silent(pattern: str, searched: Callable[..., Searched]) -> None:
    found = searched(pattern).candidates
    assert not found, [(one.period_days, one.sde, one.snr) for one in found]


def test_a_variable_star_is_flagged_for_its_rotation(searched: Callable[..., Searched]) -> None:
    star = searched("ktwo211719918*.fits")
    assert star.candidates
    for found in star.candidates:
        features = measure(star.curve, found, star.candidates)
        assert Flag.NEAR_ROTATION in find_false_positive_flags(star.curve, found, features, star.candidates)
