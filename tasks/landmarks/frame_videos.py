"""The frames of a video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tasks.engine.contract.errors import BadInput
from tasks.landmarks.frame_source import Frame, FrameSource
from tasks.media.reading import DamagedFrame, FrameImage, UnreliableIndexError, VideoReader
from tasks.media.truncation import Truncation


class VideoFrames(FrameSource):
    """The frames of a video, each at its own time, decoded once.

    Where the packets turn out to mislead, the rest is read by decoding; ``fps`` and ``frames`` are right in the end.
    """

    def __init__(self, path: Path) -> None:
        """Raises BadInput where the file is damaged beyond reading, empty or no video."""
        self._path = path
        self._reader = VideoReader(path, channels="rgb24")

    @property
    def fps(self) -> float:
        """Frames a second, on average over the video."""
        return self._reader.info.fps

    @property
    def frames(self) -> int:
        """How many frames the video has."""
        return len(self._reader.timeline)

    @property
    def truncation(self) -> Truncation | None:
        """Tells how the file is truncated."""
        return self._reader.truncation

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def __iter__(self) -> Iterator[Frame]:
        """Every frame; BadInput at the end where none was sound, or where damage cannot be told frame by frame."""
        first_reason = ""
        sound = 0
        for found in self._found():
            frame = _frame(found)
            sound += not frame.reason
            first_reason = first_reason or frame.reason
            yield frame
        if not sound:
            raise BadInput(f"{self._path.name}: none of its {self.frames} frames can be read; the first {first_reason}")

    def _found(self) -> Iterator[FrameImage | DamagedFrame]:
        given = 0
        try:
            for found in self._reader.frames_or_damage():
                given += 1
                yield found
        except UnreliableIndexError:
            self._reader.close()
            self._reader = VideoReader(self._path, by_decoding=True, channels="rgb24")
            yield from self._reader.frames_or_damage(range(given, self.frames))


def _frame(found: FrameImage | DamagedFrame) -> Frame:
    name = str(found.frame_index)
    if isinstance(found, DamagedFrame):
        return Frame(found.frame_index, name, found.actual_seconds, None, found.reason)
    return Frame(found.frame_index, name, found.actual_seconds, found.image)
