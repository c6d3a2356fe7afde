"""Operations on masks: bool, height x width."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from tasks.overlays.overlay import Mask


def grow_mask(mask: Mask, by_px: int) -> Mask:
    """Return ``mask`` with all pixels at most ``by_px`` rows and columns away from it."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((2 * by_px + 1,) * 2, np.uint8)) > 0)


def fill_enclosed(edges: Mask) -> Mask:
    """Return ``edges`` with the areas that they enclose; gaps of one pixel are closed."""
    closed = cv2.morphologyEx(edges.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    return np.asarray(ndimage.binary_fill_holes(closed))


def keep_connected(mask: Mask, seeds: Mask) -> Mask:
    """Return the connected parts of ``mask`` that contain a pixel of ``seeds``."""
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    wanted = np.unique(labels[seeds & mask])
    return np.asarray(np.isin(labels, wanted[wanted > 0]))
