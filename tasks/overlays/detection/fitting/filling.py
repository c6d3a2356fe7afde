"""Regions filled in from their surroundings by Laplace's equation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

from tasks.overlays.overlay import Floats, Mask


class Filler:
    """Fills in the pixels of ``region`` from those around it by Laplace's equation; other pixels stay the same."""

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
            neighbors = at + step
            exists = inside[tuple(neighbors.T)]
            values[0] += exists
            neighbor = number[tuple(neighbors.T)]
            linked = np.flatnonzero(neighbor >= 0)
            rows.append(linked)
            columns.append(neighbor[linked])
            values.append(np.full(len(linked), -1.0))
            border = np.flatnonzero(exists & (neighbor < 0))
            self._known.append((border, np.ravel_multi_index(tuple((neighbors[border] - 1).T), region.shape)))
        place = (np.concatenate(rows), np.concatenate(columns))
        self._solver = splu(csc_matrix((np.concatenate(values), place), shape=(self._count, self._count)))

    def __call__(self, frames: Floats) -> Floats:
        """Return a copy of ``frames`` (frames x height x width) with the region filled in."""
        filled = frames.copy()
        flat = frames.reshape(len(frames), -1)
        right = np.zeros((self._count, len(frames)))
        for border, place in self._known:
            np.add.at(right, border, flat[:, place].T)
        filled[:, self.region] = self._solver.solve(right).T
        return filled

    def integrate(self, across: Floats, down: Floats) -> Floats:
        """Return the surface in the region with these differences to the next column and row; 0 outside.

        Poisson's equation: least squares over the differences.
        """
        right = np.zeros(across.shape, np.float64)
        right += across + down
        right[:, 1:] -= across[:, :-1]
        right[1:] -= down[:-1]
        result = np.zeros(across.shape, np.float32)
        result[self.region] = self._solver.solve(-right[self.region])
        return result


def fill_all(filler: Filler, components: list[Floats]) -> list[Floats]:
    """Fill in all components."""
    return [filler(frames) for frames in components]
