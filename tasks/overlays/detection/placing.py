"""Overlays with a known place only, and boxes from the upright to the stored frame."""

from __future__ import annotations

import numpy as np

from tasks.media.orientation import UPRIGHT, Turn
from tasks.overlays.boxes import Box, slice_box
from tasks.overlays.components import Shape, align_box, reduce_mask
from tasks.overlays.overlay import Floats, FrameRange, Layer, Mask, Overlay, Source


def turn_back(boxes: Floats, turn: Turn, width_px: int, height_px: int) -> Floats:
    """Return boxes of the upright frame in pixels of the stored frame, whose size is given.

    A stored point (x, y), relative to the center, is shown at (a x + c y, b x + d y). The matrix is orthogonal, so its
    transpose is the inverse.
    """
    if turn == UPRIGHT or not len(boxes):
        return boxes
    a, b, c, d = turn
    stored = np.array([width_px, height_px], np.float32)
    shown = stored[::-1] if a == 0 else stored
    corners = boxes.reshape(-1, 2, 2) - shown / 2
    back = corners @ np.array([[a, c], [b, d]], np.float32) + stored / 2
    return np.asarray(np.hstack([back.min(axis=1), back.max(axis=1)]), np.float32)


def turn_upright(boxes: Floats, turn: Turn, width_px: int, height_px: int) -> Floats:
    """Return boxes of the stored frame, whose size is given, in pixels of the upright frame: undoes ``turn_back``."""
    if turn == UPRIGHT or not len(boxes):
        return boxes
    a, b, c, d = turn
    stored = np.array([width_px, height_px], np.float32)
    shown = stored[::-1] if a == 0 else stored
    corners = boxes.reshape(-1, 2, 2) - stored / 2
    forth = corners @ np.array([[a, b], [c, d]], np.float32) + shown / 2
    return np.asarray(np.hstack([forth.min(axis=1), forth.max(axis=1)]), np.float32)


def make_box_overlay(
    box: Box,
    shape: Shape,
    size: tuple[int, int],
    ranges: tuple[FrameRange, ...],
    source: Source,
    confidence: float = 1.0,
    label: str = "",
) -> Overlay:
    """Return an overlay that covers ``box`` in a frame of ``size`` (width, height), with unknown opacity."""
    whole = align_box(box, shape, *size)
    mask = np.zeros((whole.height, whole.width), bool)
    mask[slice_box(box, whole)] = True
    return Overlay(whole, make_unknown_layers(mask, shape), ranges, source, confidence, label)


def make_unknown_layers(mask: Mask, shape: Shape) -> tuple[Layer, ...]:
    """Return a layer with unknown opacity for each component; ``mask`` covers the overlay's box."""
    return tuple(_make_unknown_layer(reduce_mask(mask, shape, number)) for number in range(len(shape.divisors)))


def _make_unknown_layer(mask: Mask) -> Layer:
    unknown = np.where(mask, np.float32(np.nan), np.float32(0)).astype(np.float32)
    return Layer(mask, unknown, np.full(mask.shape, np.nan, np.float32))
