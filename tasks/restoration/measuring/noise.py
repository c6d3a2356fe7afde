"""Estimation of noise: the change between frames in areas without detail.

The frame is divided into blocks. In the smoothest eighth of them, half the variance of the difference of two frames is
the variance of the noise (like J. S. Lee's and later estimators, which use homogeneous blocks; for the spatial
estimator see Immerkaer, "Fast noise variance estimation", 1996). Motion increases it, so luma is also measured
spatially, across the lines of one field, whose noise is independent on a tape. The lower estimate counts.
Each field is compared with the same field of the previous frame, so interlacing has no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.restoration.measuring.frame_codes import Floats, FrameCodes

# Lines and columns of a block. A block is smooth if its quarters, in which noise averages out, are alike.
_LINES, _COLUMNS = 8, 16
_SMOOTH_SHARE = 0.12
_MIN_BLOCKS = 8
# Inserted black and clipped white have no noise.
_MIN_CODE, _MAX_CODE = 20.0, 230.0
# A field with this share of identical pixels is a repeated field.
_SAME_SHARE = 0.9
# Quantile of the estimates of all field pairs: motion can only increase an estimate.
_QUANTILE = 0.3
# Var(x[-1] - 2 x[0] + x[1]) = 6 sigma^2.
_SECOND_DIFFERENCE = 6.0


@dataclass(frozen=True)
class Noise:
    """Standard deviations in 8-bit codes."""

    luma: float
    chroma: float


class NoiseMeter:
    """Measures pairs of consecutive frames."""

    def __init__(self) -> None:
        self._luma: list[float] = []
        self._chroma: list[float] = []

    def add(self, pair: tuple[FrameCodes, FrameCodes]) -> None:
        """Measure both fields of ``pair``."""
        for parity in (0, 1):
            luma = [picture.luma[parity::2] for picture in pair]
            variances = _measure_luma(luma[0], luma[1])
            self._luma += variances
            if variances and pair[0].chroma.size:
                self._chroma += _measure_chroma([picture.chroma[:, parity::2] for picture in pair])

    def noise(self) -> Noise:
        """Return the noise of all pairs so far; 0 if no pair could be measured, as in a still image."""
        return Noise(_estimate_deviation(self._luma), _estimate_deviation(self._chroma))


def _measure_luma(one: Floats, other: Floats) -> list[float]:
    """Return the variance of the luma noise in time or space; empty if the field is repeated or too small."""
    smooth = _find_smooth_blocks(one, other)
    if smooth is None:
        return []
    in_time = _calculate_variances(other - one)[smooth] / 2
    across = one[:-2] - 2 * one[1:-1] + one[2:]
    in_space = _calculate_variances(np.pad(across, ((1, 1), (0, 0)), mode="edge"))[smooth] / _SECOND_DIFFERENCE
    return [float(min(np.median(in_time), np.median(in_space)))]


def _measure_chroma(fields: Sequence[Floats]) -> list[float]:
    """Return the mean variance of both chroma components."""
    variances = []
    for one, other in zip(fields[0], fields[1], strict=True):
        smooth = _find_smooth_blocks(one, other, 0.0, 255.0)
        if smooth is not None:
            variances.append(float(np.median(_calculate_variances(other - one)[smooth])) / 2)
    return [sum(variances) / len(variances)] if variances else []


def _find_smooth_blocks(
    one: Floats, other: Floats, min_code: float = _MIN_CODE, max_code: float = _MAX_CODE
) -> npt.NDArray[np.bool_] | None:
    """Return the blocks with the least structure; None if the fields are equal or there are too few blocks."""
    if np.mean(one == other) > _SAME_SHARE:
        return None
    blocks = _divide_into_blocks((one + other) * np.float32(0.5))
    if blocks.shape[0] * blocks.shape[2] < _MIN_BLOCKS:
        return None
    quarters = blocks.reshape(blocks.shape[0], 2, _LINES // 2, blocks.shape[2], 2, _COLUMNS // 2).mean(axis=(2, 5))
    level, structure = quarters.mean(axis=(1, 3)), quarters.std(axis=(1, 3))
    usable = (level > min_code) & (level < max_code)
    if usable.sum() < _MIN_BLOCKS:
        return None
    limit = np.quantile(structure[usable], _SMOOTH_SHARE)
    chosen: npt.NDArray[np.bool_] = usable & (structure <= limit)
    return chosen


def _divide_into_blocks(plane: Floats) -> Floats:
    """Return ``plane`` as block rows x lines x block columns x columns; incomplete blocks are dropped."""
    rows, columns = plane.shape[0] // _LINES, plane.shape[1] // _COLUMNS
    return plane[: rows * _LINES, : columns * _COLUMNS].reshape(rows, _LINES, columns, _COLUMNS)


def _calculate_variances(plane: Floats) -> Floats:
    """Return the variance per block."""
    variances: Floats = _divide_into_blocks(plane).var(axis=(1, 3), ddof=1)
    return variances


def _estimate_deviation(variances: Sequence[float]) -> float:
    return round(float(np.sqrt(np.quantile(variances, _QUANTILE))), 2) if variances else 0.0
