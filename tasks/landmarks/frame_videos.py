"""The frames of a video, or of a part of it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from tasks.engine.contract.errors import BadInput
from tasks.landmarks.frame_source import Conversion, Frame, FrameSource
from tasks.landmarks.sequence import RgbImage
from tasks.media.contact_sheets import resize_image
from tasks.media.orientation import ImageOptions
from tasks.media.reading import DamagedFrame, FrameImage, UnreliableIndexError, VideoReader
from tasks.media.truncation import Truncation

_SHOWN = ImageOptions(deinterlace=True, map_tones=True)
_MAX_ASPECT = 8  # of a pixel; more, or less than the inverse, is an error of the file


class VideoFrames(FrameSource):
    """The frames of a video or of a part of it, as they are displayed, each at its own time, decoded once.

    A part has the frames from ``start`` (included) to ``end`` (excluded), in seconds since the origin of the file, as
    players count. Its times and indices start at its first frame; the names of frames are their numbers in the video.

    Pixels are made square, interlaced frames are deinterlaced, and HDR is converted to SDR.
    If the packet index is unreliable, the rest is read by decoding; ``fps`` and ``frames`` are correct at the end.
    """

    def __init__(self, path: Path, start: float | None = None, end: float | None = None) -> None:
        """Raises BadInput if the file is unreadable, empty or not a video, or if the part has no frames."""
        self._path = path
        self._start, self._end = start, end
        self._reader = VideoReader(path, channels="rgb24", options=_SHOWN)
        self._chosen = self._choose_frames()
        self._pixel_aspect = Fraction(1)
        self._interlaced = 0

    @property
    def fps(self) -> float:
        """Return the average number of frames per second."""
        return self._reader.info.fps

    @property
    def frames(self) -> int:
        """Return the number of frames."""
        return len(self._chosen)

    @property
    def truncation(self) -> Truncation | None:
        """Return how the file is truncated."""
        return self._reader.truncation

    @property
    def conversion(self) -> Conversion:
        """Return the aspect of the stored pixels, and how many frames were deinterlaced so far."""
        return Conversion(float(self._pixel_aspect), self._interlaced)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame. Raises BadInput at the end if none is readable, or if damage cannot be located."""
        first_reason = ""
        readable = 0
        for decoded in self._decode():
            frame = self._convert(decoded)
            readable += not frame.reason
            first_reason = first_reason or frame.reason
            yield frame
        if not readable:
            raise BadInput(f"{self._path.name}: none of its {self.frames} frames can be read; the first {first_reason}")

    def _choose_frames(self) -> range:
        """Return the indices of the frames of the part. Raises BadInput if there are none."""
        timeline, offset = self._reader.timeline, float(self._reader.offset)
        if self._start is None and self._end is None:
            return range(len(timeline))
        start, end = self._start or 0.0, math.inf if self._end is None else self._end
        first = bisect_left(range(len(timeline)), start, key=lambda index: timeline.seconds(index) + offset)
        stop = bisect_left(range(len(timeline)), end, key=lambda index: timeline.seconds(index) + offset)
        if first >= stop:
            self._reader.close()
            lasts = f"it lasts {offset + timeline.duration_seconds:.2f} s"
            raise BadInput(f"{self._path.name}: no frame from {start:g} to {end:g} s; {lasts}")
        return range(first, stop)

    def _decode(self) -> Iterator[FrameImage | DamagedFrame]:
        count = 0
        try:
            for decoded in self._reader.read_frames_or_damage(self._chosen):
                count += 1
                yield decoded
        except UnreliableIndexError:
            if count and self._chosen.start:
                advice = "cut the part into a file of its own, or convert the video"
                raise BadInput(f"{self._path.name}: its packets do not tell where a part begins; {advice}") from None
            self._reader.close()
            self._reader = VideoReader(self._path, by_decoding=True, channels="rgb24", options=_SHOWN)
            self._chosen = self._choose_frames()
            yield from self._reader.read_frames_or_damage(self._chosen[count:])

    def _convert(self, decoded: FrameImage | DamagedFrame) -> Frame:
        name, index = str(decoded.frame_index), decoded.frame_index - self._chosen.start
        seconds = decoded.actual_seconds - self._reader.timeline.seconds(self._chosen.start)
        if isinstance(decoded, DamagedFrame):
            return Frame(index, name, seconds, None, decoded.reason)
        self._pixel_aspect = _check_aspect(decoded.pixel_aspect)
        self._interlaced += decoded.interlaced
        image = _make_pixels_square(decoded.image, self._pixel_aspect)
        return Frame(index, name, seconds, image)


def _check_aspect(aspect: Fraction) -> Fraction:
    """Return the aspect of a pixel; 1 if it is an error of the file."""
    return aspect if Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT else Fraction(1)


def _make_pixels_square(image: RgbImage, aspect: Fraction) -> RgbImage:
    """Return ``image`` at the width at which players show it."""
    height, width = image.shape[:2]
    return resize_image(image, (max(1, round(width * aspect)), height))
