"""Packets of everything but the picture, out of the source as they are, each with its time in the joined video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import InvalidDataError
from av.packet import Packet
from av.stream import Discard, Stream

from tasks.media.opening import reading
from tasks.media.segments.clock import Clock, moves_of_time
from tasks.media.segments.source import Survey

# Their times count from wherever the recorder stood; in the others a start that is not zero is meant.
_ARBITRARY_CLOCKS = frozenset({"mpegts", "mpeg"})

AnyPacket: TypeAlias = "Packet[Any]"


@dataclass(frozen=True)
class TimeShift:
    """How times of the source become times of the joined video.

    begin_seconds   what is taken from all of them; 0 but for containers whose clocks stand anywhere at the start
    moves_seconds   where the source's times begin anew, what is added from there on: one for each such place
    """

    begin_seconds: Fraction
    moves_seconds: tuple[Fraction, ...]


def time_shift(container: InputContainer, streams: Sequence[Stream], found: Survey, clock: Clock) -> TimeShift:
    """The shift for a source of which ``streams`` are copied: what comes first comes at 0, where that is due."""
    moves = tuple(moves_of_time(found.timeline)) if found.positions is None else ()
    if container.format.name not in _ARBITRARY_CLOCKS:
        return TimeShift(Fraction(0), moves)
    starts = [stream.start_time * (stream.time_base or 0) for stream in streams if stream.start_time is not None]
    first = min([int(clock.pts[0]) * clock.time_base, *starts])
    return TimeShift(first // clock.time_base * clock.time_base, moves)


def copied_packets(
    path: Path, container: InputContainer, streams: Sequence[Stream], shift: TimeShift, tolerant: bool
) -> Iterator[AnyPacket]:
    """The packets of ``streams`` of the file at ``path``, in its order, shifted; in each stream decoding times rise.

    With ``tolerant`` a failure of the demuxer is the end of the file, and a packet that it cut in two is left out; else
    it raises BadInput.
    """
    for stream in container.streams:
        stream.discard = Discard.default if stream in streams else Discard.all
    clocks = {stream.index: _StreamClock(stream, shift) for stream in streams}
    for packet in _demuxed(path, container, streams, tolerant):
        is_wanted = packet.size and packet.stream_index in clocks
        if is_wanted and not (tolerant and _is_cut(packet, container.streams[packet.stream_index])):
            clocks[packet.stream_index].set_times(packet)
            yield packet


def _is_cut(packet: AnyPacket, stream: Stream) -> bool:
    """Whether the packet is the beginning of one: an AAC frame shorter than its header says, or part of a sample."""
    name = stream.codec_context.codec.canonical_name
    if name == "aac":
        stated = adts_length(memoryview(packet))
        return stated is not None and stated != packet.size
    if isinstance(stream, AudioStream) and name.startswith("pcm_"):
        context = stream.codec_context
        return packet.size % (context.channels * context.format.bytes) != 0
    return False


def adts_length(payload: memoryview) -> int | None:
    """How long an AAC frame is as its header says, in bytes; ``None`` where it has no header.

    It has one in transport streams and in no other container (ISO/IEC 14496-3, 1.A.2.2).
    """
    if len(payload) < 7 or payload[0] != 0xFF or payload[1] & 0xF6 != 0xF0:
        return None
    return (payload[3] & 3) << 11 | payload[4] << 3 | payload[5] >> 5


def _demuxed(path: Path, container: InputContainer, streams: Sequence[Stream], tolerant: bool) -> Iterator[AnyPacket]:
    packets = container.demux(*streams) if streams else iter(())
    while True:
        try:
            with nullcontext() if tolerant else reading(path):
                packet = next(packets, None)
        except IndexError:  # PyAV 18, at the end of a file in which further streams turned up while it was read
            return
        except (InvalidDataError, EOFError):
            return
        if packet is None:
            return
        yield packet


class _StreamClock:
    """The times of one stream's packets."""

    def __init__(self, stream: Stream, shift: TimeShift) -> None:
        self._time_base = stream.time_base or Fraction(1, 90_000)
        self._offset = -round(shift.begin_seconds / self._time_base)
        self._moves = [round(move / self._time_base) + self._offset for move in shift.moves_seconds]
        self._second = round(1 / self._time_base)
        self._least = max(1, self._second // 1000)  # Matroska tells no less apart
        self._may_coincide = stream.type == "subtitle"
        self._read: int | None = None
        self._written: int | None = None
        self._end = 0

    def set_times(self, packet: AnyPacket) -> None:
        """Shift ``packet``; give it a time where it has none, and a later one where times that begin anew overlap."""
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:  # it follows what came before
            packet.pts = packet.dts = dts = self._end
        else:
            self._notice_restart(dts)
            presentation = packet.pts if packet.pts is not None else dts
            moved = self._offset + self._late(dts + self._offset)
            packet.dts, packet.pts = dts + moved, presentation + moved
        self._written = packet.dts
        self._end = (packet.dts or 0) + max(1, packet.duration or 0)

    def _late(self, due: int) -> int:
        """By how much a packet that is due then must come later, for decoding times to rise."""
        written = self._written
        if written is None or due > written or (due == written and self._may_coincide):
            return 0
        return written + self._least - due

    def _notice_restart(self, dts: int) -> None:
        """Where the source's times begin anew, go on as the picture does."""
        if self._read is not None and dts < self._read - self._second and self._moves:
            self._offset = self._moves.pop(0)
        self._read = dts
