"""Overlays of which only the place is known, and boxes from the upright to the stored frame."""

from __future__ import annotations

import numpy as np

from tasks.media.orientation import UPRIGHT, Turn
from tasks.overlays.boxes import Box, slice_box
from tasks.overlays.components import Shape, aligned, component_mask
from tasks.overlays.overlay import Floats, FrameRange, Layer, Mask, Overlay, Source


def turned_back(boxes: Floats, turn: Turn, width_px: int, height_px: int) -> Floats:
    """Boxes in the upright picture, in pixels of the picture as it is stored, whose size is given.

    A point (x, y) as stored, from the picture's middle, is shown at (a x + c y, b x + d y); that is orthogonal, so the
    way back is its transpose.
    """
    if turn == UPRIGHT or not len(boxes):
        return boxes
    a, b, c, d = turn
    stored = np.array([width_px, height_px], np.float32)
    shown = stored[::-1] if a == 0 else stored
    corners = boxes.reshape(-1, 2, 2) - shown / 2
    back = corners @ np.array([[a, c], [b, d]], np.float32) + stored / 2
    return np.asarray(np.hstack([back.min(axis=1), back.max(axis=1)]), np.float32)


def box_overlay(
    box: Box,
    shape: Shape,
    size: tuple[int, int],
    ranges: tuple[FrameRange, ...],
    source: Source,
    confidence: float = 1.0,
    label: str = "",
) -> Overlay:
    """An overlay of which only the place is known: all of ``box``, in a picture of ``size`` (width, height)."""
    whole = aligned(box, shape, *size)
    mask = np.zeros((whole.height, whole.width), bool)
    mask[slice_box(box, whole)] = True
    return Overlay(whole, unknown_layers(mask, shape), ranges, source, confidence, label)


def unknown_layers(mask: Mask, shape: Shape) -> tuple[Layer, ...]:
    """A layer for each component; ``mask`` lies over the overlay's box."""
    return tuple(_unknown_layer(component_mask(mask, shape, number)) for number in range(len(shape.divisors)))


def _unknown_layer(mask: Mask) -> Layer:
    unknown = np.where(mask, np.float32(np.nan), np.float32(0)).astype(np.float32)
    return Layer(mask, unknown, np.full(mask.shape, np.nan, np.float32))
