"""Lines at the bottom that the head switch tears: moved sideways against those above, or noise.

A line is compared with the one above it in its field. It is torn where it differs much more than lines in the picture
do, and either fits much better when it is moved sideways, or so do all the lines below it (noise). Lines of a black
border fit no better when moved; the edge of an object is not at the same line in most pictures of a tape.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.restoration.measuring.pictures import Floats

# Lines that a head switch may take, as a share of the height: 24 of 576.
_SHARE = 1 / 24
# How much more than usual a torn line differs from the one above, in squared codes, and what moving it leaves.
_LEAST_RATIO = 3.0
_MOVED_RATIO = 0.5
# In pairs of pixels: smaller moves are slanted edges; larger ones than a ninth of the width are not looked for.
_LEAST_MOVE = 2
_LARGEST_MOVE_SHARE = 1 / 9
# Lines of less contrast, as a standard deviation in codes, tell nothing.
_LEAST_CONTRAST = 4.0
# Of a line's variance: two lines that have nothing in common differ by twice as much.
_STRANGE = 1.2
_STRANGE_SHARE = 0.8
_LEAST_PICTURES = 3
_MOST_SHARE = 0.6


class TearMeter:
    """Takes pictures of a tape, of one size."""

    def __init__(self) -> None:
        self._torn: list[npt.NDArray[np.bool_]] = []

    def add(self, luma: Floats) -> None:
        """Look at the last lines of ``luma``: height x width in 8-bit codes."""
        zone = max(4, int(luma.shape[0] * _SHARE))
        if luma.shape[0] < 4 * zone or luma.shape[1] < 64:
            return
        lines = _halved(luma[-3 * zone - 2 :])
        torn = _torn_lines(lines, zone)
        if torn is not None:
            self._torn.append(torn)

    def lines(self) -> int:
        """How many lines at the bottom are torn in most of the pictures so far."""
        if len(self._torn) < _LEAST_PICTURES:
            return 0
        votes = np.mean(np.stack(self._torn), axis=0)
        torn = np.flatnonzero(votes >= _MOST_SHARE)
        return len(votes) - int(torn[0]) if len(torn) else 0


def _torn_lines(lines: Floats, zone: int) -> npt.NDArray[np.bool_] | None:
    """Which of the last ``zone`` lines differ from those above as a head switch makes them; ``None`` for too little
    contrast. The lines above them tell how much lines differ in this picture."""
    differences = ((lines[2:] - lines[:-2]) ** 2).mean(axis=1)
    usual = float(np.median(differences[:-zone]))
    if float(lines[:-zone].std(axis=1).mean()) < _LEAST_CONTRAST:
        return None
    far = differences[-zone:] > _LEAST_RATIO * usual + 1.0
    moved = far & (_moved(lines[-zone:], lines[-zone - 2 : -2]) < _MOVED_RATIO * differences[-zone:])
    spread = lines[-zone:].var(axis=1)
    strange = far & (spread > _LEAST_CONTRAST**2) & (differences[-zone:] > _STRANGE * spread)
    below = np.cumsum(strange[::-1])[::-1] / np.arange(zone, 0, -1)
    noise = strange & (below > _STRANGE_SHARE) & (np.arange(zone, 0, -1) >= 2)
    torn: npt.NDArray[np.bool_] = moved | noise
    return torn


def _moved(lines: Floats, above: Floats) -> Floats:
    """The least mean squared difference of each line from the one above it, over all sideways moves."""
    most = int(lines.shape[1] * _LARGEST_MOVE_SHARE)
    inner = lines[:, most:-most]
    least = np.full(len(lines), np.inf, np.float32)
    for move in range(-most, most + 1):
        if abs(move) >= _LEAST_MOVE:
            other = above[:, most + move : above.shape[1] - most + move]
            least = np.minimum(least, ((inner - other) ** 2).mean(axis=1))
    return least


def _halved(luma: Floats) -> Floats:
    """``luma`` with pairs of pixels averaged."""
    width = luma.shape[1] // 2 * 2
    halved: Floats = (luma[:, 0:width:2] + luma[:, 1:width:2]) * np.float32(0.5)
    return halved
