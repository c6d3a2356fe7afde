"""Encoding the frames of one segment, handed over one by one, with PyAV."""

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
from tasks.media.segments.settings import EncoderSettings, container_options, encoder_options

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes forty lines to stderr for each encoder: errors only


class SegmentEncoder:
    """Writes a segment file (mp4, whatever the codec). Use it in a ``with`` block, and write every frame in order.

    The encoder counts frames at the clock's average rate, which it puts into headers; packets get the clock's times.

    ``clock`` says when each frame is shown and begins at 0: ``Clock.part``. Frames must have the format that
    ``picture`` says: none is converted. Leaving the block without an error raises SegmentError where the frames
    written are not as many as the clock has. Raises ValueError for pictures that the encoder cannot take.
    """

    def __init__(self, path: Path, settings: EncoderSettings, picture: PictureFormat, clock: Clock) -> None:
        settings.check(picture)
        self._path, self._picture, self._clock = path, picture, clock
        self._written = 0
        self._durations = clock.durations
        with ExitStack() as guard:
            self._container = av.open(str(path), "w", format="mp4", options=container_options(clock))
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
        """Encode ``frame`` as the next one. Its time is the clock's; what it says itself is overwritten.

        Raises SegmentError for a frame of another format, or one too many.
        """
        check_frame(frame, self._picture, f"{self._path.name}: frame {self._written}")
        if self._written == len(self._clock):
            raise SegmentError(f"{self._path.name}: got more than its {len(self._clock)} frames")
        frame.pts, frame.time_base = self._written, 1 / self._clock.rate
        frame.pict_type = 0  # else the encoder copies the source's choice of keyframes
        self._mux(self._stream.encode(frame))
        self._written += 1

    def _check_count(self) -> None:
        if self._written != len(self._clock):
            raise SegmentError(f"{self._path.name}: got {self._written} frames instead of {len(self._clock)}")

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            rank, place = packet.pts or 0, packet.dts or 0
            packet.time_base = self._clock.time_base
            packet.pts, packet.duration = int(self._clock.pts[rank]), int(self._durations[rank])
            packet.dts = self._decoding_time(place)
            self._container.mux(packet)

    def _decoding_time(self, place: int) -> int:
        """When the packet is decoded that the encoder has at ``place``, counted in frames: below 0 before the first."""
        pts = self._clock.pts
        return int(pts[place]) if place >= 0 else int(pts[0]) + place * int(self._durations[0])

    def _add_stream(self, settings: EncoderSettings) -> VideoStream:
        picture, clock = self._picture, self._clock
        options = encoder_options(settings, picture, clock)
        stream = cast("VideoStream", self._container.add_stream(settings.encoder, rate=clock.rate, options=options))
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = picture.width_px, picture.height_px, picture.pixel_format
        context.time_base, stream.time_base = 1 / clock.rate, clock.time_base
        context.sample_aspect_ratio = picture.sample_aspect
        context.color_primaries, context.color_trc = picture.primaries, picture.transfer
        context.colorspace, context.color_range = picture.matrix, picture.color_range
        context.field_order = picture.field_number
        return stream
