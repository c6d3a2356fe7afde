"""Boxes in a frame: intersection, union, growth, and the parts of arrays that lie in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", np.bool_, np.float32)


@dataclass(frozen=True)
class Box:
    """A part of a frame, in pixels: ``x`` and ``y`` are the left and top edge, counted from 0."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column to the right of the box."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row below the box."""
        return self.y + self.height

    @property
    def area(self) -> int:
        """The number of pixels in the box."""
        return self.width * self.height

    @property
    def part(self) -> tuple[slice, slice]:
        """The rows and columns of the box in an array that covers the frame."""
        return slice(self.y, self.bottom), slice(self.x, self.right)


def intersect(box: Box, other: Box) -> Box | None:
    """Return the pixels that are in both boxes; None if the boxes do not overlap."""
    left, top = max(box.x, other.x), max(box.y, other.y)
    width, height = min(box.right, other.right) - left, min(box.bottom, other.bottom) - top
    return Box(left, top, width, height) if width > 0 and height > 0 else None


def measure_overlap(box: Box, other: Box) -> int:
    """Return the number of pixels that are in both boxes."""
    both = intersect(box, other)
    return both.area if both else 0


def compute_ious(corners: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the intersection over union of one box with each of ``others``, as float32.

    Boxes are left, top, right and bottom: ``corners`` has 4 values, ``others`` n x 4.
    """
    corner = np.maximum(corners[:2], others[:, :2])
    both = np.clip(np.minimum(corners[2:], others[:, 2:]) - corner, 0, None).prod(axis=1)
    union = (corners[2:] - corners[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - both
    return np.asarray(both / np.maximum(union, np.float32(1e-9)), np.float32)


def merge_boxes(box: Box, other: Box) -> Box:
    """Return the smallest box around both."""
    left, top = min(box.x, other.x), min(box.y, other.y)
    return Box(left, top, max(box.right, other.right) - left, max(box.bottom, other.bottom) - top)


def grow_box(box: Box, by_px: int, size: tuple[int, ...]) -> Box:
    """Return ``box`` with ``by_px`` more pixels on each side, within a frame of ``size`` (height, width)."""
    left, top = max(0, box.x - by_px), max(0, box.y - by_px)
    return Box(left, top, min(size[1], box.right + by_px) - left, min(size[0], box.bottom + by_px) - top)


def bound_mask(mask: npt.NDArray[np.bool_]) -> Box:
    """Return the smallest box around the True values of ``mask``, which has at least one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return Box(left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)


def slice_box(inner: Box, outer: Box) -> tuple[slice, slice]:
    """Return the rows and columns of ``inner`` in an array that covers ``outer``, which contains it."""
    top, left = inner.y - outer.y, inner.x - outer.x
    return slice(top, top + inner.height), slice(left, left + inner.width)


def crop_or_pad(values: npt.NDArray[Number], box: Box, wanted: Box) -> npt.NDArray[Number]:
    """Return ``values``, which cover ``box``, for the pixels of ``wanted``; 0 or False outside ``box``."""
    result = np.zeros((wanted.height, wanted.width), values.dtype)
    both = intersect(box, wanted)
    if both:
        result[slice_box(both, wanted)] = values[slice_box(both, box)]
    return result
