"""Opacity and color per pixel, and strength per frame, by weighted least squares.

A sample is J = I + k (c - a I): a is the opacity of the pixel, c = a W its premultiplied color, and k the strength of
the overlay in that frame, which is below 1 while it fades. I is not visible. Its estimate from the surroundings is
worse the farther away they are and the more they vary, so dark and flat frames have the largest weights. Given k, the
fit of a and c is linear per pixel over all frames; given a and c, the fit of k is linear per frame over all pixels.
The two alternate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from tasks.overlays.overlay import Floats, Mask

_ITERATIONS = 12
# Radius of the surroundings of a region, in pixels.
_WINDOW_RADIUS_PX = 12
# Variance of a code, and of the estimate per squared pixel of depth and squared code of gradient.
_NOISE, _VARIANCE_PER_DEPTH = 1.0, 0.5
# Standard deviation of opacities around their prior.
OPACITY_DEVIATION = 0.25
# Errors of neighboring pixels are correlated: this many count as one.
_CORRELATED_PX = 60
# Frames with a larger standard error are uninformative.
_MAX_STRENGTH_ERROR = 0.2
# Minimum difference of a frame's strength from 1, in standard errors.
_SIGNIFICANT = 3.0
_MAX_STRENGTH = 1.3
# For overlays that do not fade: strength above which it is visible, and the strength of invisible frames.
_VISIBLE, _INVISIBLE = 0.4, 1e-3
# The overlay fades if that reduces the residuals to this ratio, at this share of its pixels.
_MAX_RESIDUAL_RATIO, _CORE_QUANTILE = 0.5, 0.7
# Frames with less strength are uninformative.
_MIN_STRENGTH = 0.3


@dataclass(frozen=True)
class Blending:
    """An overlay over N pixels.

    alpha             float32, N: opacity, 0 to 1
    premultiplied     float32, components x N: opacity times color, in 8-bit codes
    strength          float32, frames: 1 at the usual strength
    effect            float32, N: RMS change over frames, in 8-bit codes of the first component
    fades             ``strength`` has values between visible and invisible
    error             standard error of the opacity of the median pixel
    alpha_precision   float32, N: inverse of the predicted variance of the opacity, without the prior
    effect_precision  float32, N: inverse of the predicted variance of the mean effect, in squared 8-bit codes
    """

    alpha: Floats
    premultiplied: Floats
    strength: Floats
    effect: Floats
    fades: bool
    error: float
    alpha_precision: Floats
    effect_precision: Floats


def estimate_variance(frames: Floats, region: Mask) -> Floats:
    """Return the error variance of filling in ``region``: frames x N, in squared 8-bit codes.

    ``frames`` is frames x height x width.
    """
    depth = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.erode((~region).astype(np.float32), np.ones((3, 3)))
    size = (2 * _WINDOW_RADIUS_PX + 1,) * 2
    count = np.maximum(cv2.blur(outside, size)[region], 1e-2)
    variance = np.empty((len(frames), int(region.sum())), np.float32)
    for number, frame in enumerate(frames):
        across, down = cv2.Sobel(frame, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(frame, cv2.CV_32F, 0, 1, scale=1 / 8)
        varies = cv2.blur((across * across + down * down) * outside, size)[region] / count
        variance[number] = _NOISE + _VARIANCE_PER_DEPTH * varies * depth[region] ** 2
    return variance


def solve_blending(
    seen: Floats, beneath: Floats, variance: Floats, shares: Floats, expected: Floats, strength: Floats
) -> Blending:
    """Fit the difference of ``seen`` and ``beneath``: components x frames x N, in 8-bit codes.

    variance   frames x N: variance of ``beneath``
    shares     frames: weight of each frame
    expected   N: prior of the opacity
    strength   frames: initial strengths
    """
    there = np.where(strength > _VISIBLE, 1, _INVISIBLE).astype(np.float32)
    steady = _solve_pixels(seen, beneath, shares[:, None] / variance, expected, there)
    fading = _solve_pixels(
        seen, beneath, shares[:, None] / variance, expected, _solve_strengths(seen, beneath, variance, shares, expected)
    )
    residuals = [
        _sum_residuals(seen[0] - beneath[0], beneath[0], shares[:, None] / variance, blending)
        for blending in (steady, fading)
    ]
    return replace(fading, fades=True) if residuals[1] < _MAX_RESIDUAL_RATIO * residuals[0] else steady


def _solve_strengths(seen: Floats, beneath: Floats, variance: Floats, shares: Floats, expected: Floats) -> Floats:
    """Return the strength of each frame, without constraints."""
    strength = np.ones(len(shares), np.float32)
    for _ in range(_ITERATIONS):
        alpha, premultiplied, _ = _solve_opacity(seen[0], beneath[0], shares[:, None] / variance, strength, expected)
        strength = _estimate_strengths(seen[0] - beneath[0], premultiplied - alpha * beneath[0], variance)
    return strength


def _solve_pixels(seen: Floats, beneath: Floats, weights: Floats, expected: Floats, strength: Floats) -> Blending:
    """Fit opacities and colors at the given strengths."""
    alpha, _, error = _solve_opacity(seen[0], beneath[0], weights, strength, expected)
    alpha = np.clip(alpha, 0, 1).astype(np.float32)
    wholes = np.stack([_solve_color(j, i, weights, strength, alpha) for j, i in zip(seen, beneath, strict=True)])
    due = wholes[0] - alpha * beneath[0]
    effect = np.sqrt((due * due).mean(axis=0))
    usual = float(np.median(error[effect >= np.quantile(effect, _CORE_QUANTILE)]))
    alpha_precision = np.asarray(1 / error**2 - 1 / OPACITY_DEVIATION**2, np.float32)
    effect_precision = np.asarray((weights * strength[:, None] ** 2).sum(axis=0), np.float32)
    return Blending(
        alpha, wholes, strength, np.asarray(effect, np.float32), False, usual, alpha_precision, effect_precision
    )


def _sum_residuals(difference: Floats, beneath: Floats, weights: Floats, blending: Blending) -> float:
    """Return the weighted squared residuals at the pixels that change most."""
    core = blending.effect >= np.quantile(blending.effect, _CORE_QUANTILE)
    due = blending.strength[:, None] * (blending.premultiplied[0] - blending.alpha * beneath)
    return float((weights * (difference - due) ** 2)[:, core].sum())


def _solve_opacity(
    seen: Floats, beneath: Floats, weights: Floats, strength: Floats, expected: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return opacity, premultiplied color, and the standard error of the opacity of each pixel."""
    k = strength[:, None]
    count, across = (weights * k * k).sum(axis=0), (weights * k * k * beneath).sum(axis=0)
    differs = (weights * k * (seen - beneath)).sum(axis=0)
    away = beneath - across / count
    spread = (weights * k * k * away * away).sum(axis=0)
    slope = -(weights * k * (seen - beneath) * away).sum(axis=0)
    alpha = (slope + expected / OPACITY_DEVIATION**2) / (spread + 1 / OPACITY_DEVIATION**2)
    error = np.sqrt(1 / (spread + 1 / OPACITY_DEVIATION**2))
    return np.asarray(alpha, np.float32), np.asarray((differs + alpha * across) / count, np.float32), error


