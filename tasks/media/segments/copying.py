"""Packet copy of all streams but the video, with times shifted to those of the joined video."""

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

from tasks.media.opening import translate_errors
from tasks.media.segments.clock import Clock, measure_restart_delays
from tasks.media.segments.source import Survey

# Containers whose times start at an arbitrary value; in others, a start other than zero is intended.
_ARBITRARY_CLOCKS = frozenset({"mpegts", "mpeg"})

AnyPacket: TypeAlias = "Packet[Any]"


@dataclass(frozen=True)
class TimeShift:
    """The conversion of source times to times in the joined video.

    begin_seconds   subtracted from all times; 0 except for containers with an arbitrary start
    moves_seconds   one value per restart of the source's times, added from there on
    """

    begin_seconds: Fraction
    moves_seconds: tuple[Fraction, ...]


def plan_time_shift(container: InputContainer, streams: Sequence[Stream], found: Survey, clock: Clock) -> TimeShift:
    """Return the shift if ``streams`` are copied; with an arbitrary start, the first packet gets time 0."""
    moves = tuple(measure_restart_delays(found.timeline)) if found.positions is None else ()
    if container.format.name not in _ARBITRARY_CLOCKS:
        return TimeShift(Fraction(0), moves)
    starts = [stream.start_time * (stream.time_base or 0) for stream in streams if stream.start_time is not None]
    first = min([int(clock.pts[0]) * clock.time_base, *starts])
    return TimeShift(first // clock.time_base * clock.time_base, moves)


def copy_packets(
    path: Path, container: InputContainer, streams: Sequence[Stream], shift: TimeShift, tolerant: bool
) -> Iterator[AnyPacket]:
    """Yield the shifted packets of ``streams`` in the order of the file; decoding times increase within each stream.

    With ``tolerant``, an error of the demuxer ends the file and a truncated packet is dropped; otherwise it raises
    BadInput.
    """
    for stream in container.streams:
        stream.discard = Discard.default if stream in streams else Discard.all
    clocks = {stream.index: _StreamClock(stream, shift) for stream in streams}
    for packet in _demux(path, container, streams, tolerant):
        is_copied = packet.size and packet.stream_index in clocks
        if is_copied and not (tolerant and _is_truncated(packet, container.streams[packet.stream_index])):
            clocks[packet.stream_index].set_times(packet)
            yield packet


def _is_truncated(packet: AnyPacket, stream: Stream) -> bool:
    """Return True if the packet is truncated: a short AAC frame, or an incomplete sample."""
    name = stream.codec_context.codec.canonical_name
    if name == "aac":
        stated = read_adts_length(memoryview(packet))
        return stated is not None and stated != packet.size
    if isinstance(stream, AudioStream) and name.startswith("pcm_"):
        context = stream.codec_context
        return packet.size % (context.channels * context.format.bytes) != 0
    return False


def read_adts_length(payload: memoryview) -> int | None:
    """Return the length of an AAC frame in its header, in bytes; None without a header.

    Only transport streams have this header (ISO/IEC 14496-3, 1.A.2.2).
    """
    if len(payload) < 7 or payload[0] != 0xFF or payload[1] & 0xF6 != 0xF0:
        return None
    return (payload[3] & 3) << 11 | payload[4] << 3 | payload[5] >> 5


def _demux(path: Path, container: InputContainer, streams: Sequence[Stream], tolerant: bool) -> Iterator[AnyPacket]:
    packets = container.demux(*streams) if streams else iter(())
    while True:
        try:
            with nullcontext() if tolerant else translate_errors(path):
                packet = next(packets, None)
        except IndexError:  # PyAV 18, at the end of a file with streams that appear late
            return
        except (InvalidDataError, EOFError):
            return
        if packet is None:
            return
        yield packet


class _StreamClock:
    """Sets the times of the packets of one stream."""

    def __init__(self, stream: Stream, shift: TimeShift) -> None:
        self._time_base = stream.time_base or Fraction(1, 90_000)
        self._offset = -round(shift.begin_seconds / self._time_base)
        self._moves = [round(move / self._time_base) + self._offset for move in shift.moves_seconds]
        self._second = round(1 / self._time_base)
        self._min_step = max(1, self._second // 1000)  # the resolution of Matroska
        self._may_coincide = stream.type == "subtitle"
        self._read: int | None = None
        self._written: int | None = None
        self._end = 0

    def set_times(self, packet: AnyPacket) -> None:
        """Shift the times of ``packet``; set missing ones, and delay those that overlap after a restart."""
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:  # it follows the previous packet
            packet.pts = packet.dts = dts = self._end
        else:
            self._notice_restart(dts)
            presentation = packet.pts if packet.pts is not None else dts
            shift = self._offset + self._get_delay(dts + self._offset)
            packet.dts, packet.pts = dts + shift, presentation + shift
        self._written = packet.dts
        self._end = (packet.dts or 0) + max(1, packet.duration or 0)

    def _get_delay(self, due: int) -> int:
        """Return the delay that keeps decoding times increasing."""
        written = self._written
        if written is None or due > written or (due == written and self._may_coincide):
            return 0
        return written + self._min_step - due

    def _notice_restart(self, dts: int) -> None:
        """Apply the delay of the video after a restart of the times."""
        if self._read is not None and dts < self._read - self._second and self._moves:
            self._offset = self._moves.pop(0)
        self._read = dts
