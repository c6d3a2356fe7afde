"""Change the geometry of an image: square pixels, crop, center crop, pad, resize; and flatten its alpha channel."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from tasks.engine.contract.errors import BadInput
from tasks.frames.encoding import resize_image
from tasks.frames.params import FramesParams
from tasks.media.orientation import ImageArray, ImageOptions

_BACKGROUNDS = {"black": 0.0, "white": 1.0}


def get_image_options(params: FramesParams) -> ImageOptions:
    """Return the options of the conversion of frames to images."""
    return ImageOptions(
        deinterlace=params.deinterlace == "flagged",
        map_tones=params.hdr == "sdr",
        depth=params.depth,
        alpha=params.alpha != "drop",
    )


def process_image(image: ImageArray, pixel_aspect: Fraction, params: FramesParams) -> ImageArray:
    """Return ``image`` (height x width x 3 or 4, BGR) with the changes that the options ask for, in a fixed order.

    Raises BadInput if it does not contain the rectangle of ``--crop``.
    """
    if params.square_pixels:
        image = make_pixels_square(image, pixel_aspect)
    if params.crop is not None:
        image = crop_image(image, params.crop)
    if params.center_crop is not None:
        image = center_crop(image, _parse_aspect(params.center_crop))
    if params.pad is not None:
        image = pad_image(image, _parse_aspect(params.pad))
    if params.alpha in _BACKGROUNDS:
        image = flatten_alpha(image, _BACKGROUNDS[params.alpha])
    return resize_image(image, params.resize)


def make_pixels_square(image: ImageArray, pixel_aspect: Fraction) -> ImageArray:
    """Return ``image`` at its width times ``pixel_aspect``, as players show it."""
    height, width = image.shape[:2]
    shown = max(1, round(width * pixel_aspect))
    return image if shown == width else resize_image(image, f"{shown}x{height}")


def crop_image(image: ImageArray, crop: str) -> ImageArray:
    """Return the rectangle WxH+X+Y of ``image``. Raises BadInput if it is not inside."""
    size, left, top = crop.split("+")
    width, height = map(int, size.split("x"))
    x, y = int(left), int(top)
    if y + height > image.shape[0] or x + width > image.shape[1]:
        shape = f"{image.shape[1]}x{image.shape[0]}"
        raise BadInput(f"--crop {crop} is not inside its frames of {shape}; use a smaller rectangle, or --center-crop")
    return np.ascontiguousarray(image[y : y + height, x : x + width])


def center_crop(image: ImageArray, aspect: Fraction) -> ImageArray:
    """Return the largest part of ``image`` with the aspect ratio ``aspect``, from its center."""
    height, width = image.shape[:2]
    new_width, new_height = min(width, max(1, round(height * aspect))), min(height, max(1, round(width / aspect)))
    x, y = (width - new_width) // 2, (height - new_height) // 2
    return np.ascontiguousarray(image[y : y + new_height, x : x + new_width])


def pad_image(image: ImageArray, aspect: Fraction) -> ImageArray:
    """Return ``image`` in the center of the smallest black image with the aspect ratio ``aspect``."""
    height, width = image.shape[:2]
    new_width, new_height = max(width, round(height * aspect)), max(height, round(width / aspect))
    x, y = (new_width - width) // 2, (new_height - height) // 2
    edges = y, new_height - height - y, x, new_width - width - x
    opaque = (0.0, 0.0, 0.0, float(np.iinfo(image.dtype).max))
    padded: Any = cv2.copyMakeBorder(image, *edges, cv2.BORDER_CONSTANT, value=opaque)
    return np.asarray(padded, dtype=image.dtype)


def flatten_alpha(image: ImageArray, background: float) -> ImageArray:
    """Return the colors of ``image`` on a background from 0 (black) to 1 (white)."""
    largest = np.iinfo(image.dtype).max
    alpha = image[..., 3:].astype(np.float64) / largest
    mixed = image[..., :3] * alpha + background * largest * (1 - alpha)
    return np.asarray(np.rint(mixed), dtype=image.dtype)


def _parse_aspect(text: str) -> Fraction:
    width, height = text.split(":")
    return Fraction(int(width), int(height))
