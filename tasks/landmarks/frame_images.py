"""The frames of an image folder."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError, WebPImagePlugin

from tasks.engine.contract.errors import BadInput, TransientError
from tasks.engine.contract.text import showable
from tasks.landmarks.deep_images import UsedBits, decode_deep_png, is_deep_png, read_significant_bits
from tasks.landmarks.frame_source import Conversion, Frame, FrameSource
from tasks.landmarks.layouts.collection import FRAMES_FPS
from tasks.landmarks.sequence import RgbImage
from tasks.media.folder import natural_sort_key
from tasks.media.kinds import IMAGE_SUFFIXES, get_suffix
from tasks.media.scan import is_hidden

# 5792 x 5792, three times the pixels of 4K video: 240 MB during decoding (measured: 7 bytes per pixel), which is a
# slot's memory together with the model. A PNG of a few kB can declare a size a thousand times as large.
MAX_PIXELS = 2**25
# Upper limit for an image of MAX_PIXELS: four channels of 16 bits, with a margin.
MAX_FILE_BYTES = 2**30
# Formats, whatever the file name says. Naming WebP's plugin keeps Pillow from loading all plugins.
_FORMATS = ("PNG", "JPEG", "BMP", WebPImagePlugin.WebPImageFile.format)
_TRANSIENT_ERRNOS = frozenset({errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EAGAIN})
_ORIENTATION = 0x0112
# EXIF 2.32, table 7: orientation of the stored rows and columns.
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BAND_PIXELS = 2**20
_PNG = b"\x89PNG\r\n\x1a\n"
_TRUNCATED = "is truncated"
_DEPTH_SAMPLES = 8


class UnreadableImageError(Exception):
    """An image that exists but cannot be read; the message is the reason, as one clause."""


class ImageFrames(FrameSource):
    """The images of a folder in natural order, displayed ``fps`` times per second.

    Values of 16-bit images are scaled by the bits that they use. A few images of the folder show how many these are.
    """

    def __init__(self, folder: Path, fps: float | None) -> None:
        """Raises BadInput if the folder is missing, is not a folder, or contains no images."""
        self._folder = folder
        self._names = list_images(folder)
        self._fps = FRAMES_FPS if fps is None else fps
        self._used = UsedBits()

    @property
    def fps(self) -> float:
        """Return the number of images per second."""
        return self._fps

    @property
    def frames(self) -> int:
        """Return the number of images."""
        return len(self._names)

    @property
    def conversion(self) -> Conversion:
        """Return by how many bits 16-bit images were scaled."""
        return Conversion(image_bits=self._used.bits)

    def close(self) -> None:
        """Do nothing: no file stays open between two images."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield every image. Raises BadInput if one is missing, and at the end if none is readable."""
        first_reason = ""
        readable = 0
        self._learn_bits()
        for number, name in enumerate(self._names):
            frame = self._frame(number, name)
            readable += not frame.reason
            first_reason = first_reason or f"{frame.name} {frame.reason}"
            yield frame
        if not readable:
            given = f"none of its {self.frames} images can be read; the first: {first_reason}"
            raise BadInput(f"{self._folder.name}: {given}")

    def _learn_bits(self) -> None:
        """Learn the used bits from images all over the folder: the first ones may be dark."""
        step = max(1, len(self._names) // _DEPTH_SAMPLES)
        for name in self._names[::step]:
            with suppress(FileNotFoundError, UnreadableImageError):
                data = read_file(self._folder / name)
                if not is_deep_png(data):
                    return
                decode_image(data, self._used)

    def _frame(self, number: int, name: str) -> Frame:
        seconds = number / self.fps
        try:
            image = decode_image(read_file(self._folder / name), self._used)
        except FileNotFoundError as error:
            given = f"{showable(name)}, image {number + 1} of {self.frames}, was removed after the folder was listed"
            raise BadInput(f"{self._folder.name}: {given}; run again when no program changes the folder") from error
        except UnreadableImageError as error:
            return Frame(number, showable(name), seconds, None, showable(str(error)))
        return Frame(number, showable(name), seconds, image)


def list_images(folder: Path) -> list[str]:
    """Return the names of the images directly in ``folder``, in natural order. Raises BadInput if there are none."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _is_image(entry)]
    except OSError as error:
        raise _create_listing_error(folder, error) from error
    if not names:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise BadInput(f"{folder.name}: contains no images; their names must end in {kinds}")
    return sorted(names, key=natural_sort_key)


def _create_listing_error(folder: Path, error: OSError) -> BadInput | TransientError:
    if error.errno in _TRANSIENT_ERRNOS:
        return TransientError(f"{folder.name}: {error.strerror}")
    if isinstance(error, FileNotFoundError):
        return BadInput(f"{folder.name}: the folder was removed after the run started")
    return BadInput(f"{folder.name}: cannot be listed as a folder ({error.strerror})")


def _is_image(entry: os.DirEntry[str]) -> bool:
    return get_suffix(entry.name) in IMAGE_SUFFIXES and not is_hidden(entry.name) and not entry.is_dir()


def read_file(path: Path) -> bytes:
    """Return the file's content.

    Raises FileNotFoundError if it is missing, TransientError if the file system failed, UnreadableImageError if it is
    not a regular file, too large or not readable.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImageError("is a pipe or a device, not an image")
        if status.st_size > MAX_FILE_BYTES:
            raise UnreadableImageError(f"has {status.st_size:,} bytes; the maximum is {MAX_FILE_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        if error.errno in _TRANSIENT_ERRNOS:
            raise TransientError(f"{path.name}: {error.strerror}") from error
        if isinstance(error, FileNotFoundError) and path.is_symlink():
            raise UnreadableImageError("is a broken symlink") from error
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise FileNotFoundError(*error.args) from error
        raise UnreadableImageError(f"cannot be read ({error.strerror})") from error


def decode_image(data: bytes, used: UsedBits) -> RgbImage:
    """Return the image in ``data``, upright: uint8, height x width x 3, RGB, contiguous.

    Images of 16 bits keep the upper 8 of the bits in ``used``, which are learned from this image too. Grey is copied to
    all channels, and transparency is blended with black. Raises UnreadableImageError for data that is not an image, too
    large, or truncated.
    """
    if not data:
        raise UnreadableImageError("is empty (0 bytes)")
    if data.startswith(_PNG):
        _check_png(data)
    try:
        with _suppress_warnings(), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width}x{image.height}"
                raise UnreadableImageError(f"is {size}; the maximum is {MAX_PIXELS:,} pixels; reduce its size")
            if is_deep_png(data):
                return _convert_deep(data, image, used)
            image.load()
            return _convert_to_rgb(image)
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"is too large: the maximum is {MAX_PIXELS:,} pixels; reduce its size") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError("is not a PNG, JPEG, BMP or WebP image, or its header is damaged") from error
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error, zlib.error) as error:
        raise UnreadableImageError(f"is damaged: {error}") from error


