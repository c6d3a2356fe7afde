"""Estimates of the background from one frame, with error variances.

Every sample gets a value and its error variance, in squared codes: the sample itself outside overlays, elsewhere the
most probable value (smoothing.py). The inputs are the surroundings and, if the overlay is translucent, the inverted
blending, I = W + (J - W) / (1 - alpha), with correspondingly amplified noise of J and alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.media.segments.planes import Plane
from tasks.overlays.overlay import Floats, Mask
from tasks.overlays.removal.smoothing import Smoother
from tasks.overlays.removal.veil import Veil

# Minimum ratio of the noise seen through an overlay to that of its surroundings, before the gain of the inversion,
# whatever the stated errors of its opacity and color are.
_MIN_NOISE_RATIO = 2.0
# Compression errors of neighboring samples are correlated, which the smoothing ignores.
_CORRELATION = 2.0
# Minimum variance of an uncovered sample, in squared 8-bit codes: that of sub-sample motion.
_MIN_VARIANCE = 0.25
# Variance in frames without overlays, in which it is not measured.
_PLAIN_VARIANCE = 1.0


@dataclass(frozen=True)
class Prior:
    """The estimate for one component of a region in one frame.

    value     float32, height x width, in codes
    variance  float32, height x width, in squared codes
    seen      bool: most of ``value`` was visible through the overlay
    """

    value: Floats
    variance: Floats
    seen: Mask


def compute_weights(veil: Veil) -> Floats:
    """Return the weight of each sample as an estimate of the background: 1 outside the mask, 0 if it is hidden."""
    doubt = np.maximum(_MIN_NOISE_RATIO, 1 + veil.doubt)
    weight = np.where(veil.mask, 1 / (doubt * _compute_gain(veil) ** 2), np.float32(1)).astype(np.float32)
    weight[veil.mask & ~veil.is_seen_through] = 0
    return weight


class PriorMaker:
    """Makes the priors of frames with ``veil``; ``unit`` is one 8-bit code in codes of the source.

    ``smoother`` belongs to the veil's mask and has about its ``compute_weights``.
    """

    def __init__(self, veil: Veil, smoother: Smoother, unit: float) -> None:
        self._veil = veil
        self._unit = np.float32(unit)
        self._through = veil.is_seen_through
        self._gain = _compute_gain(veil)
        self._weight = compute_weights(veil)
        self._smoother = smoother

    @property
    def hidden(self) -> Mask:
        """Hidden samples: bool, height x width."""
        return np.asarray(self._veil.mask & ~self._through)

    def make_prior(self, plane: Plane) -> Prior:
        """Return the estimate from ``plane``, height x width in codes."""
        mask = self._veil.mask
        value = plane.astype(np.float32)
        if not mask.any():
            return Prior(value, np.full_like(value, _PLAIN_VARIANCE * self._unit**2), np.zeros_like(mask))
        value[self._through] = self._unblend(value)
        smoothed = self._smoother.smooth(value / self._unit)
        variance = np.where(mask, _CORRELATION * smoothed.variance, np.float32(0)) + np.maximum(
            smoothed.noise, _MIN_VARIANCE
        )
        seen = mask & (self._weight * smoothed.variance > smoothed.noise / 2)
        filled = np.where(mask, smoothed.value * self._unit, value)
        return Prior(filled, (variance * self._unit**2).astype(np.float32), seen)

    def _unblend(self, plane: Floats) -> Floats:
        at = self._through
        color = self._veil.color[at]
        return np.asarray(color + (plane[at] - color) * self._gain[at])


def _compute_gain(veil: Veil) -> Floats:
    """Return the amplification of noise by inverting the blending: 1 / (1 - alpha); 1 if it cannot be inverted."""
    gain = np.ones(veil.mask.shape, np.float32)
    through = veil.is_seen_through
    gain[through] = 1 / (1 - veil.alpha[through])
    return gain
