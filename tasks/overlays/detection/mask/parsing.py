"""What the user says is an overlay: a picture of it, or a box."""

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
from tasks.media.orientation import Turn, matrix_turn
from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box, bound_mask
from tasks.overlays.components import Shape, aligned, component_shape, planar_name
from tasks.overlays.detection.placing import box_overlay, turned_back, unknown_layers
from tasks.overlays.overlay import FrameRange, Mask, Overlay

_OPTION = "--mask"
_BOX = re.compile(r"\s*(\d{1,5})\s*,\s*(\d{1,5})\s*,\s*(\d{1,5})\s*[xX]\s*(\d{1,5})\s*")
_NUMBERS = re.compile(r"[\s\d.,;:xX+-]+")
_ALLOWED = "a picture (PNG) of the video's size, or a box as LEFT,TOP,WIDTHxHEIGHT in pixels, as in 20,16,180x64"
_MOST_PIXELS = 2**26  # as of a video's pictures
_MAX_FILE_BYTES = 2**28


@dataclass(frozen=True)
class PictureMask:
    """A mask that was read from a picture: bool, height x width; True where the overlay is."""

    mask: Mask
    name: str


GivenMask = Box | PictureMask


def parse_mask(text: str) -> GivenMask | Problem:
    """What ``--mask`` gives: a box, or the mask in a picture file; a problem where it is neither."""
    if found := _BOX.fullmatch(text):
        box = Box(*map(int, found.groups()))
        return box if box.width and box.height else _problem(f"the box {text.strip()} is empty", "give it a size")
    path = Path(text).expanduser()
    if _NUMBERS.fullmatch(text) and not path.exists():
        return _problem(f"{text!r} is no box", "write it as in the example")
    return _read_picture(path)


def fit_mask(given: GivenMask, found: Survey, name: str) -> Overlay | Problem:
    """The overlay that ``given`` says of the surveyed video ``name``; a problem where it does not fit.

    Sizes and places are those of the picture as it is shown, which is what a user sees of a video that is turned.
    """
    picture = found.picture
    width, height = picture.width_px, picture.height_px
    turn = matrix_turn(found.display_matrix)
    shown = (height, width) if turn[0] == 0 else (width, height)
    if problem := mask_problem(given, *shown, name):
        return problem
    shape = component_shape(planar_name(picture.pixel_format))
    return overlay_of_mask(_as_stored(given, turn, width, height), shape, width, height, len(found.timeline))


def _as_stored(given: GivenMask, turn: Turn, width_px: int, height_px: int) -> GivenMask:
    """``given``, which fits the upright picture, for the picture as it is stored, whose size is given."""
    if isinstance(given, Box):
        box = np.array([[given.x, given.y, given.right, given.bottom]], np.float32)
        left, top, right, bottom = (round(float(edge)) for edge in turned_back(box, turn, width_px, height_px)[0])
        return Box(left, top, right - left, bottom - top)
    a, b, c, d = turn
    mask = given.mask[:: -1 if b + d < 0 else 1, :: -1 if a + c < 0 else 1]
    return PictureMask(np.ascontiguousarray(mask.T if a == 0 else mask), given.name)


def mask_problem(given: GivenMask, width_px: int, height_px: int, name: str) -> Problem | None:
    """Why ``given`` does not fit the video ``name``, whose picture has that size; None where it does."""
    size = f"{width_px}x{height_px}"
    if isinstance(given, Box):
        if given.right <= width_px and given.bottom <= height_px:
            return None
        text = f"{given.x},{given.y},{given.width}x{given.height}"
        advice = f"it ends at {given.right},{given.bottom}: move it or make it smaller"
        return Problem(_OPTION, f"the box {text} leaves the picture of {name}", f"within {size}", advice)
    height, width = given.mask.shape
    if (width, height) == (width_px, height_px):
        return None
    advice = "make the mask from a frame of the video, or give a box"
    return Problem(_OPTION, f"{given.name} has {width}x{height} pixels and {name} {size}", f"{size} for it", advice)


def overlay_of_mask(given: GivenMask, shape: Shape, width_px: int, height_px: int, frames: int) -> Overlay:
    """The overlay that ``given`` says of a video with ``frames`` frames; ``mask_problem`` has nothing against it.

    It shows in all of them, and neither its opacity nor its colour is known.
    """
    ranges = (FrameRange(0, frames),)
    if isinstance(given, Box):
        return box_overlay(given, shape, (width_px, height_px), ranges, "mask")
    box = aligned(bound_mask(given.mask), shape, width_px, height_px)
    within = given.mask[box.part]
    return Overlay(box, unknown_layers(within, shape), ranges, "mask", 1.0)


def _read_picture(path: Path) -> PictureMask | Problem:
    """The mask in the picture at ``path``."""
    shown = shorten(str(path))
    if not path.is_file():
        return _problem(f"{shown} is {'a folder' if path.is_dir() else 'neither a file nor a box'}", "check it")
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            return _problem(f"{shown} has {path.stat().st_size:,} bytes", f"at most {_MAX_FILE_BYTES:,} are read")
        data = np.fromfile(path, np.uint8)
        if (size := _stated_pixels(data)) > _MOST_PIXELS:
            return _problem(f"{shown} has more than {_MOST_PIXELS:,} pixels", "give it the size of the video")
        picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if size else None
    except OSError as error:
        return _problem(f"{shown} cannot be read ({error.strerror})", "check its permissions")
    except cv2.error:
        picture = None
    if picture is None:
        return _problem(f"{shown} is no picture or a damaged one", "write it again as PNG")
    mask = _mask_of(np.asarray(picture))
    wrong = _useless(mask)
    return _problem(f"{shown} is {wrong}", _ADVICE) if wrong else PictureMask(mask, path.name)


_ADVICE = "make what is to be removed white or opaque, and the rest black or transparent"


def _stated_pixels(data: npt.NDArray[np.uint8]) -> int:
    """Return the pixels that an image file says it has; 0 if its format is unknown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # nothing is decompressed here
            with Image.open(io.BytesIO(data.tobytes())) as image:
                return image.width * image.height
    except Image.DecompressionBombError:
        return _MOST_PIXELS + 1
    except (OSError, ValueError, SyntaxError, struct.error, OverflowError):
        return 0


def _mask_of(picture: npt.NDArray[np.integer]) -> Mask:
    """Where the overlay is: what is not transparent where the picture has transparency, else what is rather white."""
    if picture.ndim == 3 and picture.shape[2] == 4 and not _is_opaque(picture[:, :, 3]):
        return np.asarray(picture[:, :, 3] > 0)
    brightest = picture if picture.ndim == 2 else picture[:, :, :3].max(axis=2)
    return np.asarray(brightest >= (np.iinfo(picture.dtype).max + 1) // 2)


def _is_opaque(alpha: npt.NDArray[np.integer]) -> bool:
    return bool((alpha == np.iinfo(alpha.dtype).max).all())


def _useless(mask: Mask) -> str:
    """What is wrong with a mask that marks nothing, or leaves nothing to fill it from."""
    if not mask.any():
        return "black or transparent all over: it marks nothing"
    return "white or opaque all over: it leaves nothing of the picture" if mask.all() else ""


def _problem(given: str, advice: str) -> Problem:
    return Problem(_OPTION, given, _ALLOWED, advice)
