"""Frames as one array per component, and back: every sample of every component, exactly as stored.

Packed formats (nv12, rgb24, yuyv422) have a planar equivalent with the same samples in another order. Frames are
processed and written in that format.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tasks.engine.contract.errors import BadInput
from tasks.media.segments.planes import Plane, view_planes
from tasks.overlays.boxes import Box
from tasks.overlays.overlay import Floats, Mask

# Packed or half-packed formats, and the planar format with the same samples.
_TWINS = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "p010le": "yuv420p10le",
    "p210le": "yuv422p10le",
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgb0": "gbrp",
    "bgr0": "gbrp",
    "0rgb": "gbrp",
    "0bgr": "gbrp",
    "rgba": "gbrap",
    "bgra": "gbrap",
    "argb": "gbrap",
    "abgr": "gbrap",
    "rgb48le": "gbrp16le",
}


@dataclass(frozen=True)
class Shape:
    """The components of a planar pixel format.

    bits       of a sample
    divisors   for each component, the divisors of the frame's width and height, rounded up
    is_rgb     the components are green, blue, red
    """

    pixel_format: str
    bits: int
    divisors: tuple[tuple[int, int], ...]
    is_rgb: bool

    @property
    def step(self) -> tuple[int, int]:
        """The grid (x, y) on which box edges lie between whole samples of all components."""
        return max(x for x, _ in self.divisors), max(y for _, y in self.divisors)

    def get_part(self, box: Box, component: int) -> tuple[slice, slice]:
        """Return rows and columns of that component in ``box``, whose edges are multiples of ``step``.

        At the right and bottom of a frame of odd size, an edge may lie one sample outside.
        """
        across, down = self.divisors[component]
        rows = slice(box.y // down, -(-box.bottom // down))
        return rows, slice(box.x // across, -(-box.right // across))


def get_planar_format(pixel_format: str) -> str:
    """Return the planar format with the same samples; the format itself if it is planar."""
    return _TWINS.get(pixel_format, pixel_format)


def read_shape(pixel_format: str) -> Shape:
    """Return the component layout of the planar ``pixel_format``. Raises BadInput if it is not supported."""
    video_format = VideoFormat(pixel_format)
    components = video_format.components
    bits = {component.bits for component in components}
    planar = video_format.is_planar or len(components) == 1
    if (
        not planar
        or video_format.has_palette
        or video_format.is_bit_stream
        or len(bits) != 1
        or not 8 <= min(bits) <= 16
    ):
        raise BadInput(f"frames of the pixel format {pixel_format} are not supported; convert the video to yuv420p")
    wide, high = VideoFormat(pixel_format, 64, 64), 64
    divisors = tuple((high // component.width, high // component.height) for component in wide.components)
    return Shape(pixel_format, min(bits), divisors, video_format.is_rgb)


class ComponentReader:
    """Reads the components of frames; keeps the converter of packed frames."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def make_planar(self, frame: VideoFrame) -> VideoFrame:
        """Return ``frame`` or its planar equivalent: the same samples, writable, with the decoder's metadata."""
        name = get_planar_format(frame.format.name)
        if name != frame.format.name:
            return self._reformatter.reformat(frame, format=name)
        frame.make_writable()
        return frame

    def get_components(self, frame: VideoFrame) -> tuple[Plane, ...]:
        """Return views of the samples of a planar ``frame``: height x width of each component, uint8 or uint16."""
        return view_planes(frame)


def align_box(box: Box, shape: Shape, width_px: int, height_px: int) -> Box:
    """Return the smallest box around ``box`` whose edges are multiples of ``shape.step``, within the frame.

    The right and bottom edge of the frame count as multiples.
    """
    across, down = shape.step
    left, top = max(0, box.x // across * across), max(0, box.y // down * down)
    right = min(width_px, -(-box.right // across) * across)
    bottom = min(height_px, -(-box.bottom // down) * down)
    return Box(left, top, max(0, right - left), max(0, bottom - top))


def reduce_mask(mask: Mask, shape: Shape, component: int) -> Mask:
    """Return ``mask`` (bool, height x width in pixels) in samples of that component: True if any of their pixels is."""
    across, down = shape.divisors[component]
    if (across, down) == (1, 1):
        return mask
    height, width = mask.shape
    padded = np.pad(mask, ((0, -height % down), (0, -width % across)))
    blocks = padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across)
    return np.asarray(blocks.any(axis=(1, 3)))


def upsample(stack: npt.NDArray[np.generic], component: int, box: Box, shape: Shape) -> Floats:
    """Return a component's samples over ``box`` at the frame's resolution, in 8-bit codes.

    ``stack`` is frames x height x width; each sample is repeated for every pixel that it covers.
    """
    across, down = shape.divisors[component]
    rows = np.minimum(np.arange(box.y, box.bottom) // down, stack.shape[1] - 1)
    columns = np.minimum(np.arange(box.x, box.right) // across, stack.shape[2] - 1)
    part = stack[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    part /= np.float32(1 << (shape.bits - 8))
    return np.asarray(part[:, rows - rows[0]][:, :, columns - columns[0]], np.float32)


def upsample_plane(plane: Plane, component: int, box: Box, shape: Shape) -> Floats:
    """Return one frame's samples of a component over ``box`` at the frame's resolution, in 8-bit codes."""
    return np.ascontiguousarray(upsample(plane[None], component, box, shape)[0])


def average_blocks(values: Floats, divisor: tuple[int, int]) -> Floats:
    """Return the means of blocks of ``divisor`` (width, height); the last row and column are repeated as padding."""
    across, down = divisor
    height, width = values.shape
    padded = np.pad(values, ((0, -height % down), (0, -width % across)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))
