"""At which codes black and white are played.

The darkest thing in a picture need not be black: a street in daylight is none, however far its shadows lie from 16.
Black that is there shows as a peak at the dark end: much of the picture (borders, titles, deep shadow, all that was
darker still when it was recorded) has one and the same code, as even as the noise lets it be, with hardly anything
below it and a gap above. Shadows of a picture without black begin thinly and grow denser. The same holds for white.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.restoration.diagnosis import Borders
from tasks.restoration.measuring.pictures import Floats

NOMINAL_BLACK, NOMINAL_WHITE = 16.0, 235.0
# Codes are counted as means of so many pixels squared: little is left of the noise.
_CELL_PX = 8
# That much of it: an eighth if it were white, more for noise of tape, which is alike along a line.
_NOISE_LEFT = 0.175
# A peak is so many deviations wide to each side; at least one code, for rounding.
_REACH = 2.0
_LEAST_REACH = 1.0
# Shares: of all cells in a peak; of the peak's cells beyond its outer side, and in as wide a piece on its inner side.
_LEAST_SHARE = 0.002
_LEAST_CELLS = 40  # and so many: fewer lie together by chance
_MOST_OUTSIDE = 0.1
_MOST_INSIDE = 0.6
# Neither is searched further away from its nominal code: black is raised to 32 where NTSC's setup was left in.
_FURTHEST = 24.0
_STEP = 0.25
# The share of the pixels that may be brighter than white, where no peak tells: sparks, dropouts, overshooting edges.
_DARKER = 0.995
# Pictures that span less are black leaders and fades: one code everywhere, which may be any.
_LEAST_SPAN = 40.0


@dataclass(frozen=True)
class Levels:
    """Luma codes of 8 bits, limited range."""

    black: float = NOMINAL_BLACK
    white: float = NOMINAL_WHITE


class LevelMeter:
    """Counts luma codes over pictures."""

    def __init__(self) -> None:
        self._whole: list[Floats] = []
        self._inner: list[Floats] = []

    def add(self, luma: Floats, borders: Borders, torn_lines: int) -> None:
        """Count ``luma``, height x width, above the torn lines; borders are black, and never white."""
        bottom = luma.shape[0] - torn_lines
        inner = luma[borders.top_px : bottom - borders.bottom_px, borders.left_px : luma.shape[1] - borders.right_px]
        cells = _cells(inner)
        if cells.size and float(np.ptp(cells)) >= _LEAST_SPAN:
            self._inner.append(cells)
            self._whole.append(_cells(luma[:bottom]))

    def levels(self, noise_luma: float) -> Levels:
        """The levels of all pictures so far, whose noise has that deviation in codes.

        Black is nominal where no picture shows any; white is what nearly all is darker than, where none shows white.
        """
        if not self._inner:
            return Levels()
        whole, inner = np.concatenate(self._whole), np.concatenate(self._inner)
        reach = max(_LEAST_REACH, _REACH * _NOISE_LEFT * noise_luma)
        black, white = _peak(whole, NOMINAL_BLACK, reach), _peak(-inner, -NOMINAL_WHITE, reach)
        bright = float(np.quantile(inner, _DARKER))
        return Levels(
            NOMINAL_BLACK if black is None else round(black, 1), round(bright if white is None else -white, 1)
        )


def _cells(luma: Floats) -> Floats:
    """The means of all whole cells."""
    lines, columns = luma.shape[0] // _CELL_PX, luma.shape[1] // _CELL_PX
    cut = luma[: lines * _CELL_PX, : columns * _CELL_PX]
    means: Floats = cut.reshape(lines, _CELL_PX, columns, _CELL_PX).mean(axis=(1, 3)).ravel()
    return means


def _peak(values: Floats, nominal: float, reach: float) -> float | None:
    """Where the peak at the low end of ``values`` is, within ``reach`` to each side; None without one."""
    ordered = np.sort(values)
    codes = np.arange(nominal - _FURTHEST, nominal + _FURTHEST, _STEP)
    edges = codes[:, None] + reach * np.array([-1, 1, 3])
    below, upto, beyond = np.searchsorted(ordered, edges).T
    held = upto - below
    is_peak = (held >= max(_LEAST_CELLS, _LEAST_SHARE * len(ordered))) & (below <= _MOST_OUTSIDE * held)
    is_peak &= beyond - upto <= _MOST_INSIDE * held
    if not is_peak.any():
        return None
    best = int(np.argmax(np.where(is_peak, held, 0)))
    return float(np.median(ordered[below[best] : upto[best]]))
