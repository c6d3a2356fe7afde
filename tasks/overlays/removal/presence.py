"""Whether an overlay lies over a frame at all: ranges are found from a few frames, and fades are short.

A sample is J = I + alpha (W - I): beside what I changes by itself, J changes as alpha (W - I) does. The share of that
in what is seen is found by least squares, with the surroundings for I.
"""

from __future__ import annotations

import cv2
import numpy as np

from tasks.media.segments.planes import Plane
from tasks.overlays.overlay import Floats
from tasks.overlays.removal.veil import Veil

_AROUND = 31
# It is not there if it explains less than this of what is due, by so many standard errors.
_LEAST_SHARE, _ERRORS = 0.5, 4.0


class Presence:
    """Looks for ``veil``, that of the first component, in frames."""

    def __init__(self, veil: Veil) -> None:
        self._veil = veil
        self._outside = (~veil.mask).astype(np.float32)
        self._weight = cv2.blur(self._outside, (_AROUND, _AROUND))
        known = np.asarray(veil.is_seen_through | ~veil.mask)
        self._alpha = np.where(known, veil.alpha, np.float32(0)).astype(np.float32)
        changes = (np.abs(_changes(self._alpha)) + np.abs(_changes(self._alpha * veil.color))).sum(axis=0) > 0
        both = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        self._edges = changes & both & (veil.mask > 0) & (self._weight > 1e-3)

    def is_absent(self, plane: Plane) -> bool:
        """Whether the edges of the overlay are surely not in ``plane``, height x width in codes."""
        if not self._edges.any():
            return False
        given = plane.astype(np.float32)
        beneath = cv2.blur(given * self._outside, (_AROUND, _AROUND)) / np.maximum(self._weight, np.float32(1e-3))
        due = _changes(np.asarray(self._alpha * (self._veil.color - beneath), np.float32))[:, self._edges]
        seen = _changes(given)[:, self._edges]
        power = float((due**2).sum()) + 1e-6
        share = float((due * seen).sum()) / power
        error = float(np.sqrt(np.mean((seen - share * due) ** 2) / power))
        return share + _ERRORS * error < _LEAST_SHARE


def _changes(values: Floats) -> Floats:
    """Half the differences of the neighbours right and left, and below and above: 2 x height x width."""
    across = cv2.filter2D(values, -1, np.array([[-0.5, 0, 0.5]], np.float32))
    down = cv2.filter2D(values, -1, np.array([[-0.5], [0], [0.5]], np.float32))
    return np.stack([across, down])
