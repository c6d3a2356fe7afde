"""Where edges lie as those of writing do: side by side, alternating along rows, with fewer above and below."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from tasks.media.segments.planes import Plane
from tasks.overlays.boxes import Box, grow_box
from tasks.overlays.overlay import Floats, Mask

# A line's height as a share of the picture's, and its least width as so many heights.
_HEIGHTS, _LEAST_WIDE = (0.02, 0.2), 2.5
# Heights of lines that are looked for, as shares of the picture's; in pixels they have some rows at least.
_LETTERS, _FEWEST_ROWS = (0.035, 0.06, 0.1), 6
# A word's width in heights; so many turns it has in a square of one height: a letter, which is half as wide, has four
# in its own rows, and these are a part of a line's.
_WORD, _STROKES = 4, 2.0
# Above and below a line there are so many turns in comparison.
_BESIDE = 0.5
# Rows of a line have so many turns in comparison to the one that has most.
_ROW_SHARE = 0.25
# So many strokes lie along the usual row.
_FEWEST_STROKES = 8
# Gradients along rows, in 8-bit codes a pixel, whose sign counts.
_STEEP = 3.0
# Edges of fewer pixels are noise.
_SPECK_PX = 6


def gradients(luma: Floats) -> tuple[Floats, Floats]:
    """Differences across and down, in codes a pixel."""
    kernel = np.array([[-0.5, 0, 0.5]], np.float32)
    across, down = (cv2.filter2D(luma, cv2.CV_32F, one) for one in (kernel, kernel.T))
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def reduced(luma: Plane, factor: int, unit: np.float32) -> Floats:
    """``luma`` in 8-bit codes, of which ``unit`` of its own are one; ``factor`` times smaller."""
    picture = luma.astype(np.float32) / unit
    if factor == 1:
        return np.asarray(picture, np.float32)
    size = luma.shape[1] // factor, luma.shape[0] // factor
    cut = picture[: size[1] * factor, : size[0] * factor]
    return np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), np.float32)


def text_boxes(edges: Mask, across: Floats, height: int) -> Iterator[Box]:
    """Where ``edges`` turn along rows as strokes do, more than above and below.

    across  height x width: the gradients along rows; ``height`` is that of the whole picture
    """
    turns = _turns(edges, across)
    dense = np.zeros(edges.shape, np.uint8)
    for share in _LETTERS:
        dense |= _alternating(turns, max(_FEWEST_ROWS, round(share * height)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(dense, connectivity=8)
    for number in range(1, count):
        x, y, width, tall = (int(value) for value in stats[number][:4])
        part = np.s_[y : y + tall, x : x + width]
        box = _tight(np.where(labels[part] == number, turns[part], 0), x, y)
        if box is not None and _is_text(turns[box.y : box.bottom, box.x : box.right], height):
            # The first edge is no turn, and tall letters have few turns.
            yield grow_box(box, -(-box.height // 4), edges.shape)


def _turns(edges: Mask, across: Floats) -> Floats:
    """1 where an edge goes the other way than the one before it in its row: twice a stroke, whatever its contrast."""
    sides = np.where(_without_specks(edges) & (np.abs(across) >= _STEEP), np.sign(across), 0)
    columns = np.broadcast_to(np.arange(sides.shape[1]), sides.shape)
    latest = np.maximum.accumulate(np.where(sides != 0, columns, 0), axis=1)
    side = np.take_along_axis(sides, latest, axis=1)
    found = np.zeros(edges.shape, np.float32)
    found[:, 1:] = side[:, 1:] * side[:, :-1] < 0
    return found


def _without_specks(edges: Mask) -> Mask:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(edges.astype(np.uint8), connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= _SPECK_PX
    kept[0] = False
    return np.asarray(kept[labels])


def _alternating(turns: npt.NDArray[np.float32], tall: int) -> npt.NDArray[np.uint8]:
    """Windows around pixels, of the height of a line and as wide as a word, that have strokes, the ones beside few."""
    wide = _WORD * tall
    inside = cv2.blur(turns, (wide, tall), borderType=cv2.BORDER_CONSTANT)
    beside = np.zeros_like(inside)
    beside[tall:], beside[:-tall] = inside[:-tall], np.maximum(beside[:-tall], inside[tall:])
    found = (inside * tall >= _STROKES) & (beside <= _BESIDE * inside)
    return np.asarray(cv2.dilate(found.astype(np.uint8), np.ones((tall, wide), np.uint8)), np.uint8)


def _tight(turns: npt.NDArray[np.float32], left: int, top: int) -> Box | None:
    """The rows that have many turns, and the columns of these that have any, in a part beginning there."""
    many = turns.sum(axis=1)
    rows = np.flatnonzero(many >= _ROW_SHARE * many.max(initial=1))
    columns = np.flatnonzero(turns[rows[0] : rows[-1] + 1].any(axis=0)) if len(rows) else rows
    if not len(columns):
        return None
    return Box(
        left + int(columns[0]), top + int(rows[0]), int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
    )


def _is_text(turns: npt.NDArray[np.float32], height: int) -> bool:
    """Whether what is in a box has the size of a line, and turns as often as strokes do."""
    tall, wide = turns.shape
    if not _HEIGHTS[0] * height <= tall <= _HEIGHTS[1] * height or wide < _LEAST_WIDE * tall:
        return False
    return bool(np.quantile(turns.sum(axis=1), 0.6) >= 2 * _FEWEST_STROKES)
