"""What a file's header says of its star, and what follows from it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from tasks.transits.light_curve import Star

# log10 of the Sun's surface gravity in cm/s2: nominal GM (1.3271244e20 m3/s2) over nominal radius (6.957e8 m) squared,
# IAU 2015 Resolution B3.
SOLAR_LOG_GRAVITY = 4.43807
# What no star exceeds; a header's filler value (-1, 0, -99, 1e30) is no measurement.
_RADIUS = (0.005, 2000.0)
_MASS = (0.01, 500.0)
_TEMPERATURE = (500.0, 300_000.0)
_LOG_GRAVITY = (-2.0, 10.0)


def header_star(header: Any) -> Star:
    """The star of a primary header of Kepler, K2 or TESS: RADIUS (solar), TEFF (K), LOGG (cm/s2); no mass is given."""
    return Star(
        radius=_within(header.get("RADIUS"), _RADIUS),
        temperature_kelvin=_within(header.get("TEFF"), _TEMPERATURE),
        log_gravity=_within(header.get("LOGG"), _LOG_GRAVITY),
    )


def merge_stars(given: Star, *others: Star) -> Star:
    """``given``, with what it lacks from the first of ``others`` that has it, and the mass or radius that follows."""
    known = {
        name: next((value for star in (given, *others) if (value := getattr(star, name)) is not None), None)
        for name in ("radius", "mass", "temperature_kelvin", "log_gravity")
    }
    return _derived(Star(**known))


def _derived(star: Star) -> Star:
    """Mass or radius by g = G M / R^2, in solar units, where the other and the surface gravity are known."""
    if star.log_gravity is None or (star.mass is None) == (star.radius is None):
        return star
    gravity = 10 ** (star.log_gravity - SOLAR_LOG_GRAVITY)
    if star.radius is not None:
        return replace(star, mass=_within(gravity * star.radius**2, _MASS))
    assert star.mass is not None
    return replace(star, radius=_within(math.sqrt(star.mass / gravity), _RADIUS))


def _within(value: object, bounds: tuple[float, float]) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if bounds[0] <= value <= bounds[1] else None
