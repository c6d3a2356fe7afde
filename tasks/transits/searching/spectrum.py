"""From the gain at each trial period to the signal detection efficiency (SDE) of a peak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from tasks.transits.light_curve import Floats
from tasks.transits.searching.boxes import BoxSpectrum
from tasks.transits.searching.grid import OVERSAMPLING

# Width of the running median that is taken for the spectrum's background, in independent periods; Hippke & Heller 2019.
_BACKGROUND_PERIODS = 30
# At periods of more than half the baseline, where one or two transits are seen, a pair of chance dips makes a peak. The
# scatter counts for so many times as much there; without that, such peaks set the threshold for all others.
_FEW_TRANSITS = 1.5


@dataclass(frozen=True)
class Background:
    """What a spectrum is measured against, so that further fits of the same curve can be put on its scale.

    level    (m,) running median of the signal residue
    scatter  (m,) one sigma of the residue over its level, of the whole spectrum; more where few transits fit
    least    smallest chi-square of the spectrum
    """

    level: Floats
    scatter: Floats
    least: float

    def efficiency(self, chi_square: Floats | float, index: int | slice = slice(None)) -> Floats:
        """SDE of a fit with ``chi_square`` at the trial period ``index``."""
        return np.asarray((self.least / chi_square - self.level[index]) / self.scatter[index])


def background(spectrum: BoxSpectrum, baseline_days: float) -> Background | None:
    """Level and scatter of the spectrum's signal residue, least chi-square over chi-square; None where it is flat.

    After Kovács 2002, eq. 6, and Hippke & Heller 2019, section 2.4.
    """
    chi_square = spectrum.flat - spectrum.gain
    least = float(chi_square.min())
    if least <= 0.0:
        return None
    residue = least / chi_square
    width = min(OVERSAMPLING * _BACKGROUND_PERIODS, len(residue)) | 1
    level = np.asarray(median_filter(residue, size=width, mode="reflect"), dtype=np.float64)
    scatter = float(np.std(residue - level))
    few = np.where(spectrum.period_days > baseline_days / 2, _FEW_TRANSITS, 1.0)
    return Background(level, scatter * few, least) if scatter > 0.0 else None
