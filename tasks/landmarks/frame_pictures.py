"""The frames of a folder of pictures."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError, WebPImagePlugin

from tasks.engine.contract.errors import BadInput, TransientError
from tasks.engine.contract.text import showable
from tasks.landmarks.frame_source import Frame, FrameSource
from tasks.landmarks.layouts.collection import FRAMES_FPS
from tasks.landmarks.sequence import RgbImage
from tasks.media.folder import natural
from tasks.media.kinds import PICTURE_SUFFIXES, suffix_of
from tasks.media.scan import is_hidden

# 5792 x 5792, three times what a video of 4K has: 240 MB while it is decoded (7 bytes a pixel, measured), which with
# the model is what a slot may use. A PNG of some kB can say that it is a thousand times as large.
MAX_PIXELS = 2**25
# No picture of so many pixels needs more: 16 bits of four channels, and something over.
MAX_FILE_BYTES = 2**30
# Whatever the name says. WebP's plugin is named so that Pillow need not load all that it has to find it.
_FORMATS = ("PNG", "JPEG", "BMP", WebPImagePlugin.WebPImageFile.format)
_PASSING = frozenset({errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EAGAIN})
_ORIENTATION = 0x0112
# EXIF 2.32, table 7: where the first row and column of what is stored are shown.
_TURNS = {
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
_PNG_CUT = "is cut short"
_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")


class UnreadablePictureError(Exception):
    """A picture that is there and cannot be read; says why in one clause."""


class PictureFrames(FrameSource):
    """The pictures of a folder in natural order, shown ``fps`` times a second."""

    def __init__(self, folder: Path, fps: float | None) -> None:
        """Raises BadInput where the folder is gone, is none, or holds no pictures."""
        self._folder = folder
        self._names = picture_names(folder)
        self._fps = FRAMES_FPS if fps is None else fps

    @property
    def fps(self) -> float:
        """Pictures a second."""
        return self._fps

    @property
    def frames(self) -> int:
        """How many pictures there are."""
        return len(self._names)

    def close(self) -> None:
        """Nothing stays open between two pictures."""

    def __iter__(self) -> Iterator[Frame]:
        """Every picture; BadInput where one is gone, and at the end where none could be read."""
        first_reason = ""
        sound = 0
        for number, name in enumerate(self._names):
            frame = self._frame(number, name)
            sound += not frame.reason
            first_reason = first_reason or f"{frame.name} {frame.reason}"
            yield frame
        if not sound:
            given = f"none of its {self.frames} pictures can be read; the first: {first_reason}"
            raise BadInput(f"{self._folder.name}: {given}")

    def _frame(self, number: int, name: str) -> Frame:
        seconds = number / self.fps
        try:
            picture = decoded(file_bytes(self._folder / name))
        except FileNotFoundError as error:
            given = f"{showable(name)}, picture {number + 1} of {self.frames}, is gone since the folder was listed"
            raise BadInput(f"{self._folder.name}: {given}; run again when nothing changes it") from error
        except UnreadablePictureError as error:
            return Frame(number, showable(name), seconds, None, showable(str(error)))
        return Frame(number, showable(name), seconds, picture)


def picture_names(folder: Path) -> list[str]:
    """The names of the pictures right in ``folder``, in natural order. Raises BadInput where there are none."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _is_picture(entry)]
    except OSError as error:
        raise _refused(folder, error) from error
    if not names:
        kinds = ", ".join(sorted(PICTURE_SUFFIXES))
        raise BadInput(f"{folder.name}: holds no pictures; their names must end in {kinds}")
    return sorted(names, key=natural)


def _refused(folder: Path, error: OSError) -> BadInput | TransientError:
    if error.errno in _PASSING:
        return TransientError(f"{folder.name}: {error.strerror}")
    if isinstance(error, FileNotFoundError):
        return BadInput(f"{folder.name}: the folder is gone since the run began")
    return BadInput(f"{folder.name}: cannot be listed as a folder ({error.strerror})")


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return suffix_of(entry.name) in PICTURE_SUFFIXES and not is_hidden(entry.name) and not entry.is_dir()


def file_bytes(path: Path) -> bytes:
    """The file's content.

    Raises FileNotFoundError where it is gone, TransientError where the file system failed, UnreadablePictureError for
    what is no file, is too large or may not be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadablePictureError("is a pipe or a device, not a picture")
        if status.st_size > MAX_FILE_BYTES:
            raise UnreadablePictureError(f"has {status.st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        return path.read_bytes()
    except OSError as error:
        if error.errno in _PASSING:
            raise TransientError(f"{path.name}: {error.strerror}") from error
        if isinstance(error, FileNotFoundError) and path.is_symlink():
            raise UnreadablePictureError("is a link to nothing") from error
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise FileNotFoundError(*error.args) from error
        raise UnreadablePictureError(f"cannot be read ({error.strerror})") from error


def decoded(data: bytes) -> RgbImage:
    """The picture in ``data``, upright: uint8, height x width x 3, RGB, contiguous.

    Of 16 bits the upper eight are taken, grey is all three channels, and what shines through is put on black. Raises
    UnreadablePictureError for what is no picture, too large, or not there in full: a half picture is none.
    """
    if not data:
        raise UnreadablePictureError("is empty (0 bytes)")
    if data.startswith(_PNG):
        _check_png(data)
    try:
        with _quietly(), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width} x {image.height}"
                raise UnreadablePictureError(f"is {size}; at most {MAX_PIXELS:,} pixels are read; shrink it")
            image.load()
            return _rgb(image)
    except Image.DecompressionBombError as error:
        raise UnreadablePictureError(f"is too large: at most {MAX_PIXELS:,} pixels are read; shrink it") from error
    except UnidentifiedImageError as error:
        raise UnreadablePictureError("is no PNG, JPEG, BMP or WebP picture, or its beginning is damaged") from error
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error, zlib.error) as error:
        raise UnreadablePictureError(f"is damaged: {error}") from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without Pillow's warnings: of broken EXIF, which concerns nobody, and of sizes that are refused anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_png(data: bytes) -> None:
    """Compare the checksum of every chunk (ISO/IEC 15948, 5.3), which decoders do not do for the pixels' chunks.

    Takes 0.02 ms for 50 kB. Raises UnreadablePictureError for a chunk that differs or is cut off.
    """
    view = memoryview(data)
    at = len(_PNG)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        if end + 4 > len(data):
            raise UnreadablePictureError(_PNG_CUT)
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise UnreadablePictureError("is damaged: a checksum in it is wrong")
        if data[at + 4 : at + 8] == b"IEND":
            return
        at = end + 4
    raise UnreadablePictureError(_PNG_CUT)


def _rgb(image: Image.Image) -> RgbImage:
    image = _upright(image)
    if image.mode in _SIXTEEN_BITS:
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        image = Image.new("RGB", image.size)
        image.paste(whole, mask=whole.getchannel("A"))
    return _array(image if image.mode == "RGB" else image.convert("RGB"))


def _array(image: Image.Image) -> RgbImage:
    """The pixels of an RGB image. Band by band where it is large: NumPy and Pillow would hold it three times over."""
    rows = max(1, _BAND_PIXELS // image.width)
    if image.height <= rows:
        return np.array(image)
    picture = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, rows):
        below = min(top + rows, image.height)
        picture[top:below] = np.asarray(image.crop((0, top, image.width, below)))
    return picture


def _upright(image: Image.Image) -> Image.Image:
    """``image`` turned as its EXIF says, where it says so; where the EXIF is broken, it says nothing."""
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, KeyError, EOFError, OSError, struct.error):
        return image
    return image if turn is None else image.transpose(turn)
