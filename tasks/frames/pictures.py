"""Contact sheets: the frames of a sample on one dark page, each with a caption under it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.engine.report import Picture as SheetPicture
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


def contact_sheet(
    frames: Sequence[tuple[Path, str]], columns: int = 4, thumbnail_width_px: int = 240, quality: int = _JPEG_QUALITY
) -> bytes:
    """A JPEG of all ``frames``, given as image files with their captions, row by row.

    Every thumbnail has the same size: that of the first picture at ``thumbnail_width_px``, at most square; pictures
    of another shape are centred in it. A file that is no picture leaves its cell empty. Captions are ASCII.
    Raises ValueError where there are no frames.
    """
    if not frames:
        raise ValueError("a contact sheet needs at least one frame")
    pictures = [_picture(path) for path, _ in frames]
    cell = _cell_size(pictures, thumbnail_width_px)
    columns = min(columns, len(frames))
    page = _page(cell, columns, -(-len(frames) // columns))
    for number, (picture, (_, caption)) in enumerate(zip(pictures, frames, strict=True)):
        row, column = divmod(number, columns)
        left = _MARGIN_PX + column * (cell[0] + _MARGIN_PX)
        top = _MARGIN_PX + row * (cell[1] + _CAPTION_PX + _MARGIN_PX)
        _draw(page[top : top + cell[1] + _CAPTION_PX, left : left + cell[0]], picture, caption)
    return bytes(cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def _picture(path: Path) -> Picture | None:
    """The image file as uint8, height x width x 3, BGR; ``None`` where it is none."""
    try:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # it says that it is larger than OpenCV reads
        return None
    return None if picture is None else np.asarray(picture, dtype=np.uint8)


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
    room = area[:-_CAPTION_PX]
    if picture is not None:
        _paste(room, picture)
    text = caption.encode("ascii", "replace").decode()
    scale = _fitting_scale(text, area.shape[1] - 2 * _MARGIN_PX // 2)
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    origin = ((area.shape[1] - width) // 2, area.shape[0] - (_CAPTION_PX - height) // 2 - 1)
    cv2.putText(area, text, origin, _FONT, scale, _INK, 1, cv2.LINE_AA)


def _paste(room: Picture, picture: Picture) -> None:
    """Put ``picture`` into the middle of ``room``, as large as it fits."""
    height, width = picture.shape[:2]
    scale = min(room.shape[1] / width, room.shape[0] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    left, top = (room.shape[1] - size[0]) // 2, (room.shape[0] - size[1]) // 2
    room[top : top + size[1], left : left + size[0]] = small


def _fitting_scale(text: str, width_px: int) -> float:
    """The font's scale at which ``text`` fits into ``width_px``; smaller than usual only where it must be."""
    (width, _), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
    return _FONT_SCALE * min(1.0, width_px / max(1, width))


def sheets(samples: Iterable[Mapping[str, Any]], output_dir: Path, most: int = 12) -> list[SheetPicture]:
    """A contact sheet for each of at most ``most`` samples, evenly through them, for the report.

    ``samples`` are the details that the frames stage gives; their paths are relative to ``output_dir``. A file that is
    not what the stage made is not even decoded.
    """
    known = [sample for sample in samples if sample["frames"]]
    chosen = known[:: max(1, -(-len(known) // most))]
    return [sheet for sample in chosen if (sheet := _sheet(sample, output_dir))]


def _sheet(sample: Mapping[str, Any], output_dir: Path) -> SheetPicture | None:
    files = [(output_dir / frame["path"], frame) for frame in sample["frames"]]
    frames = [(path, _stamp(frame)) for path, frame in files if _is_unaltered(path, frame["sha256"])]
    if not frames:
        return None
    outside = len(sample["outside_seconds"])
    missed = f", {outside} requested outside the video" if outside else ""
    caption = f"{sample['video']}: {len(frames)} frames, * where requested{missed}"
    return SheetPicture(sample["id"], caption, contact_sheet(frames))


def _is_unaltered(path: Path, sha256: str) -> bool:
    """Whether ``path`` is a file with that digest."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _stamp(frame: Mapping[str, Any]) -> str:
    """The time at which the frame is shown; a star where the manifest asked for it."""
    return f"{frame['actual_seconds']:.2f} s" + (" *" if frame["source"] == "support" else "")
