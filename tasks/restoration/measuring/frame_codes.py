"""Frames as arrays of luma and chroma in 8-bit codes, converted from any pixel format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tasks.media.segments.picture import FULL_RANGE
from tasks.media.segments.planes import view_planes

Floats: TypeAlias = npt.NDArray[np.float32]
_PLANAR_PREFIXES = ("yuv", "gray")


@dataclass(frozen=True)
class FrameCodes:
    """One frame in 8-bit codes of limited range.

    luma     float32, height x width
    chroma   float32, 2 x rows x columns: blue and red difference; zero rows if the frame is gray
    """

    luma: Floats
    chroma: Floats

    @property
    def step_x(self) -> int:
        """Horizontal luma pixels per chroma sample; 1 without chroma."""
        return max(1, round(self.luma.shape[1] / self.chroma.shape[2])) if self.chroma.size else 1

    @property
    def step_y(self) -> int:
        """Vertical luma pixels per chroma sample; 1 without chroma."""
        return max(1, round(self.luma.shape[0] / self.chroma.shape[1])) if self.chroma.size else 1


class FrameConverter:
    """Converts decoded frames; keeps the converter between them."""

    def __init__(self, color_range: int) -> None:
        self._full = color_range == FULL_RANGE
        self._reformatter = VideoReformatter()

    def read_luma(self, frame: VideoFrame) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """Return a view of the stored luma of ``frame``."""
        return view_planes(self._to_planar(frame))[0]

    def convert(self, frame: VideoFrame) -> FrameCodes:
        """Return ``frame`` in 8-bit codes."""
        frame = self._to_planar(frame)
        scale = np.float32(1 / (1 << (max(component.bits for component in frame.format.components) - 8)))
        luma, *chroma = (view.astype(np.float32) * scale for view in view_planes(frame)[:3])
        chroma_planes = np.stack(chroma) if len(chroma) == 2 else np.empty((2, 0, 0), np.float32)
        if self._full:
            luma, chroma_planes = luma * np.float32(219 / 255) + 16, (chroma_planes - 128) * np.float32(224 / 255) + 128
        return FrameCodes(luma, chroma_planes)

    def _to_planar(self, frame: VideoFrame) -> VideoFrame:
        """Return ``frame`` in a planar format with one or two bytes per sample."""
        pixel_format = frame.format
        is_planar = pixel_format.name.startswith(_PLANAR_PREFIXES) and pixel_format.is_planar
        is_gray = pixel_format.name.startswith("gray")
        if (is_planar or is_gray) and 8 <= max(part.bits for part in pixel_format.components) <= 16:
            return frame
        wide = any(part.bits > 8 for part in pixel_format.components)
        return self._reformatter.reformat(
            frame, format="yuv444p16le" if wide else _choose_planar_format(pixel_format.name)
        )


def _choose_planar_format(name: str) -> str:
    """Return the planar format with the same samples as ``name``, if there is one."""
    if name in {"nv12", "nv21"}:
        return "yuv420p"
    return "yuv422p" if name in {"yuyv422", "uyvy422", "yvyu422", "nv16"} else "yuv444p"
