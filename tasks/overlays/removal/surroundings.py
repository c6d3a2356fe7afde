"""Fills a hole from its surroundings: the surface with the least bending through all known samples.

The unknown samples x minimize |L x|^2 + tension |D x|^2, with the differences D of neighbors and their sum L (the
discrete Laplacian): a thin plate under tension (Smith and Wessel, Geophysics 55, 1990). The equations are the same for
every frame with the same hole, so they are factorized once. Very large holes are filled at half the resolution.
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
_RIM_PX = 3
# Maximum number of samples for which the equations are solved: two to five KB each.
MAX_SAMPLES = 40_000


class Surroundings:
    """Fills the samples of ``hole``, bool, height x width."""

    def __init__(self, hole: Mask) -> None:
        self._hole = hole
        self._rim: Mask = hole
        self._solver: Any = None
        self._coarse: Surroundings | None = None
        if int(hole.sum()) > MAX_SAMPLES:
            self._coarse = Surroundings(downscale(hole.astype(np.float32)) > 0)
        elif hole.any() and not hole.all():
            self._prepare()

    def fill(self, plane: Floats) -> Floats:
        """Return ``plane``, float32, height x width, with the hole filled; unchanged without a hole or surroundings."""
        if self._coarse is not None:
            small = self._coarse.fill(downscale(plane))
            large = cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
            return np.where(self._hole, large[: plane.shape[0], : plane.shape[1]], plane)
        if self._solver is None:
            return plane
        filled = plane.copy()
        filled[self._hole] = self._solver.solve(-(self._known @ plane[self._rim].astype(np.float64)))
        return filled

    def _prepare(self) -> None:
        """Set up the equations for the samples around the hole, with those in it as unknowns."""
        near = cv2.dilate(self._hole.astype(np.uint8), np.ones((2 * _RIM_PX + 1, 2 * _RIM_PX + 1), np.uint8)) > 0
        bend = build_laplacian(near)
        system = (bend.T @ bend + TENSION * bend).tocsr()
        inside = self._hole[near]
        rows = system[inside]
        self._rim = near & ~self._hole
        self._known = rows[:, ~inside].tocsr()
        self._solver = splu(rows[:, inside].tocsc())


def downscale(plane: Floats) -> Floats:
    """Return the mean of blocks of 2 x 2 samples; the last row or column is repeated if their number is odd."""
    height, width = plane.shape
    even = cv2.copyMakeBorder(plane, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.asarray(even.reshape((height + 1) // 2, 2, (width + 1) // 2, 2).mean(axis=(1, 3)), np.float32)


def build_laplacian(near: Mask) -> Any:
    """Return the graph Laplacian of the samples ``near``, each linked to its four neighbors."""
    count = int(near.sum())
    number = np.full(near.shape, -1)
    number[near] = np.arange(count)
    pairs = [_pair(number[:, :-1], number[:, 1:]), _pair(number[:-1], number[1:])]
    first, second = np.concatenate(pairs, axis=1)
    links = sparse.coo_matrix((np.ones(first.size), (first, second)), shape=(count, count))
    links = links + links.T
    return (sparse.diags(np.asarray(links.sum(axis=1)).ravel()) - links).tocsr()


def _pair(first: Any, second: Any) -> Any:
    both = (first >= 0) & (second >= 0)
    return np.stack([first[both], second[both]])
