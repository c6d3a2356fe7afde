"""What a frame alone says of what lies beneath its overlays, and how far that may be off.

Every sample gets a value and the variance of its error, in codes squared: as it is where nothing lies; elsewhere what
is the likeliest (smoothing.py), given the surroundings and, where the overlay lets something through, the blending
inverted, I = W + (J - W) / (1 - alpha), with the noise of J and of alpha grown by that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.media.segments.planes import Plane
from tasks.overlays.overlay import Floats, Mask
from tasks.overlays.removal.smoothing import Smoother
from tasks.overlays.removal.veil import Veil

# By how much the noise of what is seen through an overlay is above that of its surroundings, before the gain of the
# inverted blending: at least, whatever is said of the errors of its opacity and colour.
_DOUBT = 2.0
# Compression errs in neighbouring samples together, which the smoothing does not know.
_TOGETHER = 2.0
# The least variance of a sample that nothing covers, in 8-bit codes squared: that of motion by parts of a sample.
_LEAST = 0.25
# Of frames that nothing covers, in which it is not measured.
_PLAIN = 1.0


@dataclass(frozen=True)
class Prior:
    """One component of a region in one frame.

    value     float32, height x width, in codes
    variance  float32, height x width, in codes squared
    seen      bool: whether most of ``value`` was seen through the overlay
    """

    value: Floats
    variance: Floats
    seen: Mask


def weights(veil: Veil) -> Floats:
    """How much a sample says of what lies beneath: 1 outside the mask, 0 where it is hidden."""
    doubt = np.maximum(_DOUBT, 1 + veil.doubt)
    weight = np.where(veil.mask, 1 / (doubt * _gain(veil) ** 2), np.float32(1)).astype(np.float32)
    weight[veil.mask & ~veil.is_seen_through] = 0
    return weight


class PriorMaker:
    """Makes the priors of the frames over which ``veil`` lies; ``unit`` is one 8-bit code in codes of the source.

    ``smoother`` is that of the veil's mask, with its ``weights`` or nearly so.
    """

    def __init__(self, veil: Veil, smoother: Smoother, unit: float) -> None:
        self._veil = veil
        self._unit = np.float32(unit)
        self._through = veil.is_seen_through
        self._gain = _gain(veil)
        self._weight = weights(veil)
        self._smoother = smoother

    @property
    def hidden(self) -> Mask:
        """Samples of which nothing is seen: bool, height x width."""
        return np.asarray(self._veil.mask & ~self._through)

    def prior(self, plane: Plane) -> Prior:
        """What ``plane``, height x width in codes, says."""
        mask = self._veil.mask
        value = plane.astype(np.float32)
        if not mask.any():
            return Prior(value, np.full_like(value, _PLAIN * self._unit**2), np.zeros_like(mask))
        value[self._through] = self._unblended(value)
        found = self._smoother.smooth(value / self._unit)
        variance = np.where(mask, _TOGETHER * found.variance, np.float32(0)) + np.maximum(found.noise, _LEAST)
        seen = mask & (self._weight * found.variance > found.noise / 2)
        filled = np.where(mask, found.value * self._unit, value)
        return Prior(filled, (variance * self._unit**2).astype(np.float32), seen)

    def _unblended(self, plane: Floats) -> Floats:
        at = self._through
        color = self._veil.color[at]
        return np.asarray(color + (plane[at] - color) * self._gain[at])


def _gain(veil: Veil) -> Floats:
    """By how much inverting the blending enlarges noise: 1 / (1 - alpha), and 1 where it cannot be."""
    gain = np.ones(veil.mask.shape, np.float32)
    through = veil.is_seen_through
    gain[through] = 1 / (1 - veil.alpha[through])
    return gain
