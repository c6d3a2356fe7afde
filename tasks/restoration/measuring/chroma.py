"""How far the colour lies beside its picture: where edges of chroma best meet edges of luma.

The strength of chroma's edges is correlated with that of luma's, moved by each distance in turn, over all pictures. The
strength and not the direction: what is brighter may be bluer or yellower.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.restoration.measuring.pictures import Floats, Picture

MOST_SHIFT_PX = 12
# Less is within the difference of how formats place chroma between the luma pixels.
_LEAST_SHIFT_PX = 1.0
# Correlation below which edges do not belong to each other, and how much better than no shift it must be.
_LEAST_CORRELATION = 0.1
_LEAST_GAIN = 1.1
# Stronger edges count no more than this, in codes: else one caption decides.
_STRONGEST = 40.0


@dataclass(frozen=True)
class ChromaShift:
    """How far the colour lies right of and below its picture, in luma pixels."""

    x_px: float
    y_px: float


class ChromaMeter:
    """Takes pictures of a tape."""

    def __init__(self) -> None:
        self._across, self._down = _Sums(), _Sums()
        self._lines_apart = 1

    def add(self, picture: Picture, interlaced: bool) -> None:
        """Correlate ``picture``; the fields of an interlaced one by themselves."""
        if not picture.chroma.size:
            return
        parts = _fields(picture) if interlaced else (picture,)
        self._lines_apart = max(self._lines_apart, len(parts))
        for part in parts:
            for component in part.chroma:
                self._across.add(part.luma, component, part.step_x)
                self._down.add(part.luma.T, component.T, part.step_y)

    def shift(self) -> ChromaShift:
        """The shift that fits best; 0 where edges tell nothing, or no shift fits about as well."""
        return ChromaShift(self._across.best(), self._down.best() * self._lines_apart)


class _Sums:
    """Sums over pictures of what a correlation at each distance needs, along the second axis."""

    def __init__(self) -> None:
        self._products = np.zeros(2 * MOST_SHIFT_PX + 1)
        self._luma = np.zeros(2 * MOST_SHIFT_PX + 1)
        self._chroma = 0.0

    def add(self, luma: Floats, chroma: Floats, step: int) -> None:
        strong = _edges(chroma)
        detail = _edges(_thinned(luma, chroma.shape[0]))
        # Samples so far inside that a shifted luma pixel exists for each of them.
        inside = np.arange(-(-MOST_SHIFT_PX // step), strong.shape[1] - -(-MOST_SHIFT_PX // step))
        if len(inside) < 8:
            return
        taken = strong[:, inside]
        taken = taken - taken.mean()
        self._chroma += float((taken * taken).sum())
        for number, shift in enumerate(range(-MOST_SHIFT_PX, MOST_SHIFT_PX + 1)):
            places = np.clip(inside * step - shift, 0, detail.shape[1] - 1)
            moved = detail[:, places]
            moved = moved - moved.mean()
            self._products[number] += float((taken * moved).sum())
            self._luma[number] += float((moved * moved).sum())

    def best(self) -> float:
        if not self._chroma or not self._luma.all():
            return 0.0
        fit = self._products / np.sqrt(self._luma * self._chroma)
        place = int(np.argmax(fit))
        if fit[place] < _LEAST_CORRELATION or fit[place] < _LEAST_GAIN * fit[MOST_SHIFT_PX]:
            return 0.0
        shift = place - MOST_SHIFT_PX + _between(fit, place)
        return 0.0 if abs(shift) < _LEAST_SHIFT_PX else round(shift * 2) / 2


def _fields(picture: Picture) -> tuple[Picture, Picture]:
    return (
        Picture(picture.luma[0::2], picture.chroma[:, 0::2]),
        Picture(picture.luma[1::2], picture.chroma[:, 1::2]),
    )


def _edges(plane: Floats) -> Floats:
    """How strong the edge at each pixel is, along the second axis."""
    strength = np.zeros_like(plane)
    strength[:, 1:-1] = np.abs(plane[:, 2:] - plane[:, :-2])
    return np.minimum(strength, np.float32(_STRONGEST))


def _thinned(luma: Floats, rows: int) -> Floats:
    """``luma`` with as many rows as chroma has, each the mean of those that it stands for."""
    step = max(1, round(luma.shape[0] / rows))
    places = np.minimum(np.arange(rows)[:, None] * step + np.arange(step), luma.shape[0] - 1)
    thin: Floats = luma[places].mean(axis=1)
    return thin


def _between(fit: npt.NDArray[np.float64], place: int) -> float:
    """How far beside ``place`` the top of the parabola through it and its neighbours lies."""
    if not 0 < place < len(fit) - 1:
        return 0.0
    left, middle, right = fit[place - 1 : place + 2]
    bend = left - 2 * middle + right
    return float((left - right) / (2 * bend)) if bend < 0 else 0.0
