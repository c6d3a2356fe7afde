"""The points of a light curve that a search looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.transits.light_curve import Flags, Floats


@dataclass(frozen=True)
class Points:
    """Points in time order: days, flux with the star at 1, and one sigma of each."""

    time: Floats
    flux: Floats
    noise: Floats

    def where(self, used: Flags) -> Points:
        """Some of them."""
        return Points(self.time[used], self.flux[used], self.noise[used])

    def flat_chi_square(self) -> float:
        """Chi-square of a star without any transit."""
        return float(np.sum(((1.0 - self.flux) / self.noise) ** 2))
