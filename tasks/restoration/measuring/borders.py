"""Detection of black borders: areas that are black and uniform in every frame, up to a straight edge.

Each line is divided into cells, whose means have little noise. The maximum of a cell over all frames counts, so that
a night scene is not taken for a border.
"""

from __future__ import annotations

import numpy as np

from tasks.restoration.diagnosis import Borders
from tasks.restoration.measuring.frame_codes import Floats

_CELLS = 32
# Maximum code of a border: 16 is black, and raised black is below 40.
_MAX_CODE = 40.0
# Maximum difference of a border cell from the outermost cell, in codes.
_TOLERANCE = 10.0
# Scaling leaves a single dark line, which is not a border.
_MIN_PX = 2
# Maximum share of the width or height.
_MAX_SHARE = 0.3
# Minimum share of cells that must end within this many lines of the border: a dark sky ends unevenly.
_MIN_STRAIGHT_SHARE = 0.5
_STRAIGHT_PX = 6
# Maximum share of cells that may end earlier, because of marks and damage at the outermost lines.
_MAX_EARLY_SHARE = 0.1


class BorderMeter:
    """Measures frames of a tape, all of one size."""

    def __init__(self) -> None:
        self._down: Floats | None = None
        self._across: Floats | None = None

    def add(self, luma: Floats) -> None:
        """Add a frame: ``luma`` is height x width in 8-bit codes."""
        down, across = _average_cells(luma), _average_cells(luma.T)
        self._down = down if self._down is None else np.maximum(self._down, down)
        self._across = across if self._across is None else np.maximum(self._across, across)

    def borders(self, torn_lines: int = 0) -> Borders:
        """Return the borders of all frames so far; ``torn_lines`` at the bottom are ignored."""
        if self._down is None or self._across is None:
            return Borders()
        down = self._down[: len(self._down) - torn_lines]
        return Borders(
            left_px=_measure_extent(self._across),
            right_px=_measure_extent(self._across[::-1]),
            top_px=_measure_extent(down),
            bottom_px=_measure_extent(down[::-1]),
        )


def _average_cells(luma: Floats) -> Floats:
    """Return the means of the cells: lines x cells."""
    size = max(1, luma.shape[1] // _CELLS)
    count = luma.shape[1] // size
    means: Floats = luma[:, : count * size].reshape(len(luma), count, size).mean(axis=2)
    return means


def _measure_extent(maxima: Floats) -> int:
    """Return the number of border lines, from the first line on."""
    level = float(np.median(maxima[0]))
    if level > _MAX_CODE:
        return 0
    bright = maxima > level + _TOLERANCE
    starts = np.where(bright.any(axis=0), bright.argmax(axis=0), len(maxima))
    extent = int(np.quantile(starts, _MAX_EARLY_SHARE, method="lower"))
    straight = float(np.mean(starts <= extent + _STRAIGHT_PX))
    is_border = straight >= _MIN_STRAIGHT_SHARE and _MIN_PX <= extent <= _MAX_SHARE * len(maxima)
    return extent if is_border else 0
