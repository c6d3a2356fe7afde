"""What most likely lies beneath, given noisy samples around a hole and in it: smoothed by as much as they ask for.

Samples y with noise of variance n / w (w is 0 where nothing is seen) are taken to be those of a thin plate under
tension (Smith and Wessel, Geophysics 55, 1990), whose bending has the variance n / r: the likeliest x minimises
sum of w (x - y)^2 + r (|L x|^2 + tension |D x|^2), with the differences D of neighbours and the discrete Laplacian L.
The variance of its error is n diag(A^-1), where A x = w y are the equations of that minimum.

How smooth a picture is, and how noisy, differs from place to place. So the equations are solved for several r, and each
sample takes the r of the greatest evidence around it (the probability of y; MacKay, Neural Computation 4, 1992): up to
a constant, -2 log p = N log n + log det A - M log r, of N samples seen and M in all, with n the minimum divided by N.
As d log det A / d log r = M - sum of h, with h = w diag(A^-1), each sample has its own part of it.

The equations are the same for every frame with the same hole: they are factorised once. Large holes are solved at half
the resolution, down to a bounded number of unknowns, and refined step by step.
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
from tasks.overlays.removal.surroundings import TENSION, halved, laplacian

# The r that are tried. Noise by compression is not white, which makes pictures look rougher than they are: the
# result lies between the best of these and the next.
_SMOOTHNESS = tuple(0.0005 * 20.0**step for step in range(5))
# Samples around the hole that are smoothed with it.
_RIM = 5
# The window in which the evidence is summed, and the weight of the whole against it.
_AROUND = 31
_EVERYWHERE = 1e-3
# The most unknowns that are solved for directly: a kilobyte and a half each, for each r.
MOST_UNKNOWNS = 25_000
_SWEEPS = 6
# Every so many samples, in both directions, share a column when diagonals are probed.
_SPACING = 5
# Noise is at least this, in 8-bit codes squared.
_LEAST_NOISE = 0.003
_KERNEL = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32)


@dataclass(frozen=True)
class Smoothed:
    """float32, height x width each.

    value       of the samples around and in the hole; 0 elsewhere
    variance    of its error, in the square of the value's unit; 0 elsewhere
    noise       variance of the error of a sample with weight 1, everywhere
    smoothness  the r that was chosen there
    """

    value: Floats
    variance: Floats
    noise: Floats
    smoothness: Floats


class Smoother:
    """Smooths the samples in and around ``mask``, bool, height x width, which weigh ``weight``, float32, of the same
    size: 1 for a sample with ordinary noise, less with more, 0 where nothing is known."""

    def __init__(self, mask: Mask, weight: Floats) -> None:
        self._near = _grown(mask)
        self._weight = weight
        self._coarse: Smoother | None = None
        self._levels: list[_Level] = []
        if int(self._near.sum()) > MOST_UNKNOWNS:
            self._coarse = Smoother(halved(mask.astype(np.float32)) > 0, 4 * halved(weight))
        else:
            self._prepare()

    def smooth(self, values: Floats) -> Smoothed:
        """The likeliest surface through ``values``, float32, height x width, in 8-bit codes."""
        return self._refined(values) if self._coarse else self._solved(values)

    def _prepare(self) -> None:
        near = self._near
        self._inside = cv2.erode(near.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
        own = self._weight[near].astype(np.float64)
        bend = laplacian(near)
        stiffness = bend.T @ bend + TENSION * bend
        columns = _columns(near)
        self._levels = [_Level(stiffness, own, r, columns) for r in _SMOOTHNESS]
        self._seen = _Mean(near & (self._weight > 0))
        # The integral of -h over log r, by the trapezoidal rule.
        parts, total = [np.zeros(own.size)], np.zeros(own.size)
        for one, other in zip(self._levels, self._levels[1:], strict=False):
            shares = [np.clip(own * level.diagonal, 0, 1) for level in (one, other)]
            total = total - (shares[0] + shares[1]) / 2 * math.log(other.smoothness / one.smoothness)
            parts.append(total)
        self._parts = [self._seen.of(self._spread(part)) for part in parts]

    def _spread(self, own: Any) -> Floats:
        """``own``, a value for each sample near the mask, as a picture."""
        page = np.zeros(self._near.shape, np.float32)
        page[self._near] = own
        return page

    def _solved(self, values: Floats) -> Smoothed:
        # About their mean, so that little is lost where rounding errors grow.
        known = values[self._near & (self._weight > 0)]
        middle = np.float32(known.mean()) if known.size else np.float32(0)
        given = values - middle
        found = [self._spread(level.solve(given[self._near])) for level in self._levels]
        noises = [self._noise(given, one, level.smoothness) for one, level in zip(found, self._levels, strict=True)]
        scores = [np.log(noise) + part for noise, part in zip(noises, self._parts, strict=True)]
        best = np.argmin(np.stack(scores), axis=0)
        return self._chosen(best, found, noises, middle)

    def _noise(self, given: Floats, found: Floats, smoothness: float) -> Floats:
        """The minimum that was found, a sample seen, around each sample."""
        bend = cv2.filter2D(found, -1, _KERNEL) ** 2 + np.float32(TENSION) * _slope(found)
        cost = self._weight * (given - found) ** 2 + np.float32(smoothness) * self._inside * bend
        return self._seen.of(cost * self._near) + np.float32(_LEAST_NOISE)

    def _chosen(self, best: Any, found: list[Floats], noises: list[Floats], middle: np.float32) -> Smoothed:
        """Half way from the ``best`` to the next smoother one."""
        after = np.minimum(best + 1, len(found) - 1)
        half = np.float32(0.5)
        value = half * (_picked(found, best) + _picked(found, after)) + middle
        noise = _picked(noises, best)
        diagonal = _picked([self._spread(level.diagonal) for level in self._levels], best)
        smoothness = np.asarray(_SMOOTHNESS, np.float32)[best]
        return Smoothed(np.where(self._near, value, np.float32(0)), noise * diagonal, noise, smoothness)

    def _refined(self, values: Floats) -> Smoothed:
        """The surface at half the resolution, and then what steps of Jacobi's method make of it at the full one."""
        assert self._coarse is not None
        coarse = self._coarse.smooth(_weighted(values, self._weight))
        value, variance, noise, smoothness = (
            _doubled(one, values.shape) for one in (coarse.value, coarse.variance, coarse.noise, coarse.smoothness)
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
        least = np.minimum(variance * 4, own)
        return Smoothed(np.where(self._near, value, np.float32(0)), least * self._near, noise, bending)


class _Level:
    """The equations for one r, factorised, and the diagonal of their inverse."""

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
        """The surface through ``values`` of the samples near the hole."""
        return self._factors.solve(self._weight * values)


class _Mean:
    """The mean over the samples ``seen`` around each sample, and a little of all others."""

    def __init__(self, seen: Mask) -> None:
        self._count = self._sum(seen.astype(np.float32)) + np.float32(1e-6)

    def of(self, values: Floats) -> Floats:
        """Of ``values``, which are summed over all samples and shared among those that are seen."""
        return np.asarray(self._sum(values) / self._count)

    def _sum(self, values: Floats) -> Floats:
        near = cv2.blur(values, (_AROUND, _AROUND), borderType=cv2.BORDER_CONSTANT)
        return np.asarray(near + np.float32(_EVERYWHERE * values.mean(dtype=np.float64)), np.float32)


def _grown(mask: Mask) -> Mask:
    size = 2 * _RIM + 1
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8)) > 0)


def _columns(near: Mask) -> Any:
    """For each sample of ``near``, with which others it is probed."""
    down, across = np.nonzero(near)
    return down % _SPACING * _SPACING + across % _SPACING


def _slope(values: Floats) -> Floats:
    total = np.zeros_like(values)
    total[:, 1:] += (values[:, 1:] - values[:, :-1]) ** 2
    total[1:] += (values[1:] - values[:-1]) ** 2
    return total


def _picked(pages: list[Floats], which: Any) -> Floats:
    return np.asarray(np.take_along_axis(np.stack(pages), which[None], axis=0)[0])


def _weighted(values: Floats, weight: Floats) -> Floats:
    """The mean of two by two samples, weighted; 0 where none weighs anything."""
    whole = halved(weight)
    return np.divide(halved(weight * values), whole, out=np.zeros_like(whole), where=whole > 0)


def _doubled(values: Floats, size: tuple[int, ...]) -> Floats:
    large = cv2.resize(values, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    return np.asarray(large[: size[0], : size[1]])
