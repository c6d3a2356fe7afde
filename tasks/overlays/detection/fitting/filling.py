"""Regions filled in from their surroundings by Laplace's equation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

from tasks.overlays.overlay import Floats, Mask


class Filler:
    """Fills in the pixels of ``region`` from those around it, by Laplace's equation; others stay as they are."""

    def __init__(self, region: Mask) -> None:
        self.region = region
        number = np.full(np.add(region.shape, 2), -1)
        number[1:-1, 1:-1][region] = np.arange(int(region.sum()))
        inside = np.zeros(number.shape, bool)
        inside[1:-1, 1:-1] = True
        at = np.argwhere(number >= 0)
        self._count = len(at)
        rows, columns, values = [np.arange(self._count)], [np.arange(self._count)], [np.zeros(self._count)]
        self._known: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
        for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            beside = at + step
            there = inside[tuple(beside.T)]
            values[0] += there
            other = number[tuple(beside.T)]
            linked = np.flatnonzero(other >= 0)
            rows.append(linked)
            columns.append(other[linked])
            values.append(np.full(len(linked), -1.0))
            border = np.flatnonzero(there & (other < 0))
            self._known.append((border, np.ravel_multi_index(tuple((beside[border] - 1).T), region.shape)))
        place = (np.concatenate(rows), np.concatenate(columns))
        self._solver = splu(csc_matrix((np.concatenate(values), place), shape=(self._count, self._count)))

    def __call__(self, frames: Floats) -> Floats:
        """``frames``, frames x height x width, with the region filled in: a copy."""
        filled = frames.copy()
        flat = frames.reshape(len(frames), -1)
        right = np.zeros((self._count, len(frames)))
        for border, place in self._known:
            np.add.at(right, border, flat[:, place].T)
        filled[:, self.region] = self._solver.solve(right).T
        return filled

    def relief(self, across: Floats, down: Floats) -> Floats:
        """What has these differences to the next pixel, across and down, in the region, and is 0 around it.

        Poisson's equation: least squares over the differences.
        """
        right = np.zeros(across.shape, np.float64)
        right += across + down
        right[:, 1:] -= across[:, :-1]
        right[1:] -= down[:-1]
        found = np.zeros(across.shape, np.float32)
        found[self.region] = self._solver.solve(-right[self.region])
        return found


def filler_each(filler: Filler, components: list[Floats]) -> list[Floats]:
    """All components filled in."""
    return [filler(frames) for frames in components]
