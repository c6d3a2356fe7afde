"""Create the demo's stars: synthetic light curves with injected planets.

    python examples/demo_stars.py demo

writes ``demo/stars/`` (CSV, 27 days at a cadence of ten minutes) and ``demo/targets.csv``. batman computes the
transits, with limb darkening. The noise has a fixed seed, so every run writes the same files. One file is damaged.
"""

from __future__ import annotations

import csv
import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # batman imports distutils
    import batman

START_DAYS = 2000.0  # BTJD
DAYS = 27.0
STEP_DAYS = 1 / 144
GAP_DAYS = (13.0, 14.2)  # data download of the spacecraft
DAMAGED_NAME = "error-page"


@dataclass(frozen=True)
class Body:
    """A planet or star that crosses the star. ``radius_ratio`` and ``scaled_axis`` are in stellar radii."""

    period_days: float
    transit_days: float
    radius_ratio: float
    scaled_axis: float
    impact: float = 0.2
    secondary_depth: float = 0.0


@dataclass(frozen=True)
class DemoStar:
    """A star of the demo. ``spots``: relative amplitude and period in days of its rotation."""

    name: str
    label: str
    noise_ppm: float
    bodies: tuple[Body, ...] = ()
    spots: tuple[float, float] | None = None


STARS = (
    DemoStar("hot-jupiter", "planet", 600, (Body(3.288, 1.1, 0.08, 8.0),)),
    DemoStar("two-planets", "planet", 300, (Body(4.93, 2.3, 0.045, 12.0), Body(8.41, 0.7, 0.038, 17.0))),
    DemoStar("spotted-planet", "planet", 350, (Body(6.27, 3.0, 0.05, 14.0),), (0.006, 5.3)),
    DemoStar("eclipsing-binary", "binary", 500, (Body(2.61, 0.9, 0.30, 5.5, 0.5, 0.02),)),
    DemoStar("quiet", "none", 250),
    DemoStar("spotted", "none", 300, (), (0.01, 2.9)),
)


def main(folder: Path) -> None:
    """Write the light curves and the table of targets to ``folder``."""
    stars = folder / "stars"
    stars.mkdir(parents=True, exist_ok=True)
    for number, star in enumerate(STARS):
        write_curve(stars / f"{star.name}.csv", star, seed=number)
    (stars / f"{DAMAGED_NAME}.csv").write_text("<html><body>503 Service Unavailable</body></html>\n")
    rows = [(star.name, "TESS", star.label) for star in STARS] + [(DAMAGED_NAME, "TESS", "damaged")]
    write_rows(folder / "targets.csv", ("target_id", "mission", "label"), rows)
    print(f"{folder}: {len(rows)} stars, one of them damaged")


def write_curve(path: Path, star: DemoStar, seed: int) -> None:
    """Write a CSV with the time in BTJD, the relative flux and its error."""
    time = np.arange(0.0, DAYS, STEP_DAYS)
    time = time[(time < GAP_DAYS[0]) | (time > GAP_DAYS[1])]
    flux = np.ones_like(time)
    for body in star.bodies:
        flux += simulate_transit(time, body) - 1.0
    if star.spots:
        amplitude, period = star.spots
        flux += amplitude * np.sin(2 * math.pi * time / period) * (1 + 0.3 * np.cos(time / 9.0))
    error = star.noise_ppm * 1e-6
    flux += error * np.random.default_rng(seed).standard_normal(len(time))
    rows = [(f"{START_DAYS + day:.6f}", f"{value:.7f}", f"{error:.7f}") for day, value in zip(time, flux, strict=True)]
    write_rows(path, ("time", "flux", "flux_err"), rows)


def simulate_transit(time: np.ndarray, body: Body) -> np.ndarray:
    """Return the relative flux (n,) with transits of the body and, if it emits light, secondary eclipses."""
    params = batman.TransitParams()
    params.t0, params.per, params.rp, params.a = (
        body.transit_days,
        body.period_days,
        body.radius_ratio,
        body.scaled_axis,
    )
    params.inc = math.degrees(math.acos(body.impact / body.scaled_axis))
    params.ecc, params.w = 0.0, 90.0
    params.limb_dark, params.u = "quadratic", [0.35, 0.2]
    flux = batman.TransitModel(params, time, supersample_factor=3, exp_time=STEP_DAYS).light_curve(params)
    if body.secondary_depth:
        params.t0 += body.period_days / 2
        params.u = [0.0, 0.0]
        behind = batman.TransitModel(params, time, supersample_factor=3, exp_time=STEP_DAYS).light_curve(params)
        flux = flux - body.secondary_depth * (1.0 - behind) / body.radius_ratio**2
    return np.asarray(flux)


def write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV atomically; a file with the same content is not replaced."""
    building = path.with_name(f".building{path.suffix}")
    with building.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    if path.exists() and path.read_bytes() == building.read_bytes():
        building.unlink()
    else:
        building.replace(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python examples/demo_stars.py FOLDER")
    main(Path(sys.argv[1]))
