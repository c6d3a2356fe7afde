"""Filling a hole from its surroundings: the surface that bends least and goes through all samples that are known.

The unknown samples x minimise |L x|^2 + tension |D x|^2, with the differences D of neighbours and their sum L (the
discrete Laplacian): a thin plate under tension (Smith and Wessel, Geophysics 55, 1990). The equations are the same for
every frame in which the hole is the same: they are factorised once. Holes of very many samples are filled at half the
resolution.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from tasks.overlays.overlay import Floats, Mask

# Between a membrane (large), which is flat in the middle of a hole, and a plate (0), which overshoots.
TENSION = 0.3
# Samples around the hole that the equations need.
_RIM = 3
# The most samples for which the equations are solved: two to five kilobytes each.
MOST_SAMPLES = 40_000


class Surroundings:
    """Fills the samples of ``hole``, bool, height x width."""

    def __init__(self, hole: Mask) -> None:
        self._hole = hole
        self._rim: Mask = hole
        self._solver: Any = None
        self._coarse: Surroundings | None = None
        if int(hole.sum()) > MOST_SAMPLES:
            self._coarse = Surroundings(halved(hole.astype(np.float32)) > 0)
        elif hole.any() and not hole.all():
            self._factorise()

    def fill(self, plane: Floats) -> Floats:
        """``plane``, float32, height x width, with the hole filled; itself where there is none or nothing else."""
        if self._coarse is not None:
            small = self._coarse.fill(halved(plane))
            large = cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
            return np.where(self._hole, large[: plane.shape[0], : plane.shape[1]], plane)
        if self._solver is None:
            return plane
        filled = plane.copy()
        filled[self._hole] = self._solver.solve(-(self._known @ plane[self._rim].astype(np.float64)))
        return filled

    def _factorise(self) -> None:
        """Set up the equations for the samples around the hole, of which those in it are unknown."""
        near = cv2.dilate(self._hole.astype(np.uint8), np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8)) > 0
        bend = laplacian(near)
        system = (bend.T @ bend + TENSION * bend).tocsr()
        inside = self._hole[near]
        rows = system[inside]
        self._rim = near & ~self._hole
        self._known = rows[:, ~inside].tocsr()
        self._solver = splu(rows[:, inside].tocsc())


def halved(plane: Floats) -> Floats:
    """The mean of two by two samples; the last row or column twice where their number is odd."""
    height, width = plane.shape
    even = cv2.copyMakeBorder(plane, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.asarray(even.reshape((height + 1) // 2, 2, (width + 1) // 2, 2).mean(axis=(1, 3)), np.float32)


def laplacian(near: Mask) -> Any:
    """The graph Laplacian of the samples ``near``, each with its neighbours left, right, above and below."""
    count = int(near.sum())
    number = np.full(near.shape, -1)
    number[near] = np.arange(count)
    pairs = [_pairs(number[:, :-1], number[:, 1:]), _pairs(number[:-1], number[1:])]
    one, other = np.concatenate(pairs, axis=1)
    links = sparse.coo_matrix((np.ones(one.size), (one, other)), shape=(count, count))
    links = links + links.T
    return (sparse.diags(np.asarray(links.sum(axis=1)).ravel()) - links).tocsr()


def _pairs(one: Any, other: Any) -> Any:
    both = (one >= 0) & (other >= 0)
    return np.stack([one[both], other[both]])
