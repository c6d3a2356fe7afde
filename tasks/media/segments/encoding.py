"""Encode the frames of one segment, one by one, with PyAV."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tasks.media.segments.clock import Clock
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.picture import PictureFormat, check_frame
from tasks.media.segments.settings import EncoderSettings, get_container_options, get_encoder_options

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes forty lines to stderr for each encoder: errors only


class SegmentEncoder:
    """Writes a segment file (MP4 for every codec). Use it in a ``with`` block, and write every frame in order.

    The encoder counts frames at the clock's average rate, which it writes to headers; packets get the clock's times.
    ``clock`` starts at 0: see ``Clock.part``. Frames must have the given format; they are not converted.
    Leaving the block without an error raises SegmentError if the number of frames differs from the clock's.
    Raises ValueError for frames that the encoder does not support.
    """

    def __init__(self, path: Path, settings: EncoderSettings, picture: PictureFormat, clock: Clock) -> None:
        settings.check(picture)
        self._path, self._picture, self._clock = path, picture, clock
        self._written = 0
        self._durations = clock.durations
        with ExitStack() as guard:
            self._container = av.open(str(path), "w", format="mp4", options=get_container_options(clock))
            guard.callback(self._container.close)
            self._stream = self._add_stream(settings)
            guard.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as last:
            last.callback(self._container.close)
            if kind is None:
                self._mux(self._stream.encode(None))
                self._check_count()

    def write(self, frame: VideoFrame) -> None:
        """Encode ``frame`` as the next one. Its time is overwritten by the clock's.

        Raises SegmentError for a frame of another format, or for an extra frame.
        """
        check_frame(frame, self._picture, f"{self._path.name}: frame {self._written}")
        if self._written == len(self._clock):
            raise SegmentError(f"{self._path.name}: got more than its {len(self._clock)} frames")
        frame.pts, frame.time_base = self._written, 1 / self._clock.rate
        frame.pict_type = 0  # otherwise the encoder copies the keyframes of the source
        self._mux(self._stream.encode(frame))
        self._written += 1

    def _check_count(self) -> None:
        if self._written != len(self._clock):
            raise SegmentError(f"{self._path.name}: got {self._written} frames instead of {len(self._clock)}")

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            rank, position = packet.pts or 0, packet.dts or 0
            packet.time_base = self._clock.time_base
            packet.pts, packet.duration = int(self._clock.pts[rank]), int(self._durations[rank])
            packet.dts = self._get_decoding_time(position)
            self._container.mux(packet)

    def _get_decoding_time(self, position: int) -> int:
        """Return the decoding time of a packet from its position in frames, which is negative before the first."""
        pts = self._clock.pts
        return int(pts[position]) if position >= 0 else int(pts[0]) + position * int(self._durations[0])

    def _add_stream(self, settings: EncoderSettings) -> VideoStream:
        picture, clock = self._picture, self._clock
        options = get_encoder_options(settings, picture, clock)
        stream = cast("VideoStream", self._container.add_stream(settings.encoder, rate=clock.rate, options=options))
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = picture.width_px, picture.height_px, picture.pixel_format
        context.time_base, stream.time_base = 1 / clock.rate, clock.time_base
        context.sample_aspect_ratio = picture.sample_aspect
        context.color_primaries, context.color_trc = picture.primaries, picture.transfer
        context.colorspace, context.color_range = picture.matrix, picture.color_range
        context.field_order = picture.field_number
        return stream
