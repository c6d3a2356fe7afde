"""Reading chosen frames of a video exactly, with as little decoding as possible.

One pass of the demuxer gives the packet index and the timeline. The requested frames are grouped into runs. Each run
starts at the last possible keyframe and ends at the last requested packet. Runs never overlap and never go back.
Within a run, unreferenced frames are decoded only if they are requested. Packets between runs are not decoded.

If the packets do not tell when each frame is shown (no timestamps, duplicate or falling ones), the whole video is
decoded once for the timeline, and a second time to read from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

from av.video.frame import VideoFrame

from tasks.engine.contract.errors import BadInput
from tasks.media.decoding import RunDecoder, UnreliableIndexError
from tasks.media.demuxing import PacketSource
from tasks.media.frame_decoding import DecodedFrame, FrameDecoder
from tasks.media.listing import Listing, list_by_decoding, list_by_index
from tasks.media.orientation import STORED, Channels, Converter, ImageArray, ImageOptions
from tasks.media.runs import find_decoding_starts
from tasks.media.timeline import Timeline
from tasks.media.truncation import Truncation

__all__ = ["DamagedFrame", "FrameImage", "UnreliableIndexError", "VideoInfo", "VideoReader"]


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video.

    width_px, height_px   as shown; before any frame was read, as stored (without rotation)
    fps                   average of presented frames per second
    duration_seconds      from the start of the first presented frame to the end of the last one
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
class Color:
    """Color properties of a frame, as numbers of ITU-T H.273, where 2 is unspecified.

    ``range`` is 1 for limited, 2 for full and 0 for unspecified.
    """

    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    range: int = 0


@dataclass(frozen=True)
class FrameImage:
    """One frame of a video.

    frame_index                 its rank among the presented frames, from 0
    actual_seconds              its time since the first presented frame
    pts, time_base              its time as the file states it
    keyframe_distance_frames    packets between it and the keyframe that it is decoded from; 0 for a keyframe
    image                       uint8, height x width x 3, upright, channels in the reader's order
    pixel_aspect                width of a pixel of the image over its height
    color                       matrix, primaries, transfer and range as stated
    interlaced                  the frame consists of two fields
    """

    frame_index: int
    actual_seconds: float
    pts: int
    time_base: Fraction
    keyframe_distance_frames: int
    image: ImageArray
    pixel_aspect: Fraction = Fraction(1)
    color: Color = Color()
    interlaced: bool = False


@dataclass(frozen=True)
class DamagedFrame:
    """A frame that cannot be shown: its rank and its time as in FrameImage, and the reason in one clause."""

    frame_index: int
    actual_seconds: float
    reason: str


class VideoReader:
    """A video file opened for reading chosen frames. Use it in a ``with`` block.

    ``by_decoding`` makes the timeline by decoding the whole video, for the rare file with misleading packets: see
    UnreliableIndexError. ``channels`` is the order of the channels in images, ``options`` are those of their
    conversion. Raises BadInput if the file is damaged, empty or not a video.

    timeline    the times of all frames
    truncation  how the file is truncated; None if it is complete
    """

    def __init__(
        self, path: Path, by_decoding: bool = False, channels: Channels = "bgr24", options: ImageOptions = STORED
    ) -> None:
        self.path = path
        self._converter = Converter(channels, options)
        self._shown_size: tuple[int, int] | None = None
        self._source = PacketSource(path)
        stream = self._source.stream
        stated = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        self._pixel_aspect = Fraction(stated) if stated else Fraction(1)
        with ExitStack() as guard:
            guard.callback(self.close)
            decoder = RunDecoder(self._source)
            self.listing: Listing = _list_frames(self._source, decoder, by_decoding)
            self._decoder = FrameDecoder(self._source, decoder, self.listing)
            self.timeline: Timeline = self.listing.timeline
            self.truncation: Truncation | None = self._source.truncation
            guard.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    @property
    def info(self) -> VideoInfo:
        """The properties of the video."""
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

    @property
    def offset(self) -> Fraction:
        """Seconds from the origin of the file, the start of its first stream, to the first presented frame.

        Players and FFmpeg count from this origin. 0 if the file has no times.
        """
        start = self._source.start_seconds
        timeline = self.timeline
        if start is None or timeline.time_base != self._source.index.time_base:
            return Fraction(0)
        return max(Fraction(0), int(timeline.pts[0]) * timeline.time_base - start)

    @property
    def keyframes(self) -> list[int]:
        """Indices of the frames from which decoding can start, as their own headers prove."""
        positions = self.listing.positions.tolist()
        starts = find_decoding_starts(self.listing.order, positions)
        return [index for index, pair in enumerate(zip(positions, starts, strict=True)) if pair[0] == pair[1]]

    def read_frames(self, indices: Sequence[int]) -> Iterator[FrameImage]:
        """Yield the frames with these indices, each once, in presentation order.

        Raises BadInput if one of them, or a frame that it depends on, is damaged. The error may come at the end only:
        trust the frames if the iteration ends without an error. Raises UnreliableIndexError if an intact packet gives
        no frame, or if frames come in another order than their packets announce.
        """
        for decoded in self._decoder.decode(sorted(set(indices))):
            if decoded.frame is None:
                place = f"frame {decoded.index} at {self.timeline.seconds(decoded.index):.3f} s"
                raise BadInput(f"{self.path.name}: {place} {decoded.damage}")
            yield self._make_image(decoded, decoded.frame)

    def read_frames_or_damage(self, indices: Sequence[int] | None = None) -> Iterator[FrameImage | DamagedFrame]:
        """Yield the frames with these indices (None: all), each once, in presentation order, in one pass.

        A frame that is damaged, or decoded from one that is, is yielded as a DamagedFrame. Decodes no more than
        ``read_frames``, and holds few frames at a time, however long the video is. Raises UnreliableIndexError, before
        it yields a wrong frame, if an intact packet gives no frame: read the video with ``by_decoding`` then. If all
        frames were requested, those already yielded are the first ones of the full decode too.
        """
        chosen = range(len(self.timeline)) if indices is None else sorted(set(indices))
        before = -2
        for decoded in self._decoder.decode(chosen):
            index = decoded.index
            if decoded.frame is None:
                yield DamagedFrame(index, self.timeline.seconds(index), decoded.damage)
            else:
                yield self._make_image(decoded, decoded.frame, follows=index == before + 1)
                before = index

    def _make_image(self, decoded: DecodedFrame, frame: VideoFrame, follows: bool = False) -> FrameImage:
        image = self._converter.convert(frame, follows)
        self._shown_size = image.shape[1], image.shape[0]
        return FrameImage(
            frame_index=decoded.index,
            actual_seconds=self.timeline.seconds(decoded.index),
            pts=int(self.timeline.pts[decoded.index]),
            time_base=self.timeline.time_base,
            keyframe_distance_frames=decoded.keyframe_distance,
            image=image,
            pixel_aspect=1 / self._pixel_aspect if self._converter.swaps_axes else self._pixel_aspect,
            color=Color(frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range),
            interlaced=frame.interlaced_frame,
        )


def _list_frames(source: PacketSource, decoder: RunDecoder, by_decoding: bool) -> Listing:
    """Return the listing from the packet index if its times are reliable, else the one from decoding everything."""
    if by_decoding or not source.index.is_orderly or source.lacks_presentation_times:
        return list_by_decoding(source, decoder)
    return list_by_index(source, decoder)
