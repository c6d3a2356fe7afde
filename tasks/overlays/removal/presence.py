"""Checks whether an overlay is visible in a frame: ranges are derived from few frames, and fades are short.

A sample is J = I + alpha (W - I): J changes with alpha (W - I), in addition to the changes of I. Least squares gives
the share of these changes in the frame, with the surroundings for I.
"""

from __future__ import annotations

import cv2
import numpy as np

from tasks.media.segments.planes import Plane
from tasks.overlays.overlay import Floats
from tasks.overlays.removal.veil import Veil

_WINDOW_PX = 31
# It is absent if it explains less than this share of its changes, by this many standard errors.
_MIN_SHARE, _ERRORS = 0.5, 4.0


class Presence:
    """Searches frames for ``veil``, which is that of the first component."""

    def __init__(self, veil: Veil) -> None:
        self._veil = veil
        self._outside = (~veil.mask).astype(np.float32)
        self._weight = cv2.blur(self._outside, (_WINDOW_PX, _WINDOW_PX))
        visible = np.asarray(veil.is_seen_through | ~veil.mask)
        self._alpha = np.where(visible, veil.alpha, np.float32(0)).astype(np.float32)
        changes = (np.abs(_compute_gradients(self._alpha)) + np.abs(_compute_gradients(self._alpha * veil.color))).sum(
            axis=0
        ) > 0
        both = cv2.erode(visible.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        self._edges = changes & both & (veil.mask > 0) & (self._weight > 1e-3)

    def is_absent(self, plane: Plane) -> bool:
        """Return True if the edges of the overlay are certainly not in ``plane``, height x width in codes."""
        if not self._edges.any():
            return False
        given = plane.astype(np.float32)
        beneath = cv2.blur(given * self._outside, (_WINDOW_PX, _WINDOW_PX)) / np.maximum(self._weight, np.float32(1e-3))
        due = _compute_gradients(np.asarray(self._alpha * (self._veil.color - beneath), np.float32))[:, self._edges]
        seen = _compute_gradients(given)[:, self._edges]
        power = float((due**2).sum()) + 1e-6
        share = float((due * seen).sum()) / power
        error = float(np.sqrt(np.mean((seen - share * due) ** 2) / power))
        return share + _ERRORS * error < _MIN_SHARE


def _compute_gradients(values: Floats) -> Floats:
    """Return half the differences of horizontal and of vertical neighbors: 2 x height x width."""
    across = cv2.filter2D(values, -1, np.array([[-0.5, 0, 0.5]], np.float32))
    down = cv2.filter2D(values, -1, np.array([[-0.5], [0], [0.5]], np.float32))
    return np.stack([across, down])
