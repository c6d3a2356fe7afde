"""Detection of lines at the bottom that the head switch tears: they are shifted sideways, or noise.

A line is compared with the line above it in its field. It is torn if it differs much more than lines elsewhere in the
frame, and either fits much better after a sideways shift, or is noise like all lines below it. Lines of a black border
do not fit better after a shift. The edge of an object is not at the same line in most frames of a tape.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.restoration.measuring.frame_codes import Floats

# Maximum share of lines that a head switch tears: 24 of 576.
_MAX_ZONE_SHARE = 1 / 24
# Minimum ratio of the difference of a torn line to the usual one (squared codes), and maximum ratio after a shift.
_MIN_RATIO = 3.0
_MAX_SHIFTED_RATIO = 0.5
# In pairs of pixels: smaller shifts are slanted edges; the search ends at a ninth of the width.
_MIN_SHIFT = 2
_MAX_SHIFT_SHARE = 1 / 9
# Minimum contrast of lines: standard deviation in codes.
_MIN_CONTRAST = 4.0
# Minimum difference of noise relative to the variance of a line; two independent lines differ by twice it.
_MIN_NOISE = 1.2
_MIN_NOISE_SHARE = 0.8
_MIN_FRAMES = 3
_MIN_VOTE_SHARE = 0.6


class TearMeter:
    """Measures frames of a tape, all of one size."""

    def __init__(self) -> None:
        self._torn: list[npt.NDArray[np.bool_]] = []

    def add(self, luma: Floats) -> None:
        """Add a frame: ``luma`` is height x width in 8-bit codes."""
        zone = max(4, int(luma.shape[0] * _MAX_ZONE_SHARE))
        if luma.shape[0] < 4 * zone or luma.shape[1] < 64:
            return
        lines = _average_pairs(luma[-3 * zone - 2 :])
        torn = _find_torn_lines(lines, zone)
        if torn is not None:
            self._torn.append(torn)

    def lines(self) -> int:
        """Return the number of lines at the bottom that are torn in most frames so far."""
        if len(self._torn) < _MIN_FRAMES:
            return 0
        votes = np.mean(np.stack(self._torn), axis=0)
        torn = np.flatnonzero(votes >= _MIN_VOTE_SHARE)
        return len(votes) - int(torn[0]) if len(torn) else 0


def _find_torn_lines(lines: Floats, zone: int) -> npt.NDArray[np.bool_] | None:
    """Return the torn lines among the last ``zone`` lines; None if the contrast is too low.

    The lines above them show how much lines differ in this frame.
    """
    differences = ((lines[2:] - lines[:-2]) ** 2).mean(axis=1)
    usual = float(np.median(differences[:-zone]))
    if float(lines[:-zone].std(axis=1).mean()) < _MIN_CONTRAST:
        return None
    far = differences[-zone:] > _MIN_RATIO * usual + 1.0
    shifted = far & (_fit_shifted(lines[-zone:], lines[-zone - 2 : -2]) < _MAX_SHIFTED_RATIO * differences[-zone:])
    spread = lines[-zone:].var(axis=1)
    independent = far & (spread > _MIN_CONTRAST**2) & (differences[-zone:] > _MIN_NOISE * spread)
    below = np.cumsum(independent[::-1])[::-1] / np.arange(zone, 0, -1)
    noise = independent & (below > _MIN_NOISE_SHARE) & (np.arange(zone, 0, -1) >= 2)
    torn: npt.NDArray[np.bool_] = shifted | noise
    return torn


def _fit_shifted(lines: Floats, above: Floats) -> Floats:
    """Return the minimum mean squared difference of each line from the one above it, over all sideways shifts."""
    max_shift = int(lines.shape[1] * _MAX_SHIFT_SHARE)
    inner = lines[:, max_shift:-max_shift]
    minimum = np.full(len(lines), np.inf, np.float32)
    for shift in range(-max_shift, max_shift + 1):
        if abs(shift) >= _MIN_SHIFT:
            other = above[:, max_shift + shift : above.shape[1] - max_shift + shift]
            minimum = np.minimum(minimum, ((inner - other) ** 2).mean(axis=1))
    return minimum


def _average_pairs(luma: Floats) -> Floats:
    """Return ``luma`` with pairs of pixels averaged."""
    width = luma.shape[1] // 2 * 2
    halved: Floats = (luma[:, 0:width:2] + luma[:, 1:width:2]) * np.float32(0.5)
    return halved
