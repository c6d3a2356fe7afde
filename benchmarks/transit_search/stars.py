"""Real stars with light curves, and their known planets."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tasks.transits.light_curve import TIME_ZERO_DAYS, Flags, LightCurve, Star
from tasks.transits.reading import read_light_curve

TESS, K2, QUARTER, FOUR_YEARS, SHORT = "TESS 2 min", "K2", "Kepler quarter", "Kepler 4 years", "Kepler short cadence"
_FAMILIES = {"tess": TESS, "pimen": TESS, "ktwo": K2, "EPIC": K2, "kplr006850504/": FOUR_YEARS, "kplr011446443": SHORT}
# A variable star: 1.6 % every 0.7 days.
VARIABLE = "EPIC 211719918"
EASY = ("WASP-126", "WASP-47", "EPIC 211696659")
_HOURS = 24.0


@dataclass(frozen=True)
class Planet:
    """A published planet. ``transit_time_days`` is a full Julian date, or in the time system of a light curve."""

    name: str
    period_days: float
    transit_time_days: float
    duration_days: float
    depth_ppm: float

    def is_near(self, time: np.ndarray, durations: float) -> Flags:
        """Return flags (n,): True within half of ``durations`` transit durations of mid-transit."""
        return np.asarray(np.abs(self.compute_offset_days(time)) < 0.5 * durations * self.duration_days)

    def compute_offset_days(self, time: np.ndarray) -> np.ndarray:
        """Return the days (n,) from the nearest mid-transit."""
        cycle = (time - self.transit_time_days) / self.period_days
        return np.asarray((cycle - np.round(cycle)) * self.period_days)


@dataclass(frozen=True)
class KnownStar:
    """A star of ``truth.csv`` with its files and its planets, deepest first."""

    name: str
    family: str
    files: tuple[Path, ...]
    planets: tuple[Planet, ...]

    def read_curve(self, files: tuple[Path, ...] | None = None) -> LightCurve:
        """Read the light curve from all files, or from some of them."""
        return read_light_curve(files or self.files, Star(), "pdcsap")

    def convert_planets(self, time_system: str) -> tuple[Planet, ...]:
        """Return the planets with transit times in ``time_system``."""
        zero = TIME_ZERO_DAYS[time_system]
        return tuple(replace(planet, transit_time_days=planet.transit_time_days - zero) for planet in self.planets)


def find_shared_folder() -> Path:
    """Return the folder of shared light curves: next to the checkout, or HEADRACE_SHARED."""
    root = Path(os.environ.get("HEADRACE_SHARED") or Path(__file__).resolve().parents[3] / "shared")
    folder = root / "data" / "lightcurves"
    if not (folder / "truth.csv").is_file():
        raise SystemExit(f"{folder} has no truth.csv; HEADRACE_SHARED may name the folder shared/ of real light curves")
    return folder


def read_known_stars(folder: Path) -> list[KnownStar]:
    """Return all stars of ``truth.csv``."""
    rows = defaultdict(list)
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[row["file"]].append(row)
    return [_read_star(folder, file, of_star) for file, of_star in rows.items()]


def _read_star(folder: Path, file: str, rows: list[dict[str, str]]) -> KnownStar:
    family = next(family for start, family in _FAMILIES.items() if file.startswith(start))
    planets = sorted(_read_planets(rows, family), key=lambda planet: -planet.depth_ppm)
    name = rows[0]["name"] if not planets else planets[0].name.split(" (")[0].removesuffix(" b").removesuffix(" c")
    return KnownStar(name, family, tuple(sorted(folder.glob(file))), tuple(planets))


def _read_planets(rows: list[dict[str, str]], family: str) -> Iterator[Planet]:
    for row in rows:
        if row["kind"] == "planet":
            duration = float(row["duration_h"]) / _HOURS
            yield Planet(
                row["name"],
                float(row["period_days"]),
                _read_transit_time(row, family),
                duration,
                float(row["depth_ppm"]),
            )


def _read_transit_time(row: dict[str, str], family: str) -> float:
    """Return a full Julian date. Most cells count from the mission's zero (TESS 2457000, Kepler and K2 2454833)."""
    time, zero = float(row["t0"]), TIME_ZERO_DAYS["BTJD" if family == TESS else "BKJD"]
    return time if time > zero else time + zero
