"""Contact sheets: images on one dark page, each with a caption below it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from tasks.media.orientation import ImageArray

# Colors are BGR.
_PAGE_COLOR = (24, 22, 20)
_CELL_COLOR = (38, 35, 32)
_TEXT_COLOR = (235, 232, 228)
_MARGIN_PX = 12
_CAPTION_PX = 32
_FONT = cv2.FONT_HERSHEY_DUPLEX
_FONT_SCALE = 0.65
_JPEG_QUALITY = 85


def draw_contact_sheet(
    images: Sequence[tuple[ImageArray | None, str]],
    columns: int = 4,
    thumbnail_width_px: int = 240,
    quality: int = _JPEG_QUALITY,
) -> bytes:
    """Return a JPEG of all ``images`` (uint8, height x width x 3, BGR) with their captions, row by row.

    All thumbnails have the size of the first image at ``thumbnail_width_px``, at most square. Images of another shape
    are centered in it. None leaves its cell empty. Captions are ASCII.
    Raises ValueError if there are no images.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one frame")
    cell = _compute_cell_size([image for image, _ in images], thumbnail_width_px)
    columns = min(columns, len(images))
    page = _create_page(cell, columns, -(-len(images) // columns))
    for number, (image, caption) in enumerate(images):
        row, column = divmod(number, columns)
        left = _MARGIN_PX + column * (cell[0] + _MARGIN_PX)
        top = _MARGIN_PX + row * (cell[1] + _CAPTION_PX + _MARGIN_PX)
        _draw_cell(page[top : top + cell[1] + _CAPTION_PX, left : left + cell[0]], image, caption)
    return bytes(cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def fit_size(image: ImageArray, width_px: int, height_px: int) -> tuple[int, int]:
    """Return the maximum width and height of ``image`` within these limits, with its aspect ratio; at least 1 px."""
    height, width = image.shape[:2]
    scale = min(width_px / width, height_px / height)
    return min(width_px, max(1, round(width * scale))), min(height_px, max(1, round(height * scale)))


def resize_image(image: ImageArray, size: tuple[int, int]) -> ImageArray:
    """Return ``image`` at this width and height; the same object if it has this size.

    Area averaging from a reduction by 2, because thin lines would be lost; linear interpolation below that, because
    it is good enough and takes a quarter of the time.
    """
    height, width = image.shape[:2]
    if size == (width, height):
        return image
    reduction = max(width / size[0], height / size[1])
    method = cv2.INTER_AREA if reduction >= 2 else cv2.INTER_LINEAR if reduction > 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)


def paste_centered(area: ImageArray, image: ImageArray) -> None:
    """Draw ``image`` into the center of ``area``, scaled to fit."""
    width, height = size = fit_size(image, area.shape[1], area.shape[0])
    left, top = (area.shape[1] - width) // 2, (area.shape[0] - height) // 2
    area[top : top + height, left : left + width] = resize_image(image, size)


def _compute_cell_size(images: Sequence[ImageArray | None], width_px: int) -> tuple[int, int]:
    """Return width and height of the thumbnails."""
    first = next((image for image in images if image is not None), None)
    if first is None:
        return width_px, width_px * 9 // 16
    height, width = first.shape[:2]
    return width_px, min(width_px, max(1, round(width_px * height / width)))


def _create_page(cell: tuple[int, int], columns: int, rows: int) -> ImageArray:
    """Return an empty page for ``columns`` x ``rows`` cells with margins and captions."""
    width = _MARGIN_PX + columns * (cell[0] + _MARGIN_PX)
    height = _MARGIN_PX + rows * (cell[1] + _CAPTION_PX + _MARGIN_PX)
    return np.full((height, width, 3), _PAGE_COLOR, dtype=np.uint8)


def _draw_cell(area: ImageArray, image: ImageArray | None, caption: str) -> None:
    """Fill ``area`` of the page with the image and, below it, its caption."""
    area[:] = _CELL_COLOR
    if image is not None:
        paste_centered(area[:-_CAPTION_PX], image)
    text = caption.encode("ascii", "replace").decode()
    scale = _fit_font_scale(text, area.shape[1] - 2 * _MARGIN_PX // 2)
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    origin = ((area.shape[1] - width) // 2, area.shape[0] - (_CAPTION_PX - height) // 2 - 1)
    cv2.putText(area, text, origin, _FONT, scale, _TEXT_COLOR, 1, cv2.LINE_AA)


def _fit_font_scale(text: str, width_px: int) -> float:
    """Return the font scale at which ``text`` fits into ``width_px``, at most the usual one."""
    (width, _), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
    return _FONT_SCALE * min(1.0, width_px / max(1, width))
