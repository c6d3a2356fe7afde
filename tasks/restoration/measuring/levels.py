"""Between which codes nearly all of the picture lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.restoration.diagnosis import Borders
from tasks.restoration.measuring.pictures import Floats

NOMINAL_BLACK, NOMINAL_WHITE = 16.0, 235.0
# Shares of the pixels that may be darker, or brighter: sparks, dropouts, overshooting edges.
_DARKER, _BRIGHTER = 0.005, 0.995
# Pictures that span less are black leaders and fades, and tell nothing.
_LEAST_SPAN = 40.0


@dataclass(frozen=True)
class Levels:
    """Luma codes of 8 bits, limited range."""

    black: float = NOMINAL_BLACK
    white: float = NOMINAL_WHITE


class LevelMeter:
    """Counts luma codes over pictures, as means of 4 by 4 pixels: noise does not widen them."""

    def __init__(self) -> None:
        self._values: list[Floats] = []

    def add(self, luma: Floats, borders: Borders, torn_lines: int) -> None:
        """Count ``luma``, height x width, inside ``borders`` and above the torn lines."""
        bottom = luma.shape[0] - borders.bottom_px - torn_lines
        inner = luma[borders.top_px : bottom, borders.left_px : luma.shape[1] - borders.right_px]
        lines, columns = inner.shape[0] // 4, inner.shape[1] // 4
        if not lines or not columns:
            return
        means = inner[: lines * 4, : columns * 4].reshape(lines, 4, columns, 4).mean(axis=(1, 3))
        if float(np.ptp(means)) >= _LEAST_SPAN:
            self._values.append(means.ravel())

    def levels(self) -> Levels:
        """The levels of all pictures so far; nominal ones where none told anything."""
        if not self._values:
            return Levels()
        black, white = np.quantile(np.concatenate(self._values), (_DARKER, _BRIGHTER))
        return Levels(round(float(black), 1), round(float(white), 1))
