"""Reads ``--mask``: an image that marks the overlay, or a box."""

from __future__ import annotations

import io
import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest import shorten
from tasks.media.orientation import Turn, parse_display_matrix
from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box, bound_mask
from tasks.overlays.components import Shape, align_box, get_planar_format, read_shape
from tasks.overlays.detection.placing import make_box_overlay, make_unknown_layers, turn_back
from tasks.overlays.overlay import FrameRange, Mask, Overlay

_OPTION = "--mask"
_BOX = re.compile(r"\s*(\d{1,5})\s*,\s*(\d{1,5})\s*,\s*(\d{1,5})\s*[xX]\s*(\d{1,5})\s*")
_NUMBERS = re.compile(r"[\s\d.,;:xX+-]+")
_ALLOWED = "an image (PNG) of the video's size, or a box as LEFT,TOP,WIDTHxHEIGHT in pixels, as in 20,16,180x64"
_MAX_PIXELS = 2**26  # as for video frames
_MAX_FILE_BYTES = 2**28


@dataclass(frozen=True)
class ImageMask:
    """A mask from an image file: bool, height x width; True under the overlay."""

    mask: Mask
    name: str


GivenMask = Box | ImageMask


def parse_mask(text: str) -> GivenMask | Problem:
    """Return the box, or the mask of the image file, that ``--mask`` gives; a problem if it is neither."""
    if match := _BOX.fullmatch(text):
        box = Box(*map(int, match.groups()))
        return box if box.width and box.height else _make_problem(f"the box {text.strip()} is empty", "give it a size")
    path = Path(text).expanduser()
    if _NUMBERS.fullmatch(text) and not path.exists():
        return _make_problem(f"{text!r} is not a box", "write it as in the example")
    return _read_image(path)


def place_mask(given: GivenMask, survey: Survey, name: str) -> Overlay | Problem:
    """Return the overlay that ``given`` marks in the surveyed video ``name``; a problem if it does not fit.

    Sizes and positions refer to the upright frame, which users see if a video is rotated.
    """
    picture = survey.picture
    width, height = picture.width_px, picture.height_px
    turn = parse_display_matrix(survey.display_matrix)
    shown = (height, width) if turn[0] == 0 else (width, height)
    if problem := check_mask(given, *shown, name):
        return problem
    shape = read_shape(get_planar_format(picture.pixel_format))
    return make_mask_overlay(_turn_to_stored(given, turn, width, height), shape, width, height, len(survey.timeline))


def _turn_to_stored(given: GivenMask, turn: Turn, width_px: int, height_px: int) -> GivenMask:
    """Return ``given``, which fits the upright frame, for the stored frame, whose size is given."""
    if isinstance(given, Box):
        box = np.array([[given.x, given.y, given.right, given.bottom]], np.float32)
        left, top, right, bottom = (round(float(edge)) for edge in turn_back(box, turn, width_px, height_px)[0])
        return Box(left, top, right - left, bottom - top)
    a, b, c, d = turn
    mask = given.mask[:: -1 if b + d < 0 else 1, :: -1 if a + c < 0 else 1]
    return ImageMask(np.ascontiguousarray(mask.T if a == 0 else mask), given.name)


def check_mask(given: GivenMask, width_px: int, height_px: int, name: str) -> Problem | None:
    """Return why ``given`` does not fit the video ``name`` with frames of that size; None if it fits."""
    size = f"{width_px}x{height_px}"
    if isinstance(given, Box):
        if given.right <= width_px and given.bottom <= height_px:
            return None
        text = f"{given.x},{given.y},{given.width}x{given.height}"
        advice = f"it ends at {given.right},{given.bottom}: move it or make it smaller"
        return Problem(_OPTION, f"the box {text} leaves the frame of {name}", f"within {size}", advice)
    height, width = given.mask.shape
    if (width, height) == (width_px, height_px):
        return None
    advice = "make the mask from a frame of the video, or give a box"
    return Problem(_OPTION, f"{given.name} has {width}x{height} pixels and {name} {size}", f"{size} for it", advice)


def make_mask_overlay(given: GivenMask, shape: Shape, width_px: int, height_px: int, frames: int) -> Overlay:
    """Return the overlay that ``given`` marks in a video with ``frames`` frames; ``check_mask`` must accept it.

    It shows in all frames; its opacity and color are unknown.
    """
    ranges = (FrameRange(0, frames),)
    if isinstance(given, Box):
        return make_box_overlay(given, shape, (width_px, height_px), ranges, "mask")
    box = align_box(bound_mask(given.mask), shape, width_px, height_px)
    within = given.mask[box.part]
    return Overlay(box, make_unknown_layers(within, shape), ranges, "mask", 1.0)


def _read_image(path: Path) -> ImageMask | Problem:
    """Return the mask in the image at ``path``."""
    shown = shorten(str(path))
    if not path.is_file():
        return _make_problem(f"{shown} is {'a folder' if path.is_dir() else 'not a file or a box'}", "check it")
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            return _make_problem(f"{shown} has {path.stat().st_size:,} bytes", f"at most {_MAX_FILE_BYTES:,} are read")
        data = np.fromfile(path, np.uint8)
        if (size := _read_pixel_count(data)) > _MAX_PIXELS:
            return _make_problem(f"{shown} has more than {_MAX_PIXELS:,} pixels", "use the size of the video")
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if size else None
    except OSError as error:
        return _make_problem(f"{shown} cannot be read ({error.strerror})", "check its permissions")
    except cv2.error:
        image = None
    if image is None:
        return _make_problem(f"{shown} is damaged or not an image", "write it again as PNG")
    mask = _make_mask(np.asarray(image))
    fault = _explain_useless(mask)
    return _make_problem(f"{shown} is {fault}", _ADVICE) if fault else ImageMask(mask, path.name)


_ADVICE = "make overlays white or opaque, and the rest black or transparent"


def _read_pixel_count(data: npt.NDArray[np.uint8]) -> int:
    """Return the pixels that an image file says it has; 0 if its format is unknown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # only the header is read
            with Image.open(io.BytesIO(data.tobytes())) as image:
                return image.width * image.height
    except Image.DecompressionBombError:
        return _MAX_PIXELS + 1
    except (OSError, ValueError, SyntaxError, struct.error, OverflowError):
        return 0


def _make_mask(image: npt.NDArray[np.integer]) -> Mask:
    """Return the marked pixels: those that are not transparent, or bright ones if the image is opaque."""
    if image.ndim == 3 and image.shape[2] == 4 and not _is_opaque(image[:, :, 3]):
        return np.asarray(image[:, :, 3] > 0)
    brightest = image if image.ndim == 2 else image[:, :, :3].max(axis=2)
    return np.asarray(brightest >= (np.iinfo(image.dtype).max + 1) // 2)


def _is_opaque(alpha: npt.NDArray[np.integer]) -> bool:
    return bool((alpha == np.iinfo(alpha.dtype).max).all())


def _explain_useless(mask: Mask) -> str:
    """Return why a mask cannot be used: it marks no pixels or all; empty if it can."""
    if not mask.any():
        return "entirely black or transparent: it marks no pixels"
    return "entirely white or opaque: it leaves no pixels of the frame" if mask.all() else ""


def _make_problem(given: str, advice: str) -> Problem:
    return Problem(_OPTION, given, _ALLOWED, advice)
