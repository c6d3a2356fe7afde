"""Encode an image as a file: the same image always gives the same bytes."""

from __future__ import annotations

import cv2
import numpy as np

from tasks.engine.contract.errors import BadInput
from tasks.frames.params import FramesParams
from tasks.media.orientation import ImageArray

_PNG_COMPRESSION = 3
_AVIF_SPEED = 8  # of 10
# Maximum side length of the format, or of OpenCV's encoder for it.
_MAX_SIDE_PX = {"jpg": 65_500, "png": 1_000_000, "webp": 16_383, "avif": 65_536}


def encode_image(image: ImageArray, params: FramesParams) -> bytes:
    """Return ``image`` (uint8, height x width x 3 or 4, BGR) as a jpg, png, webp or avif file; uint16 as png only.

    Raises BadInput if a side is too long for the format.
    """
    height, width = image.shape[:2]
    max_side = _MAX_SIDE_PX[params.image_format]
    if max(height, width) > max_side:
        size = f"{width}x{height}"
        raise BadInput(
            f"an image of {size} is too large for {params.image_format} (at most {max_side} px); use --resize"
        )
    options = {
        "jpg": [cv2.IMWRITE_JPEG_QUALITY, params.quality],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, params.quality],
        "avif": [cv2.IMWRITE_AVIF_QUALITY, params.quality, cv2.IMWRITE_AVIF_SPEED, _AVIF_SPEED],
    }
    is_encoded, data = cv2.imencode(f".{params.image_format}", image, options[params.image_format])
    if not is_encoded:
        raise ValueError(f"OpenCV cannot write an image of shape {image.shape} as {params.image_format}")
    return bytes(data)


def resize_image(image: ImageArray, resize: str | None) -> ImageArray:
    """Return ``image`` at the size that FramesParams.resize names; the longest side never grows."""
    height, width = image.shape[:2]
    size = compute_target_size(width, height, resize)
    if size == (width, height):
        return image
    shrinks = size[0] <= width and size[1] <= height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=image.dtype)


def compute_target_size(width_px: int, height_px: int, resize: str | None) -> tuple[int, int]:
    """Return the output width and height in pixels, each at least 1."""
    if resize is None:
        return width_px, height_px
    if "x" in resize:
        width, height = resize.split("x")
        return int(width), int(height)
    longest = max(width_px, height_px)
    if longest <= int(resize):
        return width_px, height_px
    return tuple(max(1, round(side * int(resize) / longest)) for side in (width_px, height_px))  # type: ignore[return-value]
