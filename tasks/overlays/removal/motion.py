"""How what lies beneath moves from one frame to another: dense optical flow, carried on under what hides it.

Many are held at a time: at half the resolution, at which the search ends anyway, and as float16.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tasks.overlays.overlay import Floats, Mask
from tasks.overlays.removal.surroundings import Surroundings

# The flow is measured in windows of eight pixels: so near a hole it says more of the filling than of the picture.
_REACH_PX = 3
_LEAST_PX = 24

Moves = npt.NDArray[np.float16]


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


def flow(one: Seen, other: Seen) -> Moves:
    """Where each pixel of ``one`` is in ``other``: float16, in pixels to the right and down, for every second one.

    Dense inverse search (Kroeger et al., ECCV 2016). Regions too small for its windows are taken to stand still.
    """
    height, width = one.luma.shape
    half = (height + 1) // 2, (width + 1) // 2
    if min(height, width) < _LEAST_PX:
        return np.zeros((*half, 2), np.float16)
    found = _search().calc(one.luma, other.luma, None)
    filled = np.stack([one.hole.fill(found[..., 0]), one.hole.fill(found[..., 1])], axis=-1)
    return np.asarray(cv2.resize(filled, half[::-1], interpolation=cv2.INTER_AREA), np.float16)


def followed(first: Moves, then: Moves) -> Moves:
    """The flow of ``first`` and, from where that leads, of ``then``."""
    start = first.astype(np.float32)
    across, down = targets(np.asarray(start / 2, np.float32))
    on = cv2.remap(then.astype(np.float32), across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(start + on, np.float16)


def targets(moves: Floats) -> tuple[Floats, Floats]:
    """The columns and rows, float32, height x width each, that ``moves`` leads to."""
    across, down = _grid(moves.shape[0], moves.shape[1])
    return across + moves[..., 0], down + moves[..., 1]


def at_resolution(moves: Moves, size: tuple[int, int], divisor: tuple[int, int]) -> Floats:
    """``moves`` for a component of ``size`` (height, width), in its samples: float32, height x width x 2."""
    large = cv2.resize(moves.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large / np.array(divisor, np.float32), np.float32)


@cache
def _grid(height: int, width: int) -> tuple[Floats, Floats]:
    down, across = np.mgrid[:height, :width].astype(np.float32)
    return across, down


@cache
def _search() -> Any:
    create: Any = cv2.DISOpticalFlow_create  # type: ignore[attr-defined]  # its stubs lack it
    return create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
