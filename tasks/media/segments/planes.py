"""Views and digests of the stored pixels of a frame, without conversion to RGB."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from tasks.media.segments.picture import drop_range

Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def view_planes(frame: VideoFrame) -> tuple[Plane, ...]:
    """Return views of the planes of ``frame``: height x width, uint8, or uint16 for more than 8 bits per sample.

    If a plane holds several components (nv12, rgb24), a row contains all of them. Call ``frame.make_writable()`` before
    writing. Raises ValueError for formats whose samples are not whole bytes.
    """
    return tuple(_view_plane(frame, number) for number in range(len(frame.planes)))


def hash_frame(frame: VideoFrame) -> str:
    """Return a digest of size, pixel format and all pixels, in 32 hexadecimal digits; time and flags do not count."""
    header = f"{frame.width}x{frame.height} {drop_range(frame.format.name)}"
    digest = hashlib.blake2b(header.encode(), digest_size=16)
    for number in range(len(frame.planes)):
        digest.update(np.ascontiguousarray(_view_rows(frame, number)).data)
    return digest.hexdigest()


def _view_plane(frame: VideoFrame, number: int) -> Plane:
    bits = {component.bits for component in frame.format.components}
    if max(bits) > 16 or frame.format.is_bit_stream or frame.format.has_palette or min(bits) < 8:
        raise ValueError(f"samples of the format {frame.format.name} are not whole bytes")
    rows = _view_rows(frame, number)
    if max(bits) == 8:
        return rows
    order = ">" if frame.format.is_big_endian else "<"
    view: Plane = rows.view(np.dtype(f"{order}u2"))
    return view


def _view_rows(frame: VideoFrame, number: int) -> npt.NDArray[np.uint8]:
    """Return a view of the visible bytes of plane ``number``: height x bytes per row."""
    plane = frame.planes[number]
    stride = abs(plane.line_size)
    memory: Any = plane
    rows = np.frombuffer(memory, dtype=np.uint8).reshape(plane.height, -1) if stride else None
    if rows is None or plane.line_size < 0:
        raise ValueError(f"rows of {stride} bytes that are upside down or missing")
    return rows[:, : _count_row_bytes(frame.format, number, plane.width, stride)]


def _count_row_bytes(pixel_format: VideoFormat, number: int, width: int, stride: int) -> int:
    """Return the number of image bytes per row of plane ``number``; the rest is padding."""
    if pixel_format.has_palette:
        return min(stride, width)
    components = [component for component in pixel_format.components if component.plane == number]
    if len(components) == len(pixel_format.components):  # packed: pixels may share chroma samples
        return -(-width * pixel_format.padded_bits_per_pixel // 8)
    return width * len(components) * (2 if max(component.bits for component in components) > 8 else 1)
