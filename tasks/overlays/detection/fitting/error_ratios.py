"""Errors of fitting under an overlay, measured in its neighborhood, where the image is visible.

The same region is filled in and fitted without an overlay. Opacities and mean effects are 0 there, so any other
result is an error. The ratio includes the correlation of errors between frames: a hundred frames of a still scene
count as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tasks.overlays.overlay import Floats, Mask

# Ratio without references: a typical value.
_DEFAULT_RATIO = 3.0
# Lower bound of ratios: the references may happen to be flat.
_MIN_RATIO = 0.05
_LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_MIN_SPREAD = 1e-3
# Median of the square of a normal variable with variance 1; the median is robust against a few large errors.
_MEDIAN_OF_SQUARES = 0.455
# Lower bound that the smoothing assumes, too.
_MIN_NOISE = 0.003


@dataclass(frozen=True)
class Reference:
    """A place without overlays.

    true       float32, components x frames x N, in 8-bit codes
    estimated  float32, components x frames x N: filled in
    predicted  float32, frames x N: predicted error variance of the first component
    """

    true: Floats
    estimated: Floats
    predicted: Floats


@dataclass(frozen=True)
class ErrorRatios:
    """Ratios of observed to predicted error variances; 1 if errors are independent between frames and pixels.

    slope   of opacities, if the background were fully visible: under dense overlays it is less
    means   float32, components: of mean effects
    single  of filled-in samples, in the first component
    """

    slope: float
    means: Floats
    single: float


def measure_error_ratios(references: Sequence[Reference], shares: Floats, components: int) -> ErrorRatios:
    """Measure the ratios at ``references``; ``shares`` are the weights of frames. Return defaults if there are none."""
    if not references:
        return ErrorRatios(_DEFAULT_RATIO, np.full(components, _DEFAULT_RATIO, np.float32), 1.0)
    slopes, means, single = [], [], []
    for reference in references:
        weights, errors = shares[:, None] / reference.predicted, reference.true - reference.estimated
        count = weights.sum(axis=0)
        away = reference.estimated[0] - (weights * reference.estimated[0]).sum(axis=0) / count
        spread = np.maximum((weights * away * away).sum(axis=0), _MIN_SPREAD)
        slopes.append((weights * errors[0] * away).sum(axis=0) ** 2 / spread)
        means.append((weights * errors).sum(axis=1) ** 2 / count)
        single.append(np.ravel(errors[0] ** 2 / reference.predicted))
    usual = np.median(np.hstack(means), axis=1) / _MEDIAN_OF_SQUARES
    slope, alone = (float(np.median(np.hstack(each))) / _MEDIAN_OF_SQUARES for each in (slopes, single))
    return ErrorRatios(max(_MIN_RATIO, slope), np.maximum(usual, _MIN_RATIO).astype(np.float32), max(_MIN_RATIO, alone))


def estimate_noise(frames: Floats, outside: Mask) -> float:
    """Return the noise variance of ``frames`` (frames x height x width) at the pixels ``outside``, in squared units.

    The discrete Laplacian removes smooth content; the median ignores the few edges (after Immerkaer, Computer Vision
    and Image Understanding 64, 1996).
    """
    if not outside.any():
        return 1.0
    squares = [np.median(cv2.filter2D(frame, cv2.CV_32F, _LAPLACIAN)[outside] ** 2) for frame in frames]
    return max(_MIN_NOISE, float(np.median(squares)) / _MEDIAN_OF_SQUARES / float((_LAPLACIAN**2).sum()))
