"""The most probable background, given noisy samples around and in a hole, with adaptive smoothness.

Samples y with noise variance n / w (w is 0 for hidden ones) belong to a thin plate under tension (Smith and Wessel,
Geophysics 55, 1990), whose bending has the variance n / r: the most probable x minimizes the sum of w (x - y)^2 + r
(|L x|^2 + tension |D x|^2), with the differences D of neighbors and the discrete Laplacian L. Its error variance is n
diag(A^-1), where A x = w y are the equations of that minimum.

Smoothness and noise differ from place to place. So the equations are solved for several r, and each sample takes the r
with the largest evidence around it (the probability of y; MacKay, Neural Computation 4, 1992): up to a constant, -2
log p = N log n + log det A - M log r, for N visible samples and M in total, with n the minimum divided by N. As d log
det A / d log r = M - sum of h, with h = w diag(A^-1), each sample has its own part of it.

The equations are the same for every frame with the same hole, so they are factorized once. Large holes are solved at
half the resolution, with a limited number of unknowns, and refined iteratively.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from tasks.overlays.overlay import Floats, Mask
from tasks.overlays.removal.surroundings import TENSION, build_laplacian, downscale

# Candidates for r. Compression noise is not white, which makes images look rougher: the result lies between the best
# and the next.
_SMOOTHNESS = tuple(0.0005 * 20.0**step for step in range(5))
# Samples around the hole that are smoothed with it.
_RIM_PX = 5
# Window in which the evidence is summed, and the relative weight of all samples.
_WINDOW_PX = 31
_GLOBAL_WEIGHT = 1e-3
# Maximum number of unknowns for a direct solution: 1.5 KB each, for each r.
MAX_UNKNOWNS = 25_000
_SWEEPS = 6
# Distance of samples, in both directions, that share a column when diagonals are probed.
_SPACING = 5
# Lower bound of the noise, in squared 8-bit codes.
_MIN_NOISE = 0.003
_KERNEL = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32)


@dataclass(frozen=True)
class Smoothed:
    """float32, height x width each.

    value       of the samples around and in the hole; 0 elsewhere
    variance    of its error, in squared units of the value; 0 elsewhere
    noise       error variance of a sample with weight 1, everywhere
    smoothness  the selected r
    """

    value: Floats
    variance: Floats
    noise: Floats
    smoothness: Floats


class Smoother:
    """Smooths the samples in and around ``mask``, bool, height x width.

    ``weight``, float32, has the same size: 1 for a sample with ordinary noise, less with more noise, 0 if it is
    unknown.
    """

    def __init__(self, mask: Mask, weight: Floats) -> None:
        self._near = _grow(mask)
        self._weight = weight
        self._coarse: Smoother | None = None
        self._levels: list[_Level] = []
        if int(self._near.sum()) > MAX_UNKNOWNS:
            self._coarse = Smoother(downscale(mask.astype(np.float32)) > 0, 4 * downscale(weight))
        else:
            self._prepare()

    def smooth(self, values: Floats) -> Smoothed:
        """Return the most probable surface through ``values``, float32, height x width, in 8-bit codes."""
        return self._refine(values) if self._coarse else self._solve(values)

    def _prepare(self) -> None:
        near = self._near
        self._inside = cv2.erode(near.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
        own = self._weight[near].astype(np.float64)
        bend = build_laplacian(near)
        stiffness = bend.T @ bend + TENSION * bend
        columns = _assign_columns(near)
        self._levels = [_Level(stiffness, own, r, columns) for r in _SMOOTHNESS]
        self._seen = _Mean(near & (self._weight > 0))
        # The integral of -h over log r, by the trapezoidal rule.
        parts, total = [np.zeros(own.size)], np.zeros(own.size)
        for level, next_level in zip(self._levels, self._levels[1:], strict=False):
            shares = [np.clip(own * each.diagonal, 0, 1) for each in (level, next_level)]
            total = total - (shares[0] + shares[1]) / 2 * math.log(next_level.smoothness / level.smoothness)
            parts.append(total)
        self._parts = [self._seen.average(self._spread(part)) for part in parts]

    def _spread(self, own: Any) -> Floats:
        """Return an image of ``own``, a value for each sample near the mask."""
        page = np.zeros(self._near.shape, np.float32)
        page[self._near] = own
        return page

    def _solve(self, values: Floats) -> Smoothed:
        # About their mean, so that little is lost where rounding errors grow.
        visible = values[self._near & (self._weight > 0)]
        middle = np.float32(visible.mean()) if visible.size else np.float32(0)
        given = values - middle
        surfaces = [self._spread(level.solve(given[self._near])) for level in self._levels]
        noises = [
            self._measure_noise(given, surface, level.smoothness)
            for surface, level in zip(surfaces, self._levels, strict=True)
        ]
        scores = [np.log(noise) + part for noise, part in zip(noises, self._parts, strict=True)]
        best = np.argmin(np.stack(scores), axis=0)
        return self._select(best, surfaces, noises, middle)

    def _measure_noise(self, given: Floats, surface: Floats, smoothness: float) -> Floats:
        """Return the minimum per visible sample, around each sample."""
        bend = cv2.filter2D(surface, -1, _KERNEL) ** 2 + np.float32(TENSION) * _measure_slope(surface)
        cost = self._weight * (given - surface) ** 2 + np.float32(smoothness) * self._inside * bend
        return self._seen.average(cost * self._near) + np.float32(_MIN_NOISE)

    def _select(self, best: Any, surfaces: list[Floats], noises: list[Floats], middle: np.float32) -> Smoothed:
        """Return the mean of the ``best`` surface and the next smoother one."""
        after = np.minimum(best + 1, len(surfaces) - 1)
        half = np.float32(0.5)
        value = half * (_pick(surfaces, best) + _pick(surfaces, after)) + middle
        noise = _pick(noises, best)
        diagonal = _pick([self._spread(level.diagonal) for level in self._levels], best)
        smoothness = np.asarray(_SMOOTHNESS, np.float32)[best]
        return Smoothed(np.where(self._near, value, np.float32(0)), noise * diagonal, noise, smoothness)

    def _refine(self, values: Floats) -> Smoothed:
        """Refine the surface at half the resolution by steps of Jacobi's method at full resolution."""
        assert self._coarse is not None
        coarse = self._coarse.smooth(_average_weighted(values, self._weight))
        value, variance, noise, smoothness = (
            _upscale(values_of, values.shape)
            for values_of in (coarse.value, coarse.variance, coarse.noise, coarse.smoothness)
        )
        # A step at half the resolution is twice as long: its bending is four times as large, on a quarter of samples.
        bending = 4 * smoothness
        steps = self._weight + bending * np.float32(20 + 4 * TENSION)
        value = np.where(self._near, value, values)
        for _ in range(_SWEEPS):
            flat = cv2.filter2D(value, -1, _KERNEL)
            force = cv2.filter2D(flat, -1, _KERNEL) - np.float32(TENSION) * flat
            change = (self._weight * (values - value) - bending * force) / steps
            value += np.float32(0.6) * np.where(self._near, change, np.float32(0))
        own = np.divide(noise, self._weight, out=np.full_like(noise, np.inf), where=self._weight > 0)
        bounded = np.minimum(variance * 4, own)
        return Smoothed(np.where(self._near, value, np.float32(0)), bounded * self._near, noise, bending)


