"""A picture in tiles that overlap, so that what a network needs is bounded, whatever the size of the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import cv2
import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]
Picture = NDArray[np.uint8] | NDArray[np.uint16]

# Ringing at an edge goes a tenth or two beyond black and white.
_FAR = 1.0


@dataclass(frozen=True)
class Span:
    """Part of a side of a picture, in pixels, ends exclusive: read from it, and kept of what that becomes."""

    read_start: int
    read_end: int
    start: int
    end: int


@dataclass(frozen=True)
class Tile:
    """One tile: rows and columns."""

    rows: Span
    columns: Span


@dataclass(frozen=True)
class Enlarged:
    """A picture, and in how many of its tiles the network broke."""

    picture: Picture
    broken_tiles: int


def plan_tiles(height_px: int, width_px: int, halo_px: int, most_px: int) -> list[Tile]:
    """The tiles of a picture, none of more than ``most_px`` pixels with its ``halo_px`` on all sides that are cut.

    Of all grids that fit, the one that reads the fewest pixels twice. Raises ValueError where none fits.
    """
    sides, others = _cuts(height_px, halo_px), _cuts(width_px, halo_px)
    grids = [
        (rows, columns) for rows, columns in product(sides, others) if _longest(rows) * _longest(columns) <= most_px
    ]
    if not grids:
        raise ValueError(f"no tile of {most_px} pixels has room for a halo of {halo_px}")
    rows, columns = min(grids, key=lambda grid: _read(grid[0]) * _read(grid[1]))
    return [Tile(row, column) for row in rows for column in columns]


def enlarge(picture: Picture, tiles: Sequence[Tile], scale: int, run: Callable[[Planes], Planes]) -> Enlarged:
    """``picture`` (height, width, 3), of 8 or 16 bits, ``scale`` times as large: ``run`` on each of the tiles.

    ``run`` is given (3, rows, columns) between 0 and 1. Where what it gives is no picture, the tile is enlarged by
    cubic interpolation: networks that multiply break on a tape's snow.
    """
    height, width, _ = picture.shape
    top = np.float32(np.iinfo(picture.dtype).max)
    planes: Planes = picture.transpose(2, 0, 1).astype(np.float32) / top
    made = np.empty((height * scale, width * scale, 3), picture.dtype)
    broken = 0
    for tile in tiles:
        rows, columns = tile.rows, tile.columns
        given = planes[:, rows.read_start : rows.read_end, columns.read_start : columns.read_end]
        result = run(given)
        if not _is_picture(result):
            result, broken = _cubic(given, scale), broken + 1
        kept = result[:, _kept(rows, scale), _kept(columns, scale)].transpose(1, 2, 0)
        room = made[rows.start * scale : rows.end * scale, columns.start * scale : columns.end * scale]
        room[...] = np.rint(np.clip(kept, 0, 1) * top)
    return Enlarged(made, broken)


def _is_picture(planes: Planes) -> bool:
    """Whether values are about where those of pictures are; no number is not."""
    return bool(planes.min() > -_FAR and planes.max() < 1 + _FAR)


def _cubic(planes: Planes, scale: int) -> Planes:
    picture = np.ascontiguousarray(planes.transpose(1, 2, 0))
    size = (picture.shape[1] * scale, picture.shape[0] * scale)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.float32).transpose(2, 0, 1)


def _kept(span: Span, scale: int) -> slice:
    """What is kept of the enlarged tile."""
    return slice((span.start - span.read_start) * scale, (span.end - span.read_start) * scale)


def _cuts(length_px: int, halo_px: int) -> list[list[Span]]:
    """All ways to cut a side into equal parts; parts shorter than their halo are a waste."""
    return [_spans(length_px, count, halo_px) for count in range(1, max(1, length_px // max(halo_px, 16)) + 1)]


def _spans(length_px: int, count: int, halo_px: int) -> list[Span]:
    """The parts of a side. All read as much: a network whose pictures differ in size leaves holes in the memory."""
    bounds = [round(place * length_px / count) for place in range(count + 1)]
    read_px = min(max(end - start for start, end in pairwise(bounds)) + 2 * halo_px, length_px)
    starts = [min(max(start - halo_px, 0), length_px - read_px) for start in bounds[:-1]]
    return [Span(read, read + read_px, start, end) for read, (start, end) in zip(starts, pairwise(bounds), strict=True)]


def _longest(spans: Sequence[Span]) -> int:
    return max(span.read_end - span.read_start for span in spans)


def _read(spans: Sequence[Span]) -> int:
    return sum(span.read_end - span.read_start for span in spans)
