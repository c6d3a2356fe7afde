"""What a frame alone says of what lies beneath its overlays, and how far that may be off.

Every sample gets a value and the variance of its error, in codes squared: as it is where nothing lies; the blending
inverted, I = W + (J - W) / (1 - alpha), where the overlay lets something through, with the noise of J and of alpha
grown by that; the filling from the surroundings everywhere else, which is the worse the farther what is known lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tasks.media.segments.planes import Plane
from tasks.overlays.overlay import Floats, Mask
from tasks.overlays.removal.surroundings import Surroundings
from tasks.overlays.removal.veil import Veil

# Variance of a sample by rounding and compression, in 8-bit codes squared.
NOISE = 1.5
# Standard deviation of an opacity as detectors give it.
_ALPHA_ERROR = 0.015
# Standard deviation of an overlay's own colour as detectors give it, in 8-bit codes.
_COLOR_ERROR = 1.0
# The variance of a filling a sample away from what is known, as a multiple of the mean squared step between
# neighbours around it.
_GROWTH = 0.7
_AROUND = 31


@dataclass(frozen=True)
class Prior:
    """One component of a region in one frame.

    value     float32, height x width, in codes
    variance  float32, height x width, in codes squared
    seen      float32: the part of ``value`` under the mask that was seen through the overlay, 0 to 1
    """

    value: Floats
    variance: Floats
    seen: Floats


class PriorMaker:
    """Makes the priors of the frames over which ``veil`` lies; ``unit`` is one 8-bit code in codes of the source."""

    def __init__(self, veil: Veil, unit: float) -> None:
        self._veil = veil
        self._unit = unit
        self._through = veil.is_seen_through
        self._filling = Surroundings(veil.mask)
        self._outside = (~veil.mask).astype(np.float32)
        self._distance = cv2.distanceTransform(veil.mask.astype(np.uint8), cv2.DIST_L2, 3)
        self._gain = (1 / (1 - veil.alpha[self._through])).astype(np.float32)
        self._weight = cv2.blur(self._outside, (_AROUND, _AROUND)) + np.float32(1e-3)

    @property
    def hidden(self) -> Mask:
        """Samples of which nothing is seen: bool, height x width."""
        return np.asarray(self._veil.mask & ~self._through)

    def prior(self, plane: Plane) -> Prior:
        """What ``plane``, height x width in codes, says."""
        value = plane.astype(np.float32)
        noise = np.float32(NOISE * self._unit**2)
        mask = self._veil.mask
        if not mask.any():
            return Prior(value, np.full_like(value, noise), np.zeros_like(value))
        filled = self._filling.fill(value)
        variance = noise + np.where(mask, _GROWTH * self._distance * self._roughness(value), np.float32(0))
        seen = np.zeros_like(value)
        self._look_through(value, filled, variance, seen)
        return Prior(filled, variance.astype(np.float32), seen)

    def _look_through(self, plane: Floats, value: Floats, variance: Floats, seen: Floats) -> None:
        """Bring what is seen through the overlay into ``value`` and ``variance``, weighted by how sure it is."""
        at = self._through
        color, own = self._veil.color[at], plane[at]
        contrast = (own - color) * self._gain
        likely = np.maximum(np.abs(contrast), np.abs(value[at] - color))
        noise = (NOISE + (_COLOR_ERROR * self._veil.alpha[at]) ** 2) * self._unit**2
        doubt = self._gain**2 * (noise + (_ALPHA_ERROR * likely) ** 2)
        share = variance[at] / (variance[at] + doubt)
        value[at] += share * (color + contrast - value[at])
        variance[at] = share * doubt
        seen[at] = share

    def _roughness(self, value: Floats) -> Floats:
        """The mean squared step between neighbours outside the mask, around each sample."""
        known = self._outside
        steps = np.zeros_like(value)
        steps[:, 1:] = (value[:, 1:] - value[:, :-1]) ** 2 * (known[:, 1:] * known[:, :-1])
        steps[1:] += (value[1:] - value[:-1]) ** 2 * (known[1:] * known[:-1])
        return np.asarray(cv2.blur(steps, (_AROUND, _AROUND)) / self._weight)
