"""Reading the packets of a video by position, with verified seeks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Self, TypeAlias, cast

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet, PacketSideData, packet_sidedata_type_from_literal
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from tasks.engine.contract.errors import BadInput
from tasks.media.index import LASTING, NO_TIME, PacketIndex, SideData, read_index
from tasks.media.opening import demux_packets, open_container, select_video_stream, translate_errors
from tasks.media.truncation import Truncation, find_truncation

VideoPacket: TypeAlias = "Packet[VideoStream]"

# Reading this many bytes takes as long as a seek over them.
_MIN_SEEK_BYTES = 1 << 20
# AVPacketSideDataType of libavcodec.
_SIDE_DATA_TYPES = {kind: packet_sidedata_type_from_literal(kind) for kind in LASTING}


class _PacketMismatchError(Exception):
    """The demuxer gives another packet than the index has at ``position``."""

    def __init__(self, position: int) -> None:
        self.position = position
        super().__init__(position)


class PacketSource:
    """A video file, its packet index and its decoder. Use it in a ``with`` block.

    ``index`` is the file's packet index if an earlier reading made it; the file is then not read again for it.
    ``truncation`` is None unless the end of the file is missing. The index of a truncated file has its complete packets
    only. ``stream_index`` selects a stream (default: the one that a player would show).
    Raises BadInput if the file is damaged, empty or not a video.
    """

    def __init__(
        self,
        path: Path,
        index: PacketIndex | None = None,
        stream_index: int | None = None,
    ) -> None:
        self.path = path
        self._stream_index = stream_index
        self._resources = ExitStack()
        with ExitStack() as guard:
            guard.callback(self._resources.close)
            self._open()
            self.decoder: VideoCodecContext = self.stream.codec_context
            self._reorders = self.decoder.reorder_depth > 0
            self._rate = self.stream.guessed_rate or self.stream.average_rate or Fraction(25)
            self.truncation: Truncation | None = None
            self.index: PacketIndex = self._read_index() if index is None else index
            guard.pop_all()
        self._cursor = len(self.index) if index is None else 0  # position of the packet that comes next
        self._lasting = [[piece for piece in self.index.side_data if piece.kind == kind] for kind in LASTING]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._resources.close()

    @property
    def lacks_presentation_times(self) -> bool:
        """True if the decoder reorders frames although the packets' presentation times rise in decoding order.

        The times are probably decoding times then, as in MP4 without a ctts table.
        """
        index = self.index
        return self._reorders and not index.entry.all() and bool(np.all(np.diff(index.pts) > 0))

    @property
    def rate(self) -> Fraction:
        """Frames per second as stated by the stream or guessed by FFmpeg; 25 if neither is available."""
        return self._rate

    @property
    def start_seconds(self) -> Fraction | None:
        """Start of the stream that starts first, which FFmpeg and players take for 0; None if the file has no times."""
        start = cast("int | None", self.container.start_time)  # rounded to microseconds
        if start is None:
            return None
        starts = [_get_start(stream) for stream in self.container.streams]
        exact = [seconds for seconds in starts if seconds is not None and abs(seconds * 1_000_000 - start) <= 1]
        return min(exact, default=Fraction(start, 1_000_000))

    @property
    def frame_ticks(self) -> int:
        """Duration of a frame at that rate, in ticks of the index's time base; at least 1."""
        return max(1, round(1 / (self.rate * self.index.time_base)))

    def read_packets(self, start: int, stop: int) -> Iterator[tuple[int, VideoPacket]]:
        """Yield the packets at positions ``start`` up to and without ``stop``, each with its position.

        Seeks if that saves reading. Each packet is compared with the index. If a seek leads to another packet, the file
        is read again from its beginning. Raises BadInput if it then gives other packets than the index has.
        Palettes and headers in force at ``start`` are attached to its packet, wherever they are in the file.
        """
        with translate_errors(self.path):
            for position, packet in self._read_checked(start, stop):
                for piece in self._select_side_data(position, position == start):
                    _attach(piece, packet)
                yield position, packet

    def _read_checked(self, start: int, stop: int) -> Iterator[tuple[int, VideoPacket]]:
        """Yield the packets from ``start`` to ``stop``, compared with the index."""
        self._move_to(start)
        try:
            yield from self._read_matching(start, stop)
        except _PacketMismatchError as error:
            self._reopen()
            yield from self._read_again(max(start, error.position), stop)

    def _select_side_data(self, position: int, is_first: bool) -> Iterator[SideData]:
        """Yield the side data of the packet at ``position``; for the first packet of a run, all in force there."""
        for pieces in self._lasting:
            place = bisect_right(pieces, position, key=lambda piece: piece.position)
            if place and (is_first or pieces[place - 1].position == position):
                yield pieces[place - 1]

    def _read_again(self, start: int, stop: int) -> Iterator[tuple[int, VideoPacket]]:
        """Yield the packets of the reopened file. Raises BadInput if they differ from the index."""
        try:
            yield from self._read_matching(start, stop)
        except _PacketMismatchError as error:
            raise BadInput(f"{self.path.name}: gives other packets when it is read again") from error

    def _read_index(self) -> PacketIndex:
        """Read the whole file, and detect whether its end is missing."""
        with translate_errors(self.path):
            index, failure = read_index(self.container, self.stream)
        self.truncation = find_truncation(self.container, self.stream, self.path, index, failure)
        if self.truncation is None or not len(index):
            return index
        return index.drop_last() if self.truncation.is_last_packet_partial or index.corrupt[-1] else index

    def _open(self) -> None:
        self.container: InputContainer = self._resources.enter_context(open_container(self.path))
        self.stream: VideoStream = select_video_stream(self.container, self.path, self._stream_index)
        self._demuxed: Iterator[VideoPacket] = demux_packets(self.container, self.stream)

    def _reopen(self) -> None:
        """Return to the file's first packet without a seek. The decoder keeps its state."""
        self._resources.close()
        self._open()
        self._cursor = 0

    def _read_matching(self, start: int, stop: int) -> Iterator[tuple[int, VideoPacket]]:
        """Read on to ``stop`` and yield the packets from ``start`` on, as long as they match the index."""
        while self._cursor < stop:
            packet = next(self._demuxed, None)
            position = self._cursor
            if packet is None or _identify(packet) != self.index.identify(position):
                raise _PacketMismatchError(position)
            self._cursor += 1
            if position >= start:
                yield position, packet

    def _move_to(self, start: int) -> None:
        """Move to ``start`` or, if that is cheap, to a packet before it."""
        between = int(self.index.sizes[self._cursor : start].sum())
        if self._cursor <= start and between < _MIN_SEEK_BYTES:
            return
        for timestamp in (self.index.pts[start], self.index.dts[start]):
            if timestamp != NO_TIME and self._seek(int(timestamp), start):
                return
        if self._cursor > start:
            self._reopen()

    def _seek(self, timestamp: int, start: int) -> bool:
        """Return True if a seek to ``timestamp`` led to a packet of the index at or before ``start``."""
        self._cursor = len(self.index)  # unknown until a packet is recognized
        try:
            self.container.seek(timestamp, stream=self.stream, backward=True)
        except FFmpegError:
            return False
        packets = demux_packets(self.container, self.stream)
        first = next(packets, None)
        position = None if first is None else self.index.find_position(*_identify(first))
        if first is None or position is None or position > start:
            return False
        self._cursor = position
        self._demuxed = chain([first], packets)
        return True


def _identify(packet: VideoPacket) -> tuple[int, int, int]:
    """Return the times of a packet (NO_TIME if it has none) and its size in bytes, which identify it."""
    pts, dts = packet.pts, packet.dts
    return NO_TIME if pts is None else pts, NO_TIME if dts is None else dts, packet.size


def _attach(piece: SideData, packet: VideoPacket) -> None:
    """Attach the side data to ``packet``, unless the demuxer has done so."""
    if packet.has_sidedata(piece.kind):
        return
    data = PacketSideData(_SIDE_DATA_TYPES[piece.kind], len(piece.data))  # type: ignore[call-arg]
    data.update(piece.data)
    packet.set_sidedata(data)


def _get_start(stream: Stream) -> Fraction | None:
    """Return the start of a stream in seconds; None if it is unknown."""
    if stream.start_time is None or stream.time_base is None:
        return None
    return stream.start_time * stream.time_base
