"""Computes the signal detection efficiency (SDE) of a peak from the gain at each trial period."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from tasks.transits.light_curve import Floats
from tasks.transits.searching.boxes import BoxSpectrum
from tasks.transits.searching.grid import OVERSAMPLING

# Width of the running median of the spectrum's background, in independent periods; Hippke & Heller 2019.
_BACKGROUND_PERIODS = 30
# At periods above half the baseline only one or two transits are visible, so a pair of chance dips makes a peak. The
# scatter is multiplied by this factor there; otherwise such peaks would set the threshold for all others.
_FEW_TRANSITS = 1.5


@dataclass(frozen=True)
class Background:
    """Background of a spectrum, which puts other fits of the same curve on its scale.

    level           (m,) running median of the signal residue
    scatter         (m,) one sigma of the residue over its level, of the whole spectrum; larger where few transits fit
    min_chi_square  of the spectrum
    """

    level: Floats
    scatter: Floats
    min_chi_square: float

    def compute_sde(self, chi_square: Floats | float, index: int | slice = slice(None)) -> Floats:
        """Return the SDE of a fit with ``chi_square`` at the trial period ``index``."""
        return np.asarray((self.min_chi_square / chi_square - self.level[index]) / self.scatter[index])


def estimate_background(spectrum: BoxSpectrum, baseline_days: float) -> Background | None:
    """Estimate level and scatter of the signal residue (minimum chi-square over chi-square); None for a flat spectrum.

    After Kovács 2002, eq. 6, and Hippke & Heller 2019, section 2.4.
    """
    chi_square = spectrum.flat - spectrum.gain
    min_chi_square = float(chi_square.min())
    if min_chi_square <= 0.0:
        return None
    residue = min_chi_square / chi_square
    width = min(OVERSAMPLING * _BACKGROUND_PERIODS, len(residue)) | 1
    level = np.asarray(median_filter(residue, size=width, mode="reflect"), dtype=np.float64)
    scatter = float(np.std(residue - level))
    few = np.where(spectrum.period_days > baseline_days / 2, _FEW_TRANSITS, 1.0)
    return Background(level, scatter * few, min_chi_square) if scatter > 0.0 else None
