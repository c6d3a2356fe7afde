"""Overlapping tiles of an image, which bound the memory of a network for frames of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import cv2
import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]
Picture = NDArray[np.uint8] | NDArray[np.uint16]

# Maximum excess over black and white; ringing at edges exceeds them by 0.1 or 0.2.
_MAX_EXCESS = 1.0


@dataclass(frozen=True)
class Span:
    """Part of one side of an image, in pixels, ends exclusive: the part that is read, and the part that is kept."""

    read_start: int
    read_end: int
    start: int
    end: int


@dataclass(frozen=True)
class Tile:
    """A tile: rows and columns."""

    rows: Span
    columns: Span


@dataclass(frozen=True)
class Upscaled:
    """An upscaled image, and the number of its tiles on which the network failed."""

    picture: Picture
    broken_tiles: int


def plan_tiles(height_px: int, width_px: int, halo_px: int, max_px: int) -> list[Tile]:
    """Return tiles of at most ``max_px`` pixels, including ``halo_px`` at every cut.

    The grid is the one that reads the fewest pixels twice. Raises ValueError if no grid fits.
    """
    sides, others = _list_divisions(height_px, halo_px), _list_divisions(width_px, halo_px)
    grids = [
        (rows, columns)
        for rows, columns in product(sides, others)
        if _get_max_size(rows) * _get_max_size(columns) <= max_px
    ]
    if not grids:
        raise ValueError(f"a tile of {max_px} pixels is too small for a halo of {halo_px}")
    rows, columns = min(grids, key=lambda grid: _sum_sizes(grid[0]) * _sum_sizes(grid[1]))
    return [Tile(row, column) for row in rows for column in columns]


def upscale(picture: Picture, tiles: Sequence[Tile], scale: int, run: Callable[[Planes], Planes]) -> Upscaled:
    """Return ``picture`` (height, width, 3; 8 or 16 bits) upscaled by ``scale``: ``run`` is applied to each tile.

    ``run`` gets arrays of shape (3, rows, columns) between 0 and 1. If its result is not an image, the tile is
    interpolated bicubically: networks with multiplications fail on the snow of a tape.
    """
    height, width, _ = picture.shape
    top = np.float32(np.iinfo(picture.dtype).max)
    planes: Planes = picture.transpose(2, 0, 1).astype(np.float32) / top
    output = np.empty((height * scale, width * scale, 3), picture.dtype)
    broken = 0
    for tile in tiles:
        rows, columns = tile.rows, tile.columns
        tile_planes = planes[:, rows.read_start : rows.read_end, columns.read_start : columns.read_end]
        upscaled = run(tile_planes)
        if not _is_picture(upscaled):
            upscaled, broken = _interpolate(tile_planes, scale), broken + 1
        cropped = upscaled[:, _crop_span(rows, scale), _crop_span(columns, scale)].transpose(1, 2, 0)
        target = output[rows.start * scale : rows.end * scale, columns.start * scale : columns.end * scale]
        target[...] = np.rint(np.clip(cropped, 0, 1) * top)
    return Upscaled(output, broken)


def _is_picture(planes: Planes) -> bool:
    """Return True if the values are in the range of images; NaN is not."""
    return bool(planes.min() > -_MAX_EXCESS and planes.max() < 1 + _MAX_EXCESS)


def _interpolate(planes: Planes, scale: int) -> Planes:
    picture = np.ascontiguousarray(planes.transpose(1, 2, 0))
    size = (picture.shape[1] * scale, picture.shape[0] * scale)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.float32).transpose(2, 0, 1)


def _crop_span(span: Span, scale: int) -> slice:
    """Return the part of the upscaled tile that is kept."""
    return slice((span.start - span.read_start) * scale, (span.end - span.read_start) * scale)


def _list_divisions(length_px: int, halo_px: int) -> list[list[Span]]:
    """Return all divisions of a side into equal parts that are not shorter than the halo."""
    return [_divide(length_px, count, halo_px) for count in range(1, max(1, length_px // max(halo_px, 16)) + 1)]


def _divide(length_px: int, count: int, halo_px: int) -> list[Span]:
    """Return the parts of a side. All have the same size, since varying sizes fragment the memory of a network."""
    bounds = [round(place * length_px / count) for place in range(count + 1)]
    read_px = min(max(end - start for start, end in pairwise(bounds)) + 2 * halo_px, length_px)
    starts = [min(max(start - halo_px, 0), length_px - read_px) for start in bounds[:-1]]
    return [Span(read, read + read_px, start, end) for read, (start, end) in zip(starts, pairwise(bounds), strict=True)]


def _get_max_size(spans: Sequence[Span]) -> int:
    return max(span.read_end - span.read_start for span in spans)


def _sum_sizes(spans: Sequence[Span]) -> int:
    return sum(span.read_end - span.read_start for span in spans)
