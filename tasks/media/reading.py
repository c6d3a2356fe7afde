"""Reading chosen frames of a video exactly, with as little decoding as that takes.

One pass of the demuxer gives the packet index and with it the time line. The wanted frames are grouped into runs:
each starts at the last keyframe that serves and ends at the last wanted packet. Runs never overlap and never go back.
Within a run, frames that nothing refers to are decoded only where they are wanted; between runs nothing is.

Where the packets do not tell when each frame is shown (no timestamps, the same one twice, times that fall), the whole
video is decoded once to make the time line, and once more to read from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

from av.video.frame import VideoFrame

from tasks.media.decoding import UnreliableIndexError
from tasks.media.demuxing import PacketSource
from tasks.media.listing import DecodedListing, IndexedListing, Listing
from tasks.media.orientation import Channels, Converter, Picture
from tasks.media.timeline import Timeline
from tasks.media.truncation import Truncation

__all__ = ["DamagedFrame", "FrameImage", "UnreliableIndexError", "VideoInfo", "VideoReader"]


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video.

    width_px, height_px   as shown; as stored, before any rotation, as long as no frame was read
    fps                   presented frames a second, on average
    duration_seconds      from the first presented frame's start to the last one's end
    """

    codec: str
    container: str
    pixel_format: str
    width_px: int
    height_px: int
    fps: float
    duration_seconds: float
    frames: int
    time_base: Fraction


@dataclass(frozen=True)
class FrameImage:
    """One frame of a video.

    frame_index                 its rank among the presented frames, from 0
    actual_seconds              when it is shown, since the first presented frame
    pts, time_base              the same in the file's own terms
    keyframe_distance_frames    packets between it and the keyframe that it is decoded from; 0 for a keyframe
    image                       uint8, height x width x 3, upright, BGR or what the reader was asked for
    """

    frame_index: int
    actual_seconds: float
    pts: int
    time_base: Fraction
    keyframe_distance_frames: int
    image: Picture


@dataclass(frozen=True)
class DamagedFrame:
    """A frame that cannot be shown: its rank and its time as in FrameImage, and why not, in one clause."""

    frame_index: int
    actual_seconds: float
    reason: str


class VideoReader:
    """A video file opened for reading chosen frames. Use it in a ``with`` block.

    ``by_decoding`` makes the time line by decoding the whole video, for the rare file whose packets mislead: see
    UnreliableIndexError. ``channels`` is the order in which pictures have them. Raises BadInput where the file is
    damaged, empty or no video.
    """

    def __init__(self, path: Path, by_decoding: bool = False, channels: Channels = "bgr24") -> None:
        self.path = path
        self._converter = Converter(channels)
        self._shown_size: tuple[int, int] | None = None
        self._source = PacketSource(path)
        with ExitStack() as guard:
            guard.callback(self.close)
            self._listing: Listing = _listing(self._source, by_decoding)
            guard.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    @property
    def timeline(self) -> Timeline:
        """When each frame is shown."""
        return self._listing.timeline

    @property
    def truncation(self) -> Truncation | None:
        """Tells how the file is truncated; None if its end is there."""
        return self._source.truncation

    @property
    def info(self) -> VideoInfo:
        """What is known of the video."""
        context, timeline = self._source.decoder, self.timeline
        width, height = self._shown_size or (context.width, context.height)
        return VideoInfo(
            codec=context.codec.canonical_name,
            container=self._source.container.format.name,
            pixel_format=context.pix_fmt or "",
            width_px=width,
            height_px=height,
            fps=len(timeline) / timeline.duration_seconds,
            duration_seconds=timeline.duration_seconds,
            frames=len(timeline),
            time_base=timeline.time_base,
        )

    def frames(self, indices: Sequence[int]) -> Iterator[FrameImage]:
        """The frames with these indices, each once, in the order in which they are shown.

        Raises BadInput where one of them, or what it is decoded from, is damaged. That may be known only at the end:
        trust the frames when the iteration ends without an error. Raises UnreliableIndexError where a sound packet
        gives no frame, or frames come in another order than their packets say.
        """
        for index, frame in self._listing.decode(sorted(set(indices))):
            yield self._image(index, frame)

    def frames_or_damage(self, indices: Sequence[int] | None = None) -> Iterator[FrameImage | DamagedFrame]:
        """Yield the frames with these indices (None: all), each once, in presentation order, in one pass.

        A frame that is damaged, or decoded from one that is, is given as a DamagedFrame. No more is decoded than by
        ``frames``, and few frames are held at a time, however long the video. Raises UnreliableIndexError, before it
        yields anything wrong, if a sound packet gives no frame: read the video with ``by_decoding`` then. If all frames
        were requested, those already given are the first ones that decoding gives too.
        """
        chosen = range(len(self.timeline)) if indices is None else sorted(set(indices))
        before = -2
        for index, found in self._listing.frames_or_damage(chosen):
            if isinstance(found, str):
                yield DamagedFrame(index, self.timeline.seconds(index), found)
            else:
                yield self._image(index, found, follows=index == before + 1)
                before = index

    def _image(self, index: int, frame: VideoFrame, follows: bool = False) -> FrameImage:
        image = self._converter.picture(frame, follows)
        self._shown_size = image.shape[1], image.shape[0]
        return FrameImage(
            frame_index=index,
            actual_seconds=self.timeline.seconds(index),
            pts=int(self.timeline.pts[index]),
            time_base=self.timeline.time_base,
            keyframe_distance_frames=self._listing.keyframe_distance(index),
            image=image,
        )


def _listing(source: PacketSource, by_decoding: bool) -> Listing:
    """The cheap listing where the packets allow it."""
    if by_decoding or not source.index.is_orderly or source.lacks_presentation_times:
        return DecodedListing(source)
    return IndexedListing(source)