def _solve_color(seen: Floats, beneath: Floats, weights: Floats, strength: Floats, alpha: Floats) -> Floats:
    """Return the premultiplied color of each pixel in one component."""
    k = strength[:, None]
    differs = (weights * k * (seen - beneath + k * alpha * beneath)).sum(axis=0)
    return np.asarray(differs / (weights * k * k).sum(axis=0), np.float32)


def _estimate_strengths(difference: Floats, due: Floats, variance: Floats) -> Floats:
    """Return the strength of the overlay in each frame; the median visible frame has 1."""
    strength, error = _measure_strengths(difference, due, variance)
    sure = error < _MAX_STRENGTH_ERROR
    there = strength[sure & (strength > _MIN_STRENGTH)]
    strength = strength / np.float32(np.median(there) if len(there) else 1)
    return _round_to_one(strength, error)


def _measure_strengths(difference: Floats, due: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Return the strength of each frame and its standard error."""
    product, square = (difference * due / variance).sum(axis=-1), (due * due / variance).sum(axis=-1)
    square = np.maximum(square, 1e-3)
    return np.asarray(product / square, np.float32), np.sqrt(_CORRELATED_PX / square).astype(np.float32)


def estimate_strength(difference: Floats, due: Floats, variance: Floats) -> float:
    """Return the strength of an overlay in one frame; ``due`` is the change at strength 1. All have N values."""
    return float(_round_to_one(*_measure_strengths(difference[None], due[None], variance[None]))[0])


def _round_to_one(strength: Floats, error: Floats) -> Floats:
    """Set strengths to 1 if the frame is uninformative or does not differ significantly from 1."""
    usual = (error > _MAX_STRENGTH_ERROR) | (np.abs(strength - 1) < _SIGNIFICANT * error)
    return np.where(usual, 1, np.clip(strength, 1e-3, _MAX_STRENGTH)).astype(np.float32)
