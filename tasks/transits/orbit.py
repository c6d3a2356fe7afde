"""Computes properties of a transit from Kepler's third law."""

from __future__ import annotations

import math

from tasks.transits.columns import Reason

# Nominal solar values of the IAU (2015), in SI units.
_SUN_GM = 1.3271244e20
_SUN_RADIUS_M = 6.957e8
_SECONDS_PER_DAY = 86_400.0


def compute_scaled_axis(period_days: float, density: float) -> float:
    """Return the semi-major axis in stellar radii; ``density`` in solar units (Seager & Mallén-Ornelas 2003)."""
    seconds = period_days * _SECONDS_PER_DAY
    cubed = _SUN_GM * seconds**2 / (4.0 * math.pi**2)
    return float(density ** (1 / 3) * cubed ** (1 / 3) / _SUN_RADIUS_M)


def compute_central_duration_days(period_days: float, density: float, radius_ratio: float) -> float | Reason:
    """Return T14 of a central transit on a circular orbit (Seager & Mallén-Ornelas 2003, impact parameter 0)."""
    sine = (1.0 + radius_ratio) / compute_scaled_axis(period_days, density)
    return period_days / math.pi * math.asin(sine) if sine < 1.0 else Reason.INSIDE_STAR


def compute_max_transit_share(min_scaled_axis: float) -> float:
    """Return the largest possible share of a circular orbit that a small planet spends in transit."""
    return math.asin(1.0 / min_scaled_axis) / math.pi
