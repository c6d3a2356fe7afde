"""The opacity and colour of each pixel of an overlay, and how strong it is in each frame, by weighted least squares.

A sample is J = I + k (c - a I): a is the opacity of its pixel, c = a W, and k how strong the overlay is in that frame,
which is less than usual while it fades. I is not seen; what is estimated of it out of its surroundings errs by more the
farther it is from them and the more they vary, so dark and even frames count most. Given k, a and c follow for each
pixel from all frames, given a and c, k follows for each frame from all pixels: the two are solved in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from tasks.overlays.overlay import Floats, Mask

_TURNS = 12
# How far what surrounds a region is looked at, in pixels.
_AROUND_PX = 12
# Variance of a code, and of the estimate for each squared pixel of depth and squared code of gradient.
_NOISE, _DOUBT = 1.0, 0.5
# How far opacities stray from what is expected of them: a standard deviation.
STRAY = 0.25
# Neighbouring pixels err alike: so many count as one.
_ALIKE_PX = 60
# With a larger standard error, a frame does not tell how strong the overlay is.
_STRAY_STRENGTH = 0.2
# By so many standard errors a frame's strength is another than the usual.
_SURE = 3.0
_MOST_STRENGTH = 1.3
# Of an overlay that does not fade: stronger than this, it is there; where it is gone, it is not quite nothing.
_THERE, _GONE = 0.4, 1e-3
# It fades where that leaves so much less unexplained, at this share of its pixels.
_MUCH_LESS, _CORE = 0.5, 0.7
# Weaker than this, a frame tells nothing of the overlay.
_LEAST_STRENGTH = 0.3


@dataclass(frozen=True)
class Blending:
    """What lies over N pixels.

    alpha     float32, N: opacity, 0 to 1
    whole     float32, components x N: opacity times colour, in 8-bit codes
    strength  float32, frames: 1 where it is as strong as usual
    effect    float32, N: root mean square over frames of what it changes, in 8-bit codes of the first component
    fades     whether ``strength`` has more values than there and not there
    error     standard error of the opacity of the usual pixel
    spreads   float32, N: the inverse of the variance that is foretold of the opacity, as far as frames tell it
    counts    float32, N: the inverse of that of its mean effect, in 8-bit codes squared
    """

    alpha: Floats
    whole: Floats
    strength: Floats
    effect: Floats
    fades: bool
    error: float
    spreads: Floats
    counts: Floats


def doubts(frames: Floats, region: Mask) -> Floats:
    """The variance of each pixel of ``region``, filled in: frames x N, in squared 8-bit codes.

    ``frames`` is frames x height x width.
    """
    depth = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 5)
    known = cv2.erode((~region).astype(np.float32), np.ones((3, 3)))
    size = (2 * _AROUND_PX + 1,) * 2
    count = np.maximum(cv2.blur(known, size)[region], 1e-2)
    found = np.empty((len(frames), int(region.sum())), np.float32)
    for number, frame in enumerate(frames):
        across, down = cv2.Sobel(frame, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(frame, cv2.CV_32F, 0, 1, scale=1 / 8)
        varies = cv2.blur((across * across + down * down) * known, size)[region] / count
        found[number] = _NOISE + _DOUBT * varies * depth[region] ** 2
    return found


def solve(seen: Floats, beneath: Floats, doubt: Floats, shares: Floats, expected: Floats, strength: Floats) -> Blending:
    """What explains best how ``seen`` differs from ``beneath``: components x frames x N, in 8-bit codes.

    doubt      frames x N: variance of ``beneath``
    shares     frames: by how much each counts
    expected   N: opacities, as far as other evidence goes
    strength   frames: where to start from
    """
    there = np.where(strength > _THERE, 1, _GONE).astype(np.float32)
    steady = _solved(seen, beneath, shares[:, None] / doubt, expected, there)
    fading = _solved(seen, beneath, shares[:, None] / doubt, expected, _faded(seen, beneath, doubt, shares, expected))
    left = [_left(seen[0] - beneath[0], beneath[0], shares[:, None] / doubt, one) for one in (steady, fading)]
    return replace(fading, fades=True) if left[1] < _MUCH_LESS * left[0] else steady


def _faded(seen: Floats, beneath: Floats, doubt: Floats, shares: Floats, expected: Floats) -> Floats:
    """The strength of each frame, if they may be anything."""
    strength = np.ones(len(shares), np.float32)
    for _ in range(_TURNS):
        alpha, whole, _ = _pixels(seen[0], beneath[0], shares[:, None] / doubt, strength, expected)
        strength = _strengths(seen[0] - beneath[0], whole - alpha * beneath[0], doubt)
    return strength


def _solved(seen: Floats, beneath: Floats, weights: Floats, expected: Floats, strength: Floats) -> Blending:
    """Opacities and colours for these strengths."""
    alpha, _, error = _pixels(seen[0], beneath[0], weights, strength, expected)
    alpha = np.clip(alpha, 0, 1).astype(np.float32)
    wholes = np.stack([_whole(j, i, weights, strength, alpha) for j, i in zip(seen, beneath, strict=True)])
    due = wholes[0] - alpha * beneath[0]
    effect = np.sqrt((due * due).mean(axis=0))
    usual = float(np.median(error[effect >= np.quantile(effect, _CORE)]))
    spreads = np.asarray(1 / error**2 - 1 / STRAY**2, np.float32)
    counts = np.asarray((weights * strength[:, None] ** 2).sum(axis=0), np.float32)
    return Blending(alpha, wholes, strength, np.asarray(effect, np.float32), False, usual, spreads, counts)


def _left(difference: Floats, beneath: Floats, weights: Floats, found: Blending) -> float:
    """What is left unexplained at the pixels that change most."""
    core = found.effect >= np.quantile(found.effect, _CORE)
    due = found.strength[:, None] * (found.whole[0] - found.alpha * beneath)
    return float((weights * (difference - due) ** 2)[:, core].sum())


def _pixels(
    seen: Floats, beneath: Floats, weights: Floats, strength: Floats, expected: Floats
) -> tuple[Floats, Floats, Floats]:
    """Opacity, opacity times colour, and the standard error of the opacity, of each pixel."""
    k = strength[:, None]
    count, across = (weights * k * k).sum(axis=0), (weights * k * k * beneath).sum(axis=0)
    differs = (weights * k * (seen - beneath)).sum(axis=0)
    away = beneath - across / count
    spread = (weights * k * k * away * away).sum(axis=0)
    slope = -(weights * k * (seen - beneath) * away).sum(axis=0)
    alpha = (slope + expected / STRAY**2) / (spread + 1 / STRAY**2)
    error = np.sqrt(1 / (spread + 1 / STRAY**2))
    return np.asarray(alpha, np.float32), np.asarray((differs + alpha * across) / count, np.float32), error


def _whole(seen: Floats, beneath: Floats, weights: Floats, strength: Floats, alpha: Floats) -> Floats:
    """Opacity times colour of each pixel, in one component."""
    k = strength[:, None]
    differs = (weights * k * (seen - beneath + k * alpha * beneath)).sum(axis=0)
    return np.asarray(differs / (weights * k * k).sum(axis=0), np.float32)


def _strengths(difference: Floats, due: Floats, doubt: Floats) -> Floats:
    """How strong the overlay is in each frame; the usual frame has 1."""
    strength, error = _measured(difference, due, doubt)
    sure = error < _STRAY_STRENGTH
    there = strength[sure & (strength > _LEAST_STRENGTH)]
    strength = strength / np.float32(np.median(there) if len(there) else 1)
    return _strengths_as_usual(strength, error)


def _measured(difference: Floats, due: Floats, doubt: Floats) -> tuple[Floats, Floats]:
    """The strength of each frame, and its standard error."""
    product, square = (difference * due / doubt).sum(axis=-1), (due * due / doubt).sum(axis=-1)
    square = np.maximum(square, 1e-3)
    return np.asarray(product / square, np.float32), np.sqrt(_ALIKE_PX / square).astype(np.float32)


def strength_in(difference: Floats, due: Floats, doubt: Floats) -> float:
    """How strong an overlay that should change a frame by ``due`` is, of ``difference``: all N, of one frame."""
    return float(_strengths_as_usual(*_measured(difference[None], due[None], doubt[None]))[0])


def _strengths_as_usual(strength: Floats, error: Floats) -> Floats:
    """1 for frames that do not tell, or in which it may well be 1."""
    usual = (error > _STRAY_STRENGTH) | (np.abs(strength - 1) < _SURE * error)
    return np.where(usual, 1, np.clip(strength, 1e-3, _MOST_STRENGTH)).astype(np.float32)
