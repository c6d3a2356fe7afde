"""Trial periods and durations of a search: just fine enough for the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tasks.transits.light_curve import Floats

# Transit duration over period for a central transit of a star of solar density at a period of 1 day:
# T14 / P = (1 / pi) (3 pi / (G rho))**(1/3) P**(-2/3). Seager & Mallen-Ornelas 2003, eq. 8 and 9, for a = b = 0.
SOLAR_DENSITY = 1_410.0  # kg / m3
_G = 6.674_30e-11  # m3 / kg / s2
_DAY_SECONDS = 86_400.0
SHARE_AT_ONE_DAY = (3 * math.pi / (_G * SOLAR_DENSITY)) ** (1 / 3) / math.pi * _DAY_SECONDS ** (-2 / 3)

# Maximum transit duration over period. The largest observed value is 0.117 (Kepler-1368 b); Hippke & Heller 2019.
MAX_SHARE = 0.12
# Stellar densities in solar units to allow for if the density is unknown: from an evolved star to a late M dwarf. If
# the density is given, durations of 0.34 to 1.7 times the expected one are tried: grazing transits and eccentric
# orbits are shorter, giant planets and transits near apastron longer (duration is proportional to density**(-1/3)).
UNKNOWN_DENSITIES = (0.02, 45.0)
KNOWN_DENSITY_FACTORS = (1 / 5, 25.0)

OVERSAMPLING = 3  # trial frequencies per phase shift of one transit duration over the baseline; Hippke & Heller 2019


@dataclass(frozen=True)
class Grid:
    """Trial periods with the durations to try at each.

    period_days             (m,) ascending
    min_share, max_share    (m,) durations as shares of the period
    """

    period_days: Floats
    min_share: Floats
    max_share: Floats

    def __len__(self) -> int:
        return len(self.period_days)

    def get_step_days(self, period_days: float) -> float:
        """Return the step of the grid around ``period_days``, in days."""
        index = int(np.clip(np.searchsorted(self.period_days, period_days), 1, len(self) - 1))
        return float(self.period_days[index] - self.period_days[index - 1])


def compute_duration_share(period_days: Floats, density: float) -> Floats:
    """Return T14 over period of a small planet in a central transit on a circular orbit; ``density`` in solar units."""
    shares = SHARE_AT_ONE_DAY * density ** (-1 / 3) * period_days ** (-2 / 3)
    return np.asarray(np.minimum(shares, MAX_SHARE))


def compute_trial_periods(baseline_days: float, min_period_days: float, max_period_days: float) -> Floats:
    """Return trial periods in days, ascending, after Ofir 2014 (A&A 561, A138), eq. 5 to 7, for a star like the Sun.

    Neighbouring frequencies shift a transit at the end of the baseline by a third of its duration. The duration scales
    with the cube root of the period, so the grid is even in the cube root of the frequency. It has hundreds of times
    fewer periods than a grid that is even in frequency and fine enough for the shortest transit.
    """
    # A step df shifts the phase at the end by df * baseline. Set this to share / oversampling, with the share
    # SHARE_AT_ONE_DAY * f**(2/3); then d(f**(1/3)) = f**(-2/3) df / 3 is constant.
    step = SHARE_AT_ONE_DAY / (3 * OVERSAMPLING * baseline_days)
    low, high = max_period_days ** (-1 / 3), min_period_days ** (-1 / 3)
    count = max(1, math.ceil((high - low) / step))
    roots = low + (high - low) * np.arange(count, -1, -1) / count
    return np.asarray(roots**-3, dtype=np.float64)


def build_grid(
    baseline_days: float, min_period_days: float, max_period_days: float, density: float | None = None
) -> Grid:
    """Build the trial periods and durations of a search. ``density``: the star's, in solar units; None if unknown."""
    periods = compute_trial_periods(baseline_days, min_period_days, max_period_days)
    low, high = (density * factor for factor in KNOWN_DENSITY_FACTORS) if density else UNKNOWN_DENSITIES
    return Grid(periods, compute_duration_share(periods, high), compute_duration_share(periods, low))
