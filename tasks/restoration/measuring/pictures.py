"""A frame's luma and chroma as numbers in 8-bit codes, whatever format it is stored in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tasks.media.segments.picture import FULL_RANGE
from tasks.media.segments.planes import planes

Floats: TypeAlias = npt.NDArray[np.float32]
_TAKEN = ("yuv", "gray")


@dataclass(frozen=True)
class Picture:
    """One frame in 8-bit codes of limited range.

    luma     float32, height x width
    chroma   float32, 2 x rows x columns: blue and red difference; without rows where the frame is grey
    """

    luma: Floats
    chroma: Floats

    @property
    def step_x(self) -> int:
        """How many luma pixels lie side by side over a sample of chroma; 1 where there is no chroma."""
        return max(1, round(self.luma.shape[1] / self.chroma.shape[2])) if self.chroma.size else 1

    @property
    def step_y(self) -> int:
        """The same from top to bottom."""
        return max(1, round(self.luma.shape[0] / self.chroma.shape[1])) if self.chroma.size else 1


class PictureMaker:
    """Makes pictures of frames; keeps what converting needs."""

    def __init__(self, color_range: int) -> None:
        self._full = color_range == FULL_RANGE
        self._reformatter = VideoReformatter()

    def luma(self, frame: VideoFrame) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """The luma of ``frame`` as it is stored, a view."""
        return planes(self._planar(frame))[0]

    def picture(self, frame: VideoFrame) -> Picture:
        """``frame`` as numbers."""
        frame = self._planar(frame)
        scale = np.float32(1 / (1 << (max(component.bits for component in frame.format.components) - 8)))
        luma, *chroma = (view.astype(np.float32) * scale for view in planes(frame)[:3])
        both = np.stack(chroma) if len(chroma) == 2 else np.empty((2, 0, 0), np.float32)
        if self._full:
            luma, both = luma * np.float32(219 / 255) + 16, (both - 128) * np.float32(224 / 255) + 128
        return Picture(luma, both)

    def _planar(self, frame: VideoFrame) -> VideoFrame:
        """``frame`` with its components in planes of their own, each sample in one or two bytes."""
        form = frame.format
        is_planar = form.name.startswith(_TAKEN) and form.is_planar
        is_grey = form.name.startswith("gray")
        if (is_planar or is_grey) and 8 <= max(part.bits for part in form.components) <= 16:
            return frame
        wide = any(part.bits > 8 for part in form.components)
        return self._reformatter.reformat(frame, format="yuv444p16le" if wide else _same_chroma(form.name))


def _same_chroma(name: str) -> str:
    """The planar format that holds the samples of ``name`` as they are, where there is one."""
    if name in {"nv12", "nv21"}:
        return "yuv420p"
    return "yuv422p" if name in {"yuyv422", "uyvy422", "yvyu422", "nv16"} else "yuv444p"
