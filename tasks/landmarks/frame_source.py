"""What gives the frames of one sample."""

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

    frame_index  its rank among the frames, bad ones included, from 0
    name         the picture's file name, or the frame's number where it is a video's
    seconds      when it is shown, since the first frame
    picture      None where it cannot be read; mixed sizes are the pictures' own
    reason       why it cannot be read, one clause; "" where it can
    """

    frame_index: int
    name: str
    seconds: float
    image: RgbImage | None
    reason: str = ""


class FrameSource(AbstractContextManager["FrameSource"], ABC):
    """The frames of one sample. Use it in a ``with`` block, and iterate once.

    Iterating raises BadInput where the sample is gone or not one of its frames could be read; the latter is known at
    the end only.
    """

    @property
    @abstractmethod
    def fps(self) -> float:
        """Frames a second, on average."""

    @property
    @abstractmethod
    def frames(self) -> int:
        """How many frames there are, bad ones included, as far as is known before they are read."""

    @property
    def truncation(self) -> Truncation | None:
        """Tells how a video's file is truncated; None if its end is there, and for folders of pictures."""
        return None

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Every frame once, bad ones included, in the order in which they are shown."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close what is open."""