class _Level:
    """The factorized equations for one r, and the diagonal of their inverse."""

    def __init__(self, stiffness: Any, weight: Any, smoothness: float, columns: Any) -> None:
        self.smoothness = smoothness
        self._weight = weight
        system = (sparse.diags(weight) + smoothness * stiffness).tocsc()
        self._factors = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        # Probed with random signs: samples of one column lie so far apart that they hardly matter to each other.
        total = np.zeros(weight.size)
        signs = np.random.default_rng(0).choice([-1.0, 1.0], weight.size)
        for column in range(_SPACING**2):
            probe = np.where(columns == column, signs, 0.0)
            total += probe * self._factors.solve(probe)
        self.diagonal = np.maximum(total, 1e-9).astype(np.float32)

    def solve(self, values: Floats) -> Any:
        """Return the surface through ``values`` of the samples near the hole."""
        return self._factors.solve(self._weight * values)


class _Mean:
    """The mean over the samples ``seen`` around each sample, with a small share of all others."""

    def __init__(self, seen: Mask) -> None:
        self._count = self._sum(seen.astype(np.float32)) + np.float32(1e-6)

    def average(self, values: Floats) -> Floats:
        """Return the mean of ``values``: summed over all samples, divided by the visible ones."""
        return np.asarray(self._sum(values) / self._count)

    def _sum(self, values: Floats) -> Floats:
        near = cv2.blur(values, (_WINDOW_PX, _WINDOW_PX), borderType=cv2.BORDER_CONSTANT)
        return np.asarray(near + np.float32(_GLOBAL_WEIGHT * values.mean(dtype=np.float64)), np.float32)


def _grow(mask: Mask) -> Mask:
    size = 2 * _RIM_PX + 1
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8)) > 0)


def _assign_columns(near: Mask) -> Any:
    """Return the probe column of each sample in ``near``."""
    down, across = np.nonzero(near)
    return down % _SPACING * _SPACING + across % _SPACING


def _measure_slope(values: Floats) -> Floats:
    total = np.zeros_like(values)
    total[:, 1:] += (values[:, 1:] - values[:, :-1]) ** 2
    total[1:] += (values[1:] - values[:-1]) ** 2
    return total


def _pick(pages: list[Floats], which: Any) -> Floats:
    return np.asarray(np.take_along_axis(np.stack(pages), which[None], axis=0)[0])


def _average_weighted(values: Floats, weight: Floats) -> Floats:
    """Return the weighted mean of blocks of 2 x 2 samples; 0 if all weights are 0."""
    whole = downscale(weight)
    return np.divide(downscale(weight * values), whole, out=np.zeros_like(whole), where=whole > 0)


def _upscale(values: Floats, size: tuple[int, ...]) -> Floats:
    large = cv2.resize(values, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    return np.asarray(large[: size[0], : size[1]])
