"""Reads stellar parameters from a file's header, and derives missing ones."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from tasks.transits.light_curve import Star

# log10 of the Sun's surface gravity in cm/s2: nominal GM (1.3271244e20 m3/s2) over nominal radius (6.957e8 m) squared,
# IAU 2015 Resolution B3.
SOLAR_LOG_GRAVITY = 4.43807
# Limits that no star exceeds, to reject a header's filler values (-1, 0, -99, 1e30).
_RADIUS = (0.005, 2000.0)
_MASS = (0.01, 500.0)
_TEMPERATURE = (500.0, 300_000.0)
_LOG_GRAVITY = (-2.0, 10.0)


def read_header_star(header: Any) -> Star:
    """Return the star of a Kepler, K2 or TESS header: RADIUS (solar), TEFF (K), LOGG (cm/s2), without a mass."""
    return Star(
        radius=_check_range(header.get("RADIUS"), _RADIUS),
        temperature_kelvin=_check_range(header.get("TEFF"), _TEMPERATURE),
        log_gravity=_check_range(header.get("LOGG"), _LOG_GRAVITY),
    )


def merge_stars(given: Star, *others: Star) -> Star:
    """Fill missing parameters of ``given`` from the first of ``others`` that has them, and derive mass or radius."""
    merged = {
        name: next((value for star in (given, *others) if (value := getattr(star, name)) is not None), None)
        for name in ("radius", "mass", "temperature_kelvin", "log_gravity")
    }
    return _derive_missing(Star(**merged))


def _derive_missing(star: Star) -> Star:
    """Derive mass or radius by g = G M / R^2, in solar units, from the other and the surface gravity."""
    if star.log_gravity is None or (star.mass is None) == (star.radius is None):
        return star
    gravity = 10 ** (star.log_gravity - SOLAR_LOG_GRAVITY)
    if star.radius is not None:
        return replace(star, mass=_check_range(gravity * star.radius**2, _MASS))
    assert star.mass is not None
    return replace(star, radius=_check_range(math.sqrt(star.mass / gravity), _RADIUS))


def _check_range(value: object, bounds: tuple[float, float]) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if bounds[0] <= value <= bounds[1] else None