@contextmanager
def _suppress_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings about broken EXIF and about sizes that are refused anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_png(data: bytes) -> None:
    """Compare the checksum of every chunk (ISO/IEC 15948, 5.3); decoders skip this for the pixel data.

    Takes 0.02 ms for 50 kB. Raises UnreadableImageError for a wrong checksum or a truncated chunk.
    """
    view = memoryview(data)
    offset = len(_PNG)
    while offset + 12 <= len(data):
        end = offset + 8 + int.from_bytes(view[offset : offset + 4], "big")
        if end + 4 > len(data):
            raise UnreadableImageError(_TRUNCATED)
        if zlib.crc32(view[offset + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise UnreadableImageError("is damaged: a checksum does not match")
        if data[offset + 4 : offset + 8] == b"IEND":
            return
        offset = end + 4
    raise UnreadableImageError(_TRUNCATED)


def _convert_deep(data: bytes, image: Image.Image, used: UsedBits) -> RgbImage:
    """Return the 16-bit PNG image in ``data``; ``image`` has its header."""
    pixels = decode_deep_png(data)
    if pixels is None:
        raise UnreadableImageError("is damaged: its pixels cannot be decoded")
    used.learn(pixels, read_significant_bits(data))
    turn = _find_transposition(image)
    scaled = used.scale(pixels)
    return scaled if turn is None else np.array(Image.fromarray(scaled).transpose(turn))


def _convert_to_rgb(image: Image.Image) -> RgbImage:
    image = _apply_orientation(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", image.size)
        image.paste(rgba, mask=rgba.getchannel("A"))
    return _copy_pixels(image if image.mode == "RGB" else image.convert("RGB"))


def _copy_pixels(image: Image.Image) -> RgbImage:
    """Return the pixels of an RGB image. Large images are copied in bands: NumPy and Pillow would hold three copies."""
    rows = max(1, _BAND_PIXELS // image.width)
    if image.height <= rows:
        return np.array(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels


def _apply_orientation(image: Image.Image) -> Image.Image:
    """Return ``image`` rotated according to its EXIF orientation."""
    turn = _find_transposition(image)
    return image if turn is None else image.transpose(turn)


def _find_transposition(image: Image.Image) -> Image.Transpose | None:
    """Return what makes ``image`` upright by its EXIF orientation; broken EXIF is ignored."""
    try:
        return _TRANSPOSITIONS.get(image.getexif().get(_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, KeyError, EOFError, OSError, struct.error):
        return None
