"""From a picture in memory to the bytes of an image file: the same bytes for the same picture, always."""

from __future__ import annotations

import cv2
import numpy as np

from tasks.engine.contract.errors import BadInput
from tasks.frames.params import FramesParams
from tasks.media.orientation import Picture

_PNG_COMPRESSION = 3
# What the format, or OpenCV for it, can hold on a side.
_LONGEST_SIDE_PX = {"jpg": 65_500, "png": 1_000_000, "webp": 16_383}


def encoded(picture: Picture, params: FramesParams) -> bytes:
    """``picture`` (uint8, height x width x 3, BGR) as a jpg, png or webp file.

    Raises BadInput where that format cannot hold so long a side.
    """
    height, width = picture.shape[:2]
    longest = _LONGEST_SIDE_PX[params.image_format]
    if max(height, width) > longest:
        size = f"{width} x {height} pixels"
        raise BadInput(f"a picture of {size} is too long for {params.image_format} (at most {longest}); give --resize")
    options = {
        "jpg": [cv2.IMWRITE_JPEG_QUALITY, params.quality],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, params.quality],
    }
    done, data = cv2.imencode(f".{params.image_format}", picture, options[params.image_format])
    if not done:
        raise ValueError(f"OpenCV cannot write a picture of {picture.shape} as {params.image_format}")
    return bytes(data)


def resized(picture: Picture, resize: str | None) -> Picture:
    """``picture`` at the size that FramesParams.resize names; the longest side only ever shrinks."""
    height, width = picture.shape[:2]
    size = target_size(width, height, resize)
    if size == (width, height):
        return picture
    shrinks = size[0] <= width and size[1] <= height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=method), dtype=np.uint8)


def target_size(width_px: int, height_px: int, resize: str | None) -> tuple[int, int]:
    """Width and height in pixels that a picture gets; at least one pixel each."""
    if resize is None:
        return width_px, height_px
    if "x" in resize:
        width, height = resize.split("x")
        return int(width), int(height)
    longest = max(width_px, height_px)
    if longest <= int(resize):
        return width_px, height_px
    return tuple(max(1, round(side * int(resize) / longest)) for side in (width_px, height_px))  # type: ignore[return-value]
