"""The trial periods and durations of a search: as many as the data can tell apart, and no more."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tasks.transits.light_curve import Floats

# Transit time over period, of a planet that crosses the middle of a star of the Sun's density in 1 day:
# T14 / P = (1 / pi) (3 pi / (G rho))**(1/3) P**(-2/3). Seager & Mallen-Ornelas 2003, eq. 8 and 9, for a = b = 0.
SOLAR_DENSITY = 1_410.0  # kg / m3
_G = 6.674_30e-11  # m3 / kg / s2
_DAY_SECONDS = 86_400.0
SHARE_AT_ONE_DAY = (3 * math.pi / (_G * SOLAR_DENSITY)) ** (1 / 3) / math.pi * _DAY_SECONDS ** (-2 / 3)

# The longest share of a period that a transit takes. The longest known is 0.117 (Kepler-1368 b); Hippke & Heller 2019.
MAX_SHARE = 0.12
# Stellar densities in solar units that a search allows for where nothing is known of the star: from an evolved star to
# a late M dwarf. Where the density is known, durations of 0.34 to 1.7 times the expected one are tried: grazing
# transits and eccentric orbits are shorter, giant planets and transits near apastron longer (duration goes with
# density**(-1/3)).
UNKNOWN_DENSITIES = (0.02, 45.0)
KNOWN_DENSITY_FACTORS = (1 / 5, 25.0)

OVERSAMPLING = 3  # trial frequencies per phase shift of one transit duration over the baseline; Hippke & Heller 2019


@dataclass(frozen=True)
class Grid:
    """Trial periods with the durations to try at each.

    period_days                       (m,) ascending
    shortest_share, longest_share     (m,) durations as shares of the period
    """

    period_days: Floats
    shortest_share: Floats
    longest_share: Floats

    def __len__(self) -> int:
        return len(self.period_days)

    def step_days(self, period_days: float) -> float:
        """Days between the grid's periods around ``period_days``."""
        index = int(np.clip(np.searchsorted(self.period_days, period_days), 1, len(self) - 1))
        return float(self.period_days[index] - self.period_days[index - 1])


def duration_share(period_days: Floats, density: float) -> Floats:
    """T14 over period of a small planet on a circular orbit through the middle of a star of ``density`` (solar)."""
    shares = SHARE_AT_ONE_DAY * density ** (-1 / 3) * period_days ** (-2 / 3)
    return np.asarray(np.minimum(shares, MAX_SHARE))


def trial_periods(baseline_days: float, shortest_days: float, longest_days: float) -> Floats:
    """Trial periods in days, ascending, after Ofir 2014 (A&A 561, A138), eq. 5 to 7, for a star like the Sun.

    Neighbouring frequencies shift a transit at the end of the baseline by a third of its duration, which itself goes
    with the cube root of the period: so they are evenly spaced in the cube root of the frequency. That takes hundreds
    of times fewer periods than a grid that is even in frequency and fine enough for the shortest transit.
    """
    # A step df shifts the phase at the end by df * baseline; that is to be share / oversampling, with the share
    # SHARE_AT_ONE_DAY * f**(2/3). Then d(f**(1/3)) = f**(-2/3) df / 3 is the same everywhere.
    step = SHARE_AT_ONE_DAY / (3 * OVERSAMPLING * baseline_days)
    low, high = longest_days ** (-1 / 3), shortest_days ** (-1 / 3)
    count = max(1, math.ceil((high - low) / step))
    roots = low + (high - low) * np.arange(count, -1, -1) / count
    return np.asarray(roots**-3, dtype=np.float64)


def search_grid(baseline_days: float, shortest_days: float, longest_days: float, density: float | None = None) -> Grid:
    """Trial periods and durations of a search. ``density`` of the star in solar units; None where it is unknown."""
    periods = trial_periods(baseline_days, shortest_days, longest_days)
    low, high = (density * factor for factor in KNOWN_DENSITY_FACTORS) if density else UNKNOWN_DENSITIES
    return Grid(periods, duration_share(periods, high), duration_share(periods, low))
