"""Measurement of the codes of black and white.

The darkest area of a frame need not be black: a street in daylight has shadows, but no black. If a frame shows black
(borders, titles, deep shadow, clipped shadow), the histogram has a narrow peak at the dark end, with few values below
and a gap above. Shadows without black start sparsely and grow denser. The same holds for white.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.restoration.diagnosis import Borders
from tasks.restoration.measuring.frame_codes import Floats

NOMINAL_BLACK, NOMINAL_WHITE = 16.0, 235.0
# Codes are averaged over squares of this size, which removes most noise.
_CELL_PX = 8
# Remaining share of the noise: an eighth for white noise, more for tape noise, which is correlated along a line.
_NOISE_LEFT = 0.175
# Half width of a peak in deviations; at least one code, because of rounding.
_REACH_DEVIATIONS = 2.0
_MIN_REACH = 1.0
# Minimum share of all cells in a peak; maximum cells beyond its outer side and next to its inner side, per cell in it.
_MIN_SHARE = 0.002
_MIN_CELLS = 40  # minimum count: fewer may coincide by chance
_MAX_OUTSIDE = 0.1
_MAX_INSIDE = 0.6
# Maximum distance from the nominal code: NTSC setup raises black to 32.
_MAX_DISTANCE = 24.0
_STEP = 0.25
# Quantile taken as white without a peak: sparks, dropouts and overshooting edges are brighter.
_WHITE_QUANTILE = 0.995
# Frames with a smaller range are black leaders and fades, whose code may be arbitrary.
_MIN_RANGE = 40.0


@dataclass(frozen=True)
class Levels:
    """8-bit luma codes, limited range."""

    black: float = NOMINAL_BLACK
    white: float = NOMINAL_WHITE


class LevelMeter:
    """Counts luma codes over frames."""

    def __init__(self) -> None:
        self._whole: list[Floats] = []
        self._inner: list[Floats] = []

    def add(self, luma: Floats, borders: Borders, torn_lines: int) -> None:
        """Add a frame: ``luma`` is height x width; torn lines are ignored; borders count for black only."""
        bottom = luma.shape[0] - torn_lines
        inner = luma[borders.top_px : bottom - borders.bottom_px, borders.left_px : luma.shape[1] - borders.right_px]
        cells = _average_cells(inner)
        if cells.size and float(np.ptp(cells)) >= _MIN_RANGE:
            self._inner.append(cells)
            self._whole.append(_average_cells(luma[:bottom]))

    def levels(self, noise_luma: float) -> Levels:
        """Return the levels of all frames so far; ``noise_luma`` is the standard deviation of their noise in codes.

        If no frame shows black, it is nominal; if no frame shows white, it is a high quantile of luma.
        """
        if not self._inner:
            return Levels()
        whole, inner = np.concatenate(self._whole), np.concatenate(self._inner)
        reach = max(_MIN_REACH, _REACH_DEVIATIONS * _NOISE_LEFT * noise_luma)
        black, white = _find_peak(whole, NOMINAL_BLACK, reach), _find_peak(-inner, -NOMINAL_WHITE, reach)
        bright = float(np.quantile(inner, _WHITE_QUANTILE))
        return Levels(
            NOMINAL_BLACK if black is None else round(black, 1), round(bright if white is None else -white, 1)
        )


def _average_cells(luma: Floats) -> Floats:
    """Return the means of all complete cells."""
    lines, columns = luma.shape[0] // _CELL_PX, luma.shape[1] // _CELL_PX
    cut = luma[: lines * _CELL_PX, : columns * _CELL_PX]
    means: Floats = cut.reshape(lines, _CELL_PX, columns, _CELL_PX).mean(axis=(1, 3)).ravel()
    return means


def _find_peak(values: Floats, nominal: float, reach: float) -> float | None:
    """Return the peak at the low end of ``values``, ``reach`` wide to each side; None without one."""
    ordered = np.sort(values)
    codes = np.arange(nominal - _MAX_DISTANCE, nominal + _MAX_DISTANCE, _STEP)
    edges = codes[:, None] + reach * np.array([-1, 1, 3])
    below, up_to, beyond = np.searchsorted(ordered, edges).T
    inside = up_to - below
    is_peak = (inside >= max(_MIN_CELLS, _MIN_SHARE * len(ordered))) & (below <= _MAX_OUTSIDE * inside)
    is_peak &= beyond - up_to <= _MAX_INSIDE * inside
    if not is_peak.any():
        return None
    best = int(np.argmax(np.where(is_peak, inside, 0)))
    return float(np.median(ordered[below[best] : up_to[best]]))
