"""The interface of the frames of one sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self

from tasks.landmarks.sequence import RgbImage
from tasks.media.truncation import Truncation


@dataclass(frozen=True)
class Frame:
    """One frame.

    frame_index  index among the frames, including bad ones, from 0
    name         file name of the image, or the frame number in a video
    seconds      display time since the first frame
    image        None if it cannot be read; sizes may differ between frames
    reason       reason why it cannot be read, as one clause; "" if it is readable
    """

    frame_index: int
    name: str
    seconds: float
    image: RgbImage | None
    reason: str = ""


@dataclass(frozen=True)
class Conversion:
    """How the frames of a sample were converted from their files to images as they are displayed.

    pixel_aspect       width of a stored pixel over its height; the images have square pixels
    interlaced_frames  number of frames that were deinterlaced
    image_bits         bits per channel that 16-bit images use, by which they were scaled; None for others
    """

    pixel_aspect: float = 1.0
    interlaced_frames: int = 0
    image_bits: int | None = None


class FrameSource(AbstractContextManager["FrameSource"], ABC):
    """The frames of one sample. Use it in a ``with`` block, and iterate once.

    Iterating raises BadInput if the sample is missing or if none of its frames is readable (raised at the end).
    """

    @property
    @abstractmethod
    def fps(self) -> float:
        """Return the average number of frames per second."""

    @property
    @abstractmethod
    def frames(self) -> int:
        """Return the number of frames, including bad ones, as far as it is known before reading them."""

    @property
    def truncation(self) -> Truncation | None:
        """Return how a video file is truncated; None for complete files and for image folders."""
        return None

    @property
    def conversion(self) -> Conversion:
        """Return how frames were converted, once they have been read."""
        return Conversion()

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame once in display order, including bad ones."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close open files."""
