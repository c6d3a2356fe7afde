"""Measurement of the chroma shift: the displacement at which chroma edges best match luma edges.

The strengths of chroma and luma edges are correlated for all displacements in the frequency domain and summed over all
frames. The sign of an edge is ignored, because brighter areas may be bluer or yellower. Horizontal and vertical edges
are correlated separately and added, so that slanted edges do not confuse the two directions. A parabola locates the
maximum of the correlation between samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tasks.restoration.measuring.frame_codes import Floats, FrameCodes

Surface: TypeAlias = npt.NDArray[np.float64]

# In chroma samples; the correlation must fall off within the outermost two, so 12 luma pixels in 4:2:0.
MAX_SHIFT = 8
# Smaller shifts are within the differences in chroma siting between formats.
_MIN_SHIFT_PX = 1.5
# Minimum correlation, and its minimum ratio to the correlation without a shift.
_MIN_CORRELATION = 0.03
_MIN_GAIN = 1.03
# The correlation must fall by this share within this many samples of the maximum.
_SLOPE, _MIN_FALL = 2, 0.06
# Limit for the strength of an edge in codes, so that a single caption does not dominate.
_MAX_STRENGTH = 40.0
# Share ignored on each side, because of borders and torn lines.
_MARGIN_SHARE = 1 / 16
_MIN_SAMPLES = 4 * MAX_SHIFT


@dataclass(frozen=True)
class ChromaShift:
    """Displacement of chroma to the right and downward, in luma pixels."""

    x_px: float
    y_px: float


class ChromaMeter:
    """Measures frames of a tape, all of one size."""

    def __init__(self) -> None:
        self._sums: dict[bool, _Sums] = {}

    def add(self, codes: FrameCodes, interlaced: bool) -> None:
        """Add the correlation of a frame; the fields of an interlaced one are correlated separately."""
        if not codes.chroma.size:
            return
        sums = self._sums.setdefault(interlaced, _Sums(codes.step_x, codes.step_y * (2 if interlaced else 1)))
        for luma, chroma in _split_fields(codes, interlaced):
            thin = _average_to_chroma(luma, chroma.shape[1:])
            for component in chroma:
                sums.add(_crop_margins(thin), _crop_margins(component))

    def shift(self) -> ChromaShift:
        """Return the best shift; 0 without edges, or if no shift fits about as well."""
        largest = max(self._sums.values(), key=lambda sums: sums.frames, default=None)
        return ChromaShift(0.0, 0.0) if largest is None else largest.find_best()


class _Sums:
    """The sum of correlations over frames, per vertical and horizontal shift in chroma samples."""

    def __init__(self, step_x: int, step_y: int) -> None:
        self.frames = 0
        self._step_x, self._step_y = step_x, step_y
        self._products = np.zeros((2 * MAX_SHIFT + 1, 2 * MAX_SHIFT + 1))
        self._luma = self._chroma = 0.0

    def add(self, luma: Floats, chroma: Floats) -> None:
        if min(luma.shape) < _MIN_SAMPLES:
            return
        self.frames += 1
        for luma_edges, chroma_edges in zip(_find_edges(luma), _find_edges(chroma), strict=True):
            self._products += _correlate(luma_edges, chroma_edges)
            self._luma += float(np.square(luma_edges).sum())
            self._chroma += float(np.square(chroma_edges).sum())

    def find_best(self) -> ChromaShift:
        if not self._luma or not self._chroma:
            return ChromaShift(0.0, 0.0)
        fit = self._products / np.sqrt(self._luma * self._chroma)
        row, column = divmod(int(np.argmax(fit)), fit.shape[1])
        if fit[row, column] < _MIN_CORRELATION or fit[row, column] < _MIN_GAIN * fit[MAX_SHIFT, MAX_SHIFT]:
            return ChromaShift(0.0, 0.0)
        right, down = _locate_maximum(fit[row], column), _locate_maximum(fit[:, column], row)
        return ChromaShift(_round_shift(right * self._step_x), _round_shift(down * self._step_y))


def _split_fields(codes: FrameCodes, interlaced: bool) -> list[tuple[Floats, Floats]]:
    """Return luma and chroma of the frame, or of each field."""
    if not interlaced:
        return [(codes.luma, codes.chroma)]
    return [(codes.luma[parity::2], codes.chroma[:, parity::2]) for parity in (0, 1)]


def _average_to_chroma(luma: Floats, shape: tuple[int, ...]) -> Floats:
    """Return ``luma`` averaged to the resolution of chroma."""
    steps = [max(1, round(size / few)) for size, few in zip(luma.shape, shape, strict=True)]
    missing = [(0, max(0, few * step - size)) for size, few, step in zip(luma.shape, shape, steps, strict=True)]
    whole = np.pad(luma, missing, mode="edge")[: shape[0] * steps[0], : shape[1] * steps[1]]
    thin: Floats = whole.reshape(shape[0], steps[0], shape[1], steps[1]).mean(axis=(1, 3))
    return thin


def _crop_margins(plane: Floats) -> Floats:
    rows, columns = (int(size * _MARGIN_SHARE) for size in plane.shape)
    return plane[rows : plane.shape[0] - rows, columns : plane.shape[1] - columns]


def _find_edges(plane: Floats) -> tuple[Floats, Floats]:
    """Return the strengths of horizontal and vertical edges (Sobel), minus their means."""
    across = _smooth(plane[:, 2:] - plane[:, :-2], axis=0)
    down = _smooth(plane[2:] - plane[:-2], axis=1)
    return _limit_strength(across), _limit_strength(down)


def _smooth(plane: Floats, axis: int) -> Floats:
    turned = np.moveaxis(plane, axis, 0)
    smooth = (turned[:-2] + 2 * turned[1:-1] + turned[2:]) * np.float32(0.25)
    return np.moveaxis(smooth, 0, axis)


def _limit_strength(edges: Floats) -> Floats:
    """Return the edge strength minus its mean, faded to 0 at the sides, which would otherwise match best."""
    strength = np.minimum(np.abs(edges), np.float32(_MAX_STRENGTH))
    fall = [np.hanning(size).astype(np.float32) for size in strength.shape]
    faded: Floats = (strength - strength.mean()) * fall[0][:, None] * fall[1]
    return faded


def _correlate(luma: Floats, chroma: Floats) -> Surface:
    """Return the correlation of ``chroma`` with shifted ``luma``, for shifts from -MAX_SHIFT to MAX_SHIFT."""
    spectrum = np.conj(np.fft.rfft2(luma)) * np.fft.rfft2(chroma)
    whole = np.fft.irfft2(spectrum, s=luma.shape)
    shifts = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)
    near: Surface = whole[np.ix_(shifts, shifts)]
    return near


def _locate_maximum(fit: Surface, position: int) -> float:
    """Return the shift at the vertex of the parabola through the maximum and its neighbors, in samples.

    Return 0 if the maximum is a ridge, as in an image that has edges in one direction only.
    """
    if not _SLOPE <= position < len(fit) - _SLOPE:
        return 0.0
    if max(fit[position - _SLOPE], fit[position + _SLOPE]) > (1 - _MIN_FALL) * fit[position]:
        return 0.0
    left, middle, right = fit[position - 1 : position + 2]
    bend = left - 2 * middle + right
    return position - MAX_SHIFT + (float((left - right) / (2 * bend)) if bend < 0 else 0.0)


def _round_shift(shift_px: float) -> float:
    """Round to half a pixel; return 0 for shifts within the error of measurement."""
    return 0.0 if abs(shift_px) < _MIN_SHIFT_PX else round(shift_px * 2) / 2
