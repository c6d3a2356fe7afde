"""The packets of a video by position, with seeks that are checked."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet, PacketSideData, packet_sidedata_type_from_literal
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from tasks.engine.contract.errors import BadInput
from tasks.media.index import LASTING, NO_TIME, PacketIndex, SideData, read_index
from tasks.media.opening import demuxed, open_container, reading, video_stream
from tasks.media.truncation import Truncation, find_truncation

VideoPacket: TypeAlias = "Packet[VideoStream]"

# So many bytes are read over as quickly as they are sought over.
_WORTH_A_SEEK_BYTES = 1 << 20
# AVPacketSideDataType of libavcodec.
_SIDE_DATA_TYPES = {kind: packet_sidedata_type_from_literal(kind) for kind in LASTING}


class _OutOfStepError(Exception):
    """The demuxer gives another packet than the index has at ``position``."""

    def __init__(self, position: int) -> None:
        self.position = position
        super().__init__(position)


class PacketSource:
    """A video file, its packet index and its decoder. Use it in a ``with`` block.

    ``index`` is the file's packet index where an earlier reading has made it: the file is then not read through again.
    ``truncation`` tells if the end of the file is missing; the index then has the packets that are there, without one
    that may be incomplete. ``stream_index`` names the stream, where it is not the one that a player would show.
    Raises BadInput where the file is damaged, empty or no video.
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
        """Whether the decoder is to reorder frames and yet the packets' times rise as they are decoded.

        Then the times are likely to be decoding times under the wrong name, as in MP4 without a ctts table.
        """
        index = self.index
        return self._reorders and not index.entry.all() and bool(np.all(np.diff(index.pts) > 0))

    @property
    def rate(self) -> Fraction:
        """Frames a second as the stream states or FFmpeg guesses it; 25 where neither knows."""
        return self._rate

    @property
    def frame_ticks(self) -> int:
        """How long a frame is shown at that rate, in ticks of the index's time base; at least 1."""
        return max(1, round(1 / (self.rate * self.index.time_base)))

    def packets(self, start: int, stop: int) -> Iterator[tuple[int, VideoPacket]]:
        """The packets at positions ``start`` up to and without ``stop``, each with its position.

        Seeks where that saves reading. Each packet is compared with the index; where a seek leads astray, the file is
        read again from its beginning. Raises BadInput where even then it gives other packets than before.
        Palettes and headers that are in force at ``start`` come with its packet, wherever the file has them.
        """
        with reading(self.path):
            for position, packet in self._checked(start, stop):
                for piece in self._side_data(position, position == start):
                    _attach(piece, packet)
                yield position, packet

    def _checked(self, start: int, stop: int) -> Iterator[tuple[int, VideoPacket]]:
        """The packets from ``start`` to ``stop``, as they are in the index."""
        self._approach(start)
        try:
            yield from self._in_step(start, stop)
        except _OutOfStepError as error:
            self._reopen()
            yield from self._once_more(max(start, error.position), stop)

    def _side_data(self, position: int, is_first: bool) -> Iterator[SideData]:
        """Yield the side data of the packet at ``position``; for the first one of a run, all that is in force there."""
        for pieces in self._lasting:
            place = bisect_right(pieces, position, key=lambda piece: piece.position)
            if place and (is_first or pieces[place - 1].position == position):
                yield pieces[place - 1]

    def _once_more(self, start: int, stop: int) -> Iterator[tuple[int, VideoPacket]]:
        """The packets from a file that was just opened again; BadInput where they are not those of the index."""
        try:
            yield from self._in_step(start, stop)
        except _OutOfStepError as error:
            raise BadInput(f"{self.path.name}: gives other packets when it is read again") from error

    def _read_index(self) -> PacketIndex:
        """Read the file through, and detect whether its end is missing."""
        with reading(self.path):
            index, failure = read_index(self.container, self.stream)
        self.truncation = find_truncation(self.container, self.stream, self.path, index, failure)
        if self.truncation is None or not len(index):
            return index
        return index.without_last() if self.truncation.is_last_cut or index.corrupt[-1] else index

    def _open(self) -> None:
        self.container: InputContainer = self._resources.enter_context(open_container(self.path))
        self.stream: VideoStream = video_stream(self.container, self.path, self._stream_index)
        self._demuxed: Iterator[VideoPacket] = demuxed(self.container, self.stream)

    def _reopen(self) -> None:
        """Stand before the file's first packet again, without a seek. The decoder keeps its state."""
        self._resources.close()
        self._open()
        self._cursor = 0

    def _in_step(self, start: int, stop: int) -> Iterator[tuple[int, VideoPacket]]:
        """Read on to ``stop`` and give the packets from ``start`` on, as long as they are those of the index."""
        while self._cursor < stop:
            packet = next(self._demuxed, None)
            position = self._cursor
            if packet is None or _identity(packet) != self.index.identity(position):
                raise _OutOfStepError(position)
            self._cursor += 1
            if position >= start:
                yield position, packet

    def _approach(self, start: int) -> None:
        """Stand at ``start`` or, where that is cheap, before it."""
        between = int(self.index.sizes[self._cursor : start].sum())
        if self._cursor <= start and between < _WORTH_A_SEEK_BYTES:
            return
        for timestamp in (self.index.pts[start], self.index.dts[start]):
            if timestamp != NO_TIME and self._seek(int(timestamp), start):
                return
        if self._cursor > start:
            self._reopen()

    def _seek(self, timestamp: int, start: int) -> bool:
        """Whether a seek to ``timestamp`` leads to a packet that the index knows, at or before ``start``."""
        self._cursor = len(self.index)  # unknown until a packet is recognised
        try:
            self.container.seek(timestamp, stream=self.stream, backward=True)
        except FFmpegError:
            return False
        packets = demuxed(self.container, self.stream)
        first = next(packets, None)
        position = None if first is None else self.index.position(*_identity(first))
        if first is None or position is None or position > start:
            return False
        self._cursor = position
        self._demuxed = chain([first], packets)
        return True


def _identity(packet: VideoPacket) -> tuple[int, int, int]:
    """What tells a packet from the others: its times, NO_TIME where it has none, and its size in bytes."""
    pts, dts = packet.pts, packet.dts
    return NO_TIME if pts is None else pts, NO_TIME if dts is None else dts, packet.size


def _attach(piece: SideData, packet: VideoPacket) -> None:
    """Give ``packet`` the side data, unless the demuxer has done so."""
    if packet.has_sidedata(piece.kind):
        return
    data = PacketSideData(_SIDE_DATA_TYPES[piece.kind], len(piece.data))  # type: ignore[call-arg]
    data.update(piece.data)
    packet.set_sidedata(data)
