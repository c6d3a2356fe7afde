"""Contact sheets: pictures on one dark page, each with a caption under it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from tasks.media.orientation import Picture

# Colours are BGR.
_PAGE = (24, 22, 20)
_CELL = (38, 35, 32)
_INK = (235, 232, 228)
_MARGIN_PX = 12
_CAPTION_PX = 32
_FONT = cv2.FONT_HERSHEY_DUPLEX
_FONT_SCALE = 0.65
_JPEG_QUALITY = 85


def sheet(
    pictures: Sequence[tuple[Picture | None, str]],
    columns: int = 4,
    thumbnail_width_px: int = 240,
    quality: int = _JPEG_QUALITY,
) -> bytes:
    """A JPEG of all ``pictures`` (uint8, height x width x 3, BGR) with their captions, row by row.

    Every thumbnail has the same size: that of the first picture at ``thumbnail_width_px``, at most square; pictures
    of another shape are centred in it. None leaves its cell empty. Captions are ASCII.
    Raises ValueError where there are no pictures.
    """
    if not pictures:
        raise ValueError("a contact sheet needs at least one frame")
    cell = _cell_size([picture for picture, _ in pictures], thumbnail_width_px)
    columns = min(columns, len(pictures))
    page = _page(cell, columns, -(-len(pictures) // columns))
    for number, (picture, caption) in enumerate(pictures):
        row, column = divmod(number, columns)
        left = _MARGIN_PX + column * (cell[0] + _MARGIN_PX)
        top = _MARGIN_PX + row * (cell[1] + _CAPTION_PX + _MARGIN_PX)
        _draw(page[top : top + cell[1] + _CAPTION_PX, left : left + cell[0]], picture, caption)
    return bytes(cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def fitting_size(picture: Picture, width_px: int, height_px: int) -> tuple[int, int]:
    """The largest width and height of ``picture`` in its own proportions that fit into that room; at least 1 px."""
    height, width = picture.shape[:2]
    scale = min(width_px / width, height_px / height)
    return min(width_px, max(1, round(width * scale))), min(height_px, max(1, round(height * scale)))


def scaled(picture: Picture, size: tuple[int, int]) -> Picture:
    """``picture`` at that width and height; the same object where it is so already.

    Averaged where it shrinks to a half or less, since points would be lost; between that, neighbours are enough and
    take a quarter of the time.
    """
    height, width = picture.shape[:2]
    if size == (width, height):
        return picture
    shrinks = max(width / size[0], height / size[1])
    method = cv2.INTER_AREA if shrinks >= 2 else cv2.INTER_LINEAR if shrinks > 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=method), dtype=np.uint8)


def paste(room: Picture, picture: Picture) -> None:
    """Put ``picture`` into the middle of ``room``, as large as it fits."""
    width, height = size = fitting_size(picture, room.shape[1], room.shape[0])
    left, top = (room.shape[1] - width) // 2, (room.shape[0] - height) // 2
    room[top : top + height, left : left + width] = scaled(picture, size)


def _cell_size(pictures: Sequence[Picture | None], width_px: int) -> tuple[int, int]:
    """Width and height of every thumbnail."""
    first = next((picture for picture in pictures if picture is not None), None)
    if first is None:
        return width_px, width_px * 9 // 16
    height, width = first.shape[:2]
    return width_px, min(width_px, max(1, round(width_px * height / width)))


def _page(cell: tuple[int, int], columns: int, rows: int) -> Picture:
    """An empty page with room for ``columns`` x ``rows`` cells, margins and captions."""
    width = _MARGIN_PX + columns * (cell[0] + _MARGIN_PX)
    height = _MARGIN_PX + rows * (cell[1] + _CAPTION_PX + _MARGIN_PX)
    return np.full((height, width, 3), _PAGE, dtype=np.uint8)


def _draw(area: Picture, picture: Picture | None, caption: str) -> None:
    """Fill ``area`` of the page: the picture above, its caption below."""
    area[:] = _CELL
    if picture is not None:
        paste(area[:-_CAPTION_PX], picture)
    text = caption.encode("ascii", "replace").decode()
    scale = _fitting_scale(text, area.shape[1] - 2 * _MARGIN_PX // 2)
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    origin = ((area.shape[1] - width) // 2, area.shape[0] - (_CAPTION_PX - height) // 2 - 1)
    cv2.putText(area, text, origin, _FONT, scale, _INK, 1, cv2.LINE_AA)


def _fitting_scale(text: str, width_px: int) -> float:
    """The font's scale at which ``text`` fits into ``width_px``; smaller than usual only where it must be."""
    (width, _), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
    return _FONT_SCALE * min(1.0, width_px / max(1, width))
