"""Black borders: what stays black and even in every picture, up to a straight edge where pictures begin.

Each line is cut into cells along the border, whose means over some pixels have little noise. The brightest that a cell
has been in any picture counts: a night scene beside a sunny one makes no border.
"""

from __future__ import annotations

import numpy as np

from tasks.restoration.diagnosis import Borders
from tasks.restoration.measuring.pictures import Floats

_CELLS = 32
# A border is no brighter than that, in codes: 16 is black, and raised black is below 40.
_BRIGHTEST = 40.0
# A cell belongs to the border while it is no brighter than the outermost one by so much.
_TOLERANCE = 10.0
# A single dark line is how scaling ends.
_LEAST_PX = 2
# No border takes more of the picture's width or height.
_LARGEST_SHARE = 0.3
# Of the cells at an edge, so many must begin within so many lines behind the border: a dark sky ends unevenly.
_STRAIGHT_SHARE = 0.5
_STRAIGHT_PX = 6
# The share of cells that may begin before it: marks and damage at the outermost lines.
_STRAY_SHARE = 0.1


class BorderMeter:
    """Takes pictures of a tape, of one size."""

    def __init__(self) -> None:
        self._down: Floats | None = None
        self._across: Floats | None = None

    def add(self, luma: Floats) -> None:
        """Note how bright each cell of ``luma`` is: height x width in 8-bit codes."""
        down, across = _cells(luma), _cells(luma.T)
        self._down = down if self._down is None else np.maximum(self._down, down)
        self._across = across if self._across is None else np.maximum(self._across, across)

    def borders(self, torn_lines: int = 0) -> Borders:
        """The borders of all pictures so far; ``torn_lines`` at the bottom are left out."""
        if self._down is None or self._across is None:
            return Borders()
        down = self._down[: len(self._down) - torn_lines]
        return Borders(
            left_px=_extent(self._across),
            right_px=_extent(self._across[::-1]),
            top_px=_extent(down),
            bottom_px=_extent(down[::-1]),
        )


def _cells(luma: Floats) -> Floats:
    """The means of the cells of each line: lines x cells."""
    size = max(1, luma.shape[1] // _CELLS)
    count = luma.shape[1] // size
    means: Floats = luma[:, : count * size].reshape(len(luma), count, size).mean(axis=2)
    return means


def _extent(brightest: Floats) -> int:
    """How many lines from the first on are border."""
    level = float(np.median(brightest[0]))
    if level > _BRIGHTEST:
        return 0
    bright = brightest > level + _TOLERANCE
    begins = np.where(bright.any(axis=0), bright.argmax(axis=0), len(brightest))
    extent = int(np.quantile(begins, _STRAY_SHARE, method="lower"))
    straight = float(np.mean(begins <= extent + _STRAIGHT_PX))
    is_border = straight >= _STRAIGHT_SHARE and _LEAST_PX <= extent <= _LARGEST_SHARE * len(brightest)
    return extent if is_border else 0
