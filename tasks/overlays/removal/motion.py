"""Motion of the background between frames: dense optical flow, extrapolated below overlays.

Many flows are held at a time: at half the resolution, at which the search ends anyway, and as float16.
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

# Flow windows have eight pixels: this close to a hole, the flow depends on the filling more than on the image.
_REACH_PX = 3
_MIN_PX = 24

Moves = npt.NDArray[np.float16]


@dataclass(frozen=True)
class FlowFrame:
    """A frame as input of the flow.

    luma  uint8, height x width
    hole  fills in the flow below opaque overlays
    """

    luma: Any
    hole: Surroundings


def make_flow_hole(opaque: Mask) -> Surroundings:
    """Return the filler of the flow below ``opaque``, bool, height x width: luma samples with an unknown background."""
    size = 2 * _REACH_PX + 1
    grown = cv2.dilate(opaque.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return Surroundings(grown > 0)


def measure_flow(frame: FlowFrame, other: FlowFrame) -> Moves:
    """Return where each pixel of ``frame`` is in ``other``: float16, in pixels right and down, for every second pixel.

    Dense inverse search (Kroeger et al., ECCV 2016). Regions smaller than its windows count as still.
    """
    height, width = frame.luma.shape
    half = (height + 1) // 2, (width + 1) // 2
    if min(height, width) < _MIN_PX:
        return np.zeros((*half, 2), np.float16)
    raw_flow = _create_search().calc(frame.luma, other.luma, None)
    filled = np.stack([frame.hole.fill(raw_flow[..., 0]), frame.hole.fill(raw_flow[..., 1])], axis=-1)
    return np.asarray(cv2.resize(filled, half[::-1], interpolation=cv2.INTER_AREA), np.float16)


def chain_flows(first: Moves, then: Moves) -> Moves:
    """Return the flow ``first`` followed by ``then``."""
    start = first.astype(np.float32)
    across, down = find_targets(np.asarray(start / 2, np.float32))
    on = cv2.remap(then.astype(np.float32), across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(start + on, np.float16)


def find_targets(moves: Floats) -> tuple[Floats, Floats]:
    """Return the columns and rows, float32, height x width each, to which ``moves`` leads."""
    across, down = _make_grid(moves.shape[0], moves.shape[1])
    return across + moves[..., 0], down + moves[..., 1]


def resize_flow(moves: Moves, size: tuple[int, int], divisor: tuple[int, int]) -> Floats:
    """Return ``moves`` for a component of ``size`` (height, width), in its samples: float32, height x width x 2."""
    large = cv2.resize(moves.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large / np.array(divisor, np.float32), np.float32)


@cache
def _make_grid(height: int, width: int) -> tuple[Floats, Floats]:
    down, across = np.mgrid[:height, :width].astype(np.float32)
    return across, down


@cache
def _create_search() -> Any:
    create: Any = cv2.DISOpticalFlow_create  # type: ignore[attr-defined]  # its stubs lack it
    return create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
