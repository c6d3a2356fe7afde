"""How what lies beneath moves from one frame to another: dense optical flow, carried on under what hides it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from tasks.overlays.overlay import Floats, Mask
from tasks.overlays.removal.surroundings import Surroundings

# The flow is measured in windows of eight pixels: so near a hole it says more of the filling than of the picture.
_REACH_PX = 3
_LEAST_PX = 24


@dataclass(frozen=True)
class Seen:
    """A frame as the flow sees it.

    luma  uint8, height x width
    hole  fills the flow where the overlay is opaque
    """

    luma: Any
    hole: Surroundings


def flow_hole(opaque: Mask) -> Surroundings:
    """What fills the flow over ``opaque``, bool, height x width: the samples of luma of which nothing is known."""
    size = 2 * _REACH_PX + 1
    grown = cv2.dilate(opaque.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return Surroundings(grown > 0)


def flow(one: Seen, other: Seen) -> Floats:
    """Where each pixel of ``one`` is in ``other``: float32, height x width x 2, in pixels to the right and down.

    Dense inverse search (Kroeger et al., ECCV 2016). Regions too small for its windows are taken to stand still.
    """
    if min(one.luma.shape) < _LEAST_PX:
        return np.zeros((*one.luma.shape, 2), np.float32)
    found = _search().calc(one.luma, other.luma, None)
    return np.stack([one.hole.fill(found[..., 0]), one.hole.fill(found[..., 1])], axis=-1)


def followed(first: Floats, then: Floats) -> Floats:
    """The flow of ``first`` and, from where that leads, of ``then``."""
    across, down = targets(first)
    return first + cv2.remap(then, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def targets(moves: Floats) -> tuple[Floats, Floats]:
    """The columns and rows, float32, height x width each, that ``moves`` leads to."""
    across, down = _grid(moves.shape[0], moves.shape[1])
    return across + moves[..., 0], down + moves[..., 1]


def at_resolution(moves: Floats, size: tuple[int, int], divisor: tuple[int, int]) -> Floats:
    """``moves`` for a component of ``size`` (height, width), in its samples."""
    if divisor == (1, 1):
        return moves
    small = cv2.resize(moves, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small / np.array(divisor, np.float32), np.float32)


@cache
def _grid(height: int, width: int) -> tuple[Floats, Floats]:
    down, across = np.mgrid[:height, :width].astype(np.float32)
    return across, down


@cache
def _search() -> Any:
    create: Any = cv2.DISOpticalFlow_create  # type: ignore[attr-defined]  # its stubs lack it
    return create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
