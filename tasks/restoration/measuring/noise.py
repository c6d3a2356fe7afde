"""How strong the noise is: what changes from frame to frame where the picture has no detail that could move.

The picture is cut into blocks. In the smoothest eighth of them half the variance of the difference of two frames is
the variance of the noise (as J. S. Lee's and later estimators take the variance of homogeneous blocks; see Immerkaer,
"Fast noise variance estimation", 1996, for the one in space). Movement adds to it, so luma is also measured in space,
across the lines of one field, of which each has noise of its own on a tape; the lower figure counts.
Fields are compared with the same field of the frame before, so interlacing does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.restoration.measuring.pictures import Floats, Picture

# Lines and columns of a block. Its quarters, in which noise averages out, tell whether it is smooth.
_LINES, _COLUMNS = 8, 16
_SMOOTH_SHARE = 0.12
_LEAST_BLOCKS = 8
# Black that was put in and white that was clipped have no noise.
_LOWEST, _HIGHEST = 20.0, 230.0
# A field of which so much stays the same to the last bit was repeated.
_SAME_SHARE = 0.9
# Of all field pairs' figures, in order, the one at this share counts: movement makes them larger, never smaller.
_RANK = 0.3
# Var(x[-1] - 2 x[0] + x[1]) = 6 sigma^2.
_SECOND_DIFFERENCE = 6.0


@dataclass(frozen=True)
class Noise:
    """Standard deviations in 8-bit codes."""

    luma: float
    chroma: float


class NoiseMeter:
    """Takes pairs of pictures that follow each other."""

    def __init__(self) -> None:
        self._luma: list[float] = []
        self._chroma: list[float] = []

    def add(self, pair: tuple[Picture, Picture]) -> None:
        """Measure both fields of ``pair``."""
        for parity in (0, 1):
            luma = [picture.luma[parity::2] for picture in pair]
            found = _both_ways(luma[0], luma[1])
            self._luma += found
            if found and pair[0].chroma.size:
                self._chroma += _chroma([picture.chroma[:, parity::2] for picture in pair])

    def noise(self) -> Noise:
        """The noise of all pairs so far; 0 where there was nothing to measure, as in a still picture."""
        return Noise(_typical(self._luma), _typical(self._chroma))


def _both_ways(one: Floats, other: Floats) -> list[float]:
    """The variance of luma noise, in time or in space; none where the field was repeated or is too small."""
    smooth = _smooth(one, other)
    if smooth is None:
        return []
    in_time = _variances(other - one)[smooth] / 2
    across = one[:-2] - 2 * one[1:-1] + one[2:]
    in_space = _variances(np.pad(across, ((1, 1), (0, 0)), mode="edge"))[smooth] / _SECOND_DIFFERENCE
    return [float(min(np.median(in_time), np.median(in_space)))]


def _chroma(fields: Sequence[Floats]) -> list[float]:
    """The mean of the variances of both components."""
    found = []
    for one, other in zip(fields[0], fields[1], strict=True):
        smooth = _smooth(one, other, 0.0, 255.0)
        if smooth is not None:
            found.append(float(np.median(_variances(other - one)[smooth])) / 2)
    return [sum(found) / len(found)] if found else []


def _smooth(
    one: Floats, other: Floats, lowest: float = _LOWEST, highest: float = _HIGHEST
) -> npt.NDArray[np.bool_] | None:
    """Which blocks have the least structure; ``None`` where nothing changes or there are too few."""
    if np.mean(one == other) > _SAME_SHARE:
        return None
    blocks = _blocks((one + other) * np.float32(0.5))
    if blocks.shape[0] * blocks.shape[2] < _LEAST_BLOCKS:
        return None
    quarters = blocks.reshape(blocks.shape[0], 2, _LINES // 2, blocks.shape[2], 2, _COLUMNS // 2).mean(axis=(2, 5))
    level, structure = quarters.mean(axis=(1, 3)), quarters.std(axis=(1, 3))
    usable = (level > lowest) & (level < highest)
    if usable.sum() < _LEAST_BLOCKS:
        return None
    limit = np.quantile(structure[usable], _SMOOTH_SHARE)
    chosen: npt.NDArray[np.bool_] = usable & (structure <= limit)
    return chosen


def _blocks(plane: Floats) -> Floats:
    """``plane`` as rows of blocks x lines x columns of blocks x columns, without what is left over."""
    rows, columns = plane.shape[0] // _LINES, plane.shape[1] // _COLUMNS
    return plane[: rows * _LINES, : columns * _COLUMNS].reshape(rows, _LINES, columns, _COLUMNS)


def _variances(plane: Floats) -> Floats:
    """The variance in each block."""
    variances: Floats = _blocks(plane).var(axis=(1, 3), ddof=1)
    return variances


def _typical(variances: Sequence[float]) -> float:
    return round(float(np.sqrt(np.quantile(variances, _RANK))), 2) if variances else 0.0
