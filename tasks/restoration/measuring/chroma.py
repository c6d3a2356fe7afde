"""How far the colour lies beside its picture: where edges of chroma best meet edges of luma.

The strength of chroma's edges is correlated with that of luma's at every distance at once, in the frequency domain,
and summed over all pictures. The strength and not the direction: what is brighter may be bluer or yellower. Edges from
left to right and from top to bottom are correlated apart and added, so that a slanted edge does not pass a shift in one
direction for one in the other. The top of the correlation is found between samples by a parabola.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tasks.restoration.measuring.pictures import Floats, Picture

Surface: TypeAlias = npt.NDArray[np.float64]

# In samples of chroma, with two in which the correlation must fall off: 12 luma pixels in 4:2:0.
MOST_SHIFT = 8
# Less is within the difference of how formats place chroma between the luma pixels.
_LEAST_SHIFT_PX = 1.5
# Correlation below which edges do not belong to each other, and how much better than no shift it must be.
_LEAST_CORRELATION = 0.03
_LEAST_GAIN = 1.03
# So many samples beside its top the correlation must have fallen by this share of it.
_SLOPE, _LEAST_FALL = 2, 0.06
# Stronger edges count no more than this, in codes: else one caption decides.
_STRONGEST = 40.0
# Left out on each side, as a share: borders, torn lines.
_MARGIN_SHARE = 1 / 16
_LEAST_SAMPLES = 4 * MOST_SHIFT


@dataclass(frozen=True)
class ChromaShift:
    """How far the colour lies right of and below its picture, in luma pixels."""

    x_px: float
    y_px: float


class ChromaMeter:
    """Takes pictures of a tape, of one size."""

    def __init__(self) -> None:
        self._sums: dict[bool, _Sums] = {}

    def add(self, picture: Picture, interlaced: bool) -> None:
        """Correlate ``picture``; the fields of an interlaced one by themselves."""
        if not picture.chroma.size:
            return
        sums = self._sums.setdefault(interlaced, _Sums(picture.step_x, picture.step_y * (2 if interlaced else 1)))
        for luma, chroma in _parts(picture, interlaced):
            thin = _thinned(luma, chroma.shape[1:])
            for component in chroma:
                sums.add(_inner(thin), _inner(component))

    def shift(self) -> ChromaShift:
        """The shift that fits best; 0 where edges tell nothing, or no shift fits about as well."""
        most = max(self._sums.values(), key=lambda sums: sums.pictures, default=None)
        return ChromaShift(0.0, 0.0) if most is None else most.best()


class _Sums:
    """The correlation over pictures: for each shift down and right, in samples of chroma."""

    def __init__(self, step_x: int, step_y: int) -> None:
        self.pictures = 0
        self._step_x, self._step_y = step_x, step_y
        self._products = np.zeros((2 * MOST_SHIFT + 1, 2 * MOST_SHIFT + 1))
        self._luma = self._chroma = 0.0

    def add(self, luma: Floats, chroma: Floats) -> None:
        if min(luma.shape) < _LEAST_SAMPLES:
            return
        self.pictures += 1
        for one, other in zip(_edges(luma), _edges(chroma), strict=True):
            self._products += _correlation(one, other)
            self._luma += float(np.square(one).sum())
            self._chroma += float(np.square(other).sum())

    def best(self) -> ChromaShift:
        if not self._luma or not self._chroma:
            return ChromaShift(0.0, 0.0)
        fit = self._products / np.sqrt(self._luma * self._chroma)
        row, column = divmod(int(np.argmax(fit)), fit.shape[1])
        if fit[row, column] < _LEAST_CORRELATION or fit[row, column] < _LEAST_GAIN * fit[MOST_SHIFT, MOST_SHIFT]:
            return ChromaShift(0.0, 0.0)
        right, down = _summit(fit[row], column), _summit(fit[:, column], row)
        return ChromaShift(_told(right * self._step_x), _told(down * self._step_y))


def _parts(picture: Picture, interlaced: bool) -> list[tuple[Floats, Floats]]:
    """Luma and chroma of the frame, or of each field."""
    if not interlaced:
        return [(picture.luma, picture.chroma)]
    return [(picture.luma[parity::2], picture.chroma[:, parity::2]) for parity in (0, 1)]


def _thinned(luma: Floats, shape: tuple[int, ...]) -> Floats:
    """``luma`` with as many samples as chroma has, each the mean of those that it stands for."""
    steps = [max(1, round(size / few)) for size, few in zip(luma.shape, shape, strict=True)]
    missing = [(0, max(0, few * step - size)) for size, few, step in zip(luma.shape, shape, steps, strict=True)]
    whole = np.pad(luma, missing, mode="edge")[: shape[0] * steps[0], : shape[1] * steps[1]]
    thin: Floats = whole.reshape(shape[0], steps[0], shape[1], steps[1]).mean(axis=(1, 3))
    return thin


def _inner(plane: Floats) -> Floats:
    rows, columns = (int(size * _MARGIN_SHARE) for size in plane.shape)
    return plane[rows : plane.shape[0] - rows, columns : plane.shape[1] - columns]


def _edges(plane: Floats) -> tuple[Floats, Floats]:
    """How strong the edges from left to right, and those from top to bottom, are: Sobel's, about their means."""
    across = _smoothed(plane[:, 2:] - plane[:, :-2], axis=0)
    down = _smoothed(plane[2:] - plane[:-2], axis=1)
    return _strength(across), _strength(down)


def _smoothed(plane: Floats, axis: int) -> Floats:
    turned = np.moveaxis(plane, axis, 0)
    smooth = (turned[:-2] + 2 * turned[1:-1] + turned[2:]) * np.float32(0.25)
    return np.moveaxis(smooth, 0, axis)


def _strength(edges: Floats) -> Floats:
    """The strength about its mean, falling off to 0 at the sides, which would else fit each other best."""
    strength = np.minimum(np.abs(edges), np.float32(_STRONGEST))
    fall = [np.hanning(size).astype(np.float32) for size in strength.shape]
    faded: Floats = (strength - strength.mean()) * fall[0][:, None] * fall[1]
    return faded


def _correlation(luma: Floats, chroma: Floats) -> Surface:
    """The products of ``chroma`` with ``luma`` moved down and right by each shift from -MOST_SHIFT to MOST_SHIFT."""
    spectrum = np.conj(np.fft.rfft2(luma)) * np.fft.rfft2(chroma)
    whole = np.fft.irfft2(spectrum, s=luma.shape)
    shifts = np.arange(-MOST_SHIFT, MOST_SHIFT + 1)
    near: Surface = whole[np.ix_(shifts, shifts)]
    return near


def _summit(fit: Surface, place: int) -> float:
    """The shift at which the parabola through the highest place and its neighbours is highest, in samples.

    0 where there is no summit but a ridge, as in a picture that has edges in one direction only.
    """
    if not _SLOPE <= place < len(fit) - _SLOPE:
        return 0.0
    if max(fit[place - _SLOPE], fit[place + _SLOPE]) > (1 - _LEAST_FALL) * fit[place]:
        return 0.0
    left, middle, right = fit[place - 1 : place + 2]
    bend = left - 2 * middle + right
    return place - MOST_SHIFT + (float((left - right) / (2 * bend)) if bend < 0 else 0.0)


def _told(shift_px: float) -> float:
    """To half a pixel; 0 for what is within the measure's error."""
    return 0.0 if abs(shift_px) < _LEAST_SHIFT_PX else round(shift_px * 2) / 2
