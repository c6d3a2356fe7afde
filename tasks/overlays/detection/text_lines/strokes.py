"""Edges arranged like the strokes of letters: side by side, alternating along rows, with fewer above and below."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from tasks.media.segments.planes import Plane
from tasks.overlays.boxes import Box, grow_box
from tasks.overlays.overlay import Floats, Mask

# Line height as a share of the frame's, and the minimum width in line heights.
_HEIGHTS, _MIN_ASPECT = (0.02, 0.2), 2.5
# Line heights to search for, as shares of the frame's, and the minimum in rows.
_LETTERS, _MIN_ROWS = (0.035, 0.06, 0.1), 6
# Word width in line heights, and the number of turns in a square of line height: a letter is half as wide and has four
# turns in its own rows, which are a part of the line's.
_WORD, _STROKES = 4, 2.0
# Turns above and below a line, relative to the line.
_MAX_ADJACENT = 0.5
# Turns in a row of a line, relative to the row with most turns.
_ROW_SHARE = 0.25
# Strokes along the median row.
_MIN_STROKES = 8
# Minimum gradients along rows, in 8-bit codes per pixel.
_STEEP = 3.0
# Edges of fewer pixels are noise.
_SPECK_PX = 6


def compute_gradients(luma: Floats) -> tuple[Floats, Floats]:
    """Return the differences across and down, in codes per pixel."""
    kernel = np.array([[-0.5, 0, 0.5]], np.float32)
    across, down = (cv2.filter2D(luma, cv2.CV_32F, direction) for direction in (kernel, kernel.T))
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def shrink(luma: Plane, factor: int, unit: np.float32) -> Floats:
    """Return ``luma`` divided by ``unit`` (to 8-bit codes) and scaled down by ``factor``."""
    frame = luma.astype(np.float32) / unit
    if factor == 1:
        return np.asarray(frame, np.float32)
    size = luma.shape[1] // factor, luma.shape[0] // factor
    cropped = frame[: size[1] * factor, : size[0] * factor]
    return np.asarray(cv2.resize(cropped, size, interpolation=cv2.INTER_AREA), np.float32)


def find_text_boxes(edges: Mask, across: Floats, height: int) -> Iterator[Box]:
    """Yield boxes in which ``edges`` alternate along rows as strokes do, more than above and below.

    across  height x width: gradients along rows
    height  of the whole frame
    """
    turns = _find_turns(edges, across)
    dense = np.zeros(edges.shape, np.uint8)
    for share in _LETTERS:
        dense |= _select_alternating(turns, max(_MIN_ROWS, round(share * height)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(dense, connectivity=8)
    for number in range(1, count):
        x, y, width, tall = (int(value) for value in stats[number][:4])
        part = np.s_[y : y + tall, x : x + width]
        box = _bound_turns(np.where(labels[part] == number, turns[part], 0), x, y)
        if box is not None and _is_text(turns[box.y : box.bottom, box.x : box.right], height):
            # The first edge is no turn, and tall letters have few turns.
            yield grow_box(box, -(-box.height // 4), edges.shape)


def _find_turns(edges: Mask, across: Floats) -> Floats:
    """Return 1 where an edge has the opposite sign of the previous one in its row: two per stroke, at any contrast."""
    sides = np.where(_remove_specks(edges) & (np.abs(across) >= _STEEP), np.sign(across), 0)
    columns = np.broadcast_to(np.arange(sides.shape[1]), sides.shape)
    latest = np.maximum.accumulate(np.where(sides != 0, columns, 0), axis=1)
    side = np.take_along_axis(sides, latest, axis=1)
    turns = np.zeros(edges.shape, np.float32)
    turns[:, 1:] = side[:, 1:] * side[:, :-1] < 0
    return turns


def _remove_specks(edges: Mask) -> Mask:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(edges.astype(np.uint8), connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= _SPECK_PX
    kept[0] = False
    return np.asarray(kept[labels])


def _select_alternating(turns: npt.NDArray[np.float32], tall: int) -> npt.NDArray[np.uint8]:
    """Return windows of line height and word width that contain strokes, with few strokes above and below."""
    wide = _WORD * tall
    inside = cv2.blur(turns, (wide, tall), borderType=cv2.BORDER_CONSTANT)
    adjacent = np.zeros_like(inside)
    adjacent[tall:], adjacent[:-tall] = inside[:-tall], np.maximum(adjacent[:-tall], inside[tall:])
    dense = (inside * tall >= _STROKES) & (adjacent <= _MAX_ADJACENT * inside)
    return np.asarray(cv2.dilate(dense.astype(np.uint8), np.ones((tall, wide), np.uint8)), np.uint8)


def _bound_turns(turns: npt.NDArray[np.float32], left: int, top: int) -> Box | None:
    """Return the box of rows with many turns and their columns; ``left`` and ``top`` are the position of the part."""
    many = turns.sum(axis=1)
    rows = np.flatnonzero(many >= _ROW_SHARE * many.max(initial=1))
    columns = np.flatnonzero(turns[rows[0] : rows[-1] + 1].any(axis=0)) if len(rows) else rows
    if not len(columns):
        return None
    return Box(
        left + int(columns[0]), top + int(rows[0]), int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
    )


def _is_text(turns: npt.NDArray[np.float32], height: int) -> bool:
    """Return True if the part has the size of a line and turns as often as strokes do."""
    tall, wide = turns.shape
    if not _HEIGHTS[0] * height <= tall <= _HEIGHTS[1] * height or wide < _MIN_ASPECT * tall:
        return False
    return bool(np.quantile(turns.sum(axis=1), 0.6) >= 2 * _MIN_STROKES)
