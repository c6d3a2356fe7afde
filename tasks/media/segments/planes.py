"""The pixels of a decoded frame as they are stored: views and digests, without a trip through RGB."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from tasks.media.segments.picture import plain_name

Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def planes(frame: VideoFrame) -> tuple[Plane, ...]:
    """The planes of ``frame`` as views: height x width of that plane, uint8, or uint16 where a sample has more bits.

    Where samples of several components lie side by side (nv12, rgb24) a row holds all of them. Call
    ``frame.make_writable()`` before writing to them. Raises ValueError for formats whose samples are no whole bytes.
    """
    return tuple(_view(frame, number) for number in range(len(frame.planes)))


def frame_digest(frame: VideoFrame) -> str:
    """32 hexadecimal digits of what ``frame`` shows: size, pixel format and every pixel; not its time or its flags."""
    what = f"{frame.width}x{frame.height} {plain_name(frame.format.name)}"
    digest = hashlib.blake2b(what.encode(), digest_size=16)
    for number in range(len(frame.planes)):
        digest.update(np.ascontiguousarray(_rows(frame, number)).data)
    return digest.hexdigest()


def _view(frame: VideoFrame, number: int) -> Plane:
    bits = {component.bits for component in frame.format.components}
    if max(bits) > 16 or frame.format.is_bit_stream or frame.format.has_palette or min(bits) < 8:
        raise ValueError(f"pixels of the format {frame.format.name} are no whole bytes")
    rows = _rows(frame, number)
    if max(bits) == 8:
        return rows
    order = ">" if frame.format.is_big_endian else "<"
    view: Plane = rows.view(np.dtype(f"{order}u2"))
    return view


def _rows(frame: VideoFrame, number: int) -> npt.NDArray[np.uint8]:
    """The visible bytes of plane ``number``: height x bytes a row, a view."""
    plane = frame.planes[number]
    stride = abs(plane.line_size)
    memory: Any = plane
    rows = np.frombuffer(memory, dtype=np.uint8).reshape(plane.height, -1) if stride else None
    if rows is None or plane.line_size < 0:
        raise ValueError(f"rows of {stride} bytes that lie upside down or nowhere")
    return rows[:, : _row_bytes(frame.format, number, plane.width, stride)]


def _row_bytes(pixel_format: VideoFormat, number: int, width: int, stride: int) -> int:
    """How many bytes of a row of plane ``number`` are picture; the rest is padding."""
    if pixel_format.has_palette:
        return min(stride, width)
    mine = [component for component in pixel_format.components if component.plane == number]
    if len(mine) == len(pixel_format.components):  # all in one plane: samples of chroma may be shared by pixels
        return -(-width * pixel_format.padded_bits_per_pixel // 8)
    return width * len(mine) * (2 if max(component.bits for component in mine) > 8 else 1)
