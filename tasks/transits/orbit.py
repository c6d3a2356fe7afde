"""What Kepler's third law says about a transit."""

from __future__ import annotations

import math

from tasks.transits.columns import Reason

# Nominal solar values of the IAU (2015), in SI units.
_SUN_GM = 1.3271244e20
_SUN_RADIUS_M = 6.957e8
_SECONDS_A_DAY = 86_400.0


def scaled_axis(period_days: float, density: float) -> float:
    """Semi-major axis in stellar radii; ``density`` in solar units (Seager & Mallén-Ornelas 2003)."""
    seconds = period_days * _SECONDS_A_DAY
    cubed = _SUN_GM * seconds**2 / (4.0 * math.pi**2)
    return float(density ** (1 / 3) * cubed ** (1 / 3) / _SUN_RADIUS_M)


def central_duration_days(period_days: float, density: float, radius_ratio: float) -> float | Reason:
    """T14 of a central transit on a circular orbit (Seager & Mallén-Ornelas 2003, with no impact parameter)."""
    sine = (1.0 + radius_ratio) / scaled_axis(period_days, density)
    return period_days / math.pi * math.asin(sine) if sine < 1.0 else Reason.INSIDE_STAR


def longest_share(scaled_axis_least: float) -> float:
    """Greatest share of a circular orbit in front of the star, at so many stellar radii; a small planet's."""
    return math.asin(1.0 / scaled_axis_least) / math.pi
