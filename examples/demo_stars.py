"""Make the demo's stars: light curves whose planets are known, because they were put there.

    python examples/demo_stars.py demo

leaves ``demo/stars/`` (CSV, 27 days at ten minutes) and ``demo/targets.csv``. Transits are by batman, with limb
darkening; noise comes from a seed, so that the files are the same on every run. One file is damaged.
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
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports distutils
    import batman

START_DAYS = 2000.0  # BTJD
DAYS = 27.0
STEP_DAYS = 1 / 144
GAP_DAYS = (13.0, 14.2)  # the spacecraft sends its data home
NOT_A_CURVE = "error-page"


@dataclass(frozen=True)
class Body:
    """What crosses the star. ``radius_ratio`` and ``scaled_axis`` in stellar radii."""

    period_days: float
    transit_days: float
    radius_ratio: float
    scaled_axis: float
    impact: float = 0.2
    secondary_depth: float = 0.0


@dataclass(frozen=True)
class DemoStar:
    """A star of the demo. ``spots``: amplitude and days of its rotation."""

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
    """Write the stars and their table into ``folder``."""
    stars = folder / "stars"
    stars.mkdir(parents=True, exist_ok=True)
    for number, star in enumerate(STARS):
        write_curve(stars / f"{star.name}.csv", star, seed=number)
    (stars / f"{NOT_A_CURVE}.csv").write_text("<html><body>503 Service Unavailable</body></html>\n")
    rows = [(star.name, "TESS", star.label) for star in STARS] + [(NOT_A_CURVE, "TESS", "damaged")]
    write_rows(folder / "targets.csv", ("target_id", "mission", "label"), rows)
    print(f"{folder}: {len(rows)} stars, one of them damaged")


def write_curve(path: Path, star: DemoStar, seed: int) -> None:
    """Time in BTJD, flux and its error, relative to the star."""
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
    """Return the star's flux with the body in front of it and, if it shines, behind it."""
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
    """A CSV; a half-written one never bears its name, and one with the same content stays as it is."""
    building = path.with_name(f".building{path.suffix}")
    with building.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    if path.exists() and path.read_bytes() == building.read_bytes():
        building.unlink()
    else:
        building.replace(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("say where: python examples/demo_stars.py FOLDER")
    main(Path(sys.argv[1]))
