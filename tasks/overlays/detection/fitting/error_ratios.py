"""How far what is fitted under an overlay may be off: measured beside it, where the picture is known.

There the same region is filled in over a picture that nothing covers, and fitted in the same way: opacities and mean
effects are 0 there, and whatever comes out instead is the error. That counts in how far errors are alike from frame to
frame: of a scene that stands still, a hundred frames say no more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tasks.overlays.overlay import Floats, Mask

# Where nothing can be measured: about what is usual.
_UNKNOWN = 3.0
# Errors are never taken to be much smaller than foretold: places beside may happen to be flat.
_LEAST = 0.05
_LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_LEAST_SPREAD = 1e-3
# The median of the square of what is distributed normally, by its variance: a few errors are far larger than most.
_MEDIAN_OF_SQUARES = 0.455
# What smoothing takes noise for at least.
_LEAST_NOISE = 0.003


@dataclass(frozen=True)
class Beside:
    """A place that nothing covers.

    true      float32, components x frames x N, in 8-bit codes
    guessed   the same: what is filled in
    foretold  float32, frames x N: the variance that was foretold of the first component
    """

    true: Floats
    guessed: Floats
    foretold: Floats


@dataclass(frozen=True)
class Trust:
    """By what the variances of errors are larger than if every sample of every frame erred for itself, as foretold.

    slope   of opacities, if the picture beneath were seen as it is: less of it is, the denser the overlay
    means   float32, components: of mean effects
    single  of what is filled in, in the first component
    """

    slope: float
    means: Floats
    single: float


def trust_of(places: Sequence[Beside], shares: Floats, components: int) -> Trust:
    """What is seen at ``places``, if any; ``shares``, frames: by how much each counts."""
    if not places:
        return Trust(_UNKNOWN, np.full(components, _UNKNOWN, np.float32), 1.0)
    slopes, means, single = [], [], []
    for one in places:
        weights, errors = shares[:, None] / one.foretold, one.true - one.guessed
        count = weights.sum(axis=0)
        away = one.guessed[0] - (weights * one.guessed[0]).sum(axis=0) / count
        spread = np.maximum((weights * away * away).sum(axis=0), _LEAST_SPREAD)
        slopes.append((weights * errors[0] * away).sum(axis=0) ** 2 / spread)
        means.append((weights * errors).sum(axis=1) ** 2 / count)
        single.append(np.ravel(errors[0] ** 2 / one.foretold))
    usual = np.median(np.hstack(means), axis=1) / _MEDIAN_OF_SQUARES
    slope, alone = (float(np.median(np.hstack(each))) / _MEDIAN_OF_SQUARES for each in (slopes, single))
    return Trust(max(_LEAST, slope), np.maximum(usual, _LEAST).astype(np.float32), max(_LEAST, alone))


def noise_of(frames: Floats, known: Mask) -> float:
    """The variance of the noise in pictures, frames x height x width, at pixels ``known``, in their unit squared.

    Out of the discrete Laplacian, which takes away what is smooth; the median, since edges are few
    (after Immerkaer, Computer Vision and Image Understanding 64, 1996).
    """
    if not known.any():
        return 1.0
    squares = [np.median(cv2.filter2D(frame, cv2.CV_32F, _LAPLACIAN)[known] ** 2) for frame in frames]
    return max(_LEAST_NOISE, float(np.median(squares)) / _MEDIAN_OF_SQUARES / float((_LAPLACIAN**2).sum()))
