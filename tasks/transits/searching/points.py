"""Points of a light curve as the search uses them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.transits.light_curve import Flags, Floats


@dataclass(frozen=True)
class Points:
    """Points in time order: days, flux relative to the star, and one sigma of each."""

    time: Floats
    flux: Floats
    noise: Floats

    def select(self, used: Flags) -> Points:
        """Return the points for which ``used`` (n,) is True."""
        return Points(self.time[used], self.flux[used], self.noise[used])

    def compute_flat_chi_square(self) -> float:
        """Return chi-square of a constant flux of 1."""
        return float(np.sum(((1.0 - self.flux) / self.noise) ** 2))
