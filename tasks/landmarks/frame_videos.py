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

    If the packet index is unreliable, the rest is read by decoding; ``fps`` and ``frames`` are correct at the end.
    """

    def __init__(self, path: Path) -> None:
        """Raises BadInput if the file is unreadable, empty or not a video."""
        self._path = path
        self._reader = VideoReader(path, channels="rgb24")

    @property
    def fps(self) -> float:
        """Return the average number of frames per second."""
        return self._reader.info.fps

    @property
    def frames(self) -> int:
        """Return the number of frames."""
        return len(self._reader.timeline)

    @property
    def truncation(self) -> Truncation | None:
        """Return how the file is truncated."""
        return self._reader.truncation

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame. Raises BadInput at the end if none is readable, or if damage cannot be located."""
        first_reason = ""
        readable = 0
        for decoded in self._decode():
            frame = _convert(decoded)
            readable += not frame.reason
            first_reason = first_reason or frame.reason
            yield frame
        if not readable:
            raise BadInput(f"{self._path.name}: none of its {self.frames} frames can be read; the first {first_reason}")

    def _decode(self) -> Iterator[FrameImage | DamagedFrame]:
        count = 0
        try:
            for decoded in self._reader.read_frames_or_damage():
                count += 1
                yield decoded
        except UnreliableIndexError:
            self._reader.close()
            self._reader = VideoReader(self._path, by_decoding=True, channels="rgb24")
            yield from self._reader.read_frames_or_damage(range(count, self.frames))


def _convert(decoded: FrameImage | DamagedFrame) -> Frame:
    name = str(decoded.frame_index)
    if isinstance(decoded, DamagedFrame):
        return Frame(decoded.frame_index, name, decoded.actual_seconds, None, decoded.reason)
    return Frame(decoded.frame_index, name, decoded.actual_seconds, decoded.image)
