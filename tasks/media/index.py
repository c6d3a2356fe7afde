"""The packet index: the properties of a video's packets, from one pass of the demuxer without decoding."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.error import InvalidDataError
from av.packet import Packet
from av.video.stream import VideoStream

from tasks.media.entries import PacketInspector
from tasks.media.opening import demux_packets

NO_TIME = np.iinfo(np.int64).min

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Side data in force from its packet to the next of its kind. Demuxers give it once, and not again after a seek.
LASTING: tuple[Literal["palette", "new_extradata"], ...] = ("palette", "new_extradata")


@dataclass(frozen=True)
class SideData:
    """Side data of the packet at ``position`` that later packets need too. ``kind`` is one of LASTING."""

    position: int
    kind: Literal["palette", "new_extradata"]
    data: bytes


@dataclass(frozen=True)
class PacketIndex:
    """The packets of one video stream in the order in which they are decoded; one entry per packet in each array.

    pts, dts    in units of ``time_base``; NO_TIME if the file has none
    durations   in units of ``time_base``; 0 if the file has none
    sizes       bytes
    keyframe    the container marks the packet as a keyframe, rightly or not
    entry       decoding can start at the packet, as its own header proves (see entries.py)
    second      the packet holds the second field of the frame that begins in the packet before
    unpaired    the packet holds a field of a frame whose other field is missing
    hidden      the packet gives no frame to show: an edit list removes it, it is only a reference or a second field, or
                the file ends before its second field
    corrupt     the demuxer reports that the packet is damaged
    side_data   palettes and headers that change within the stream, by position
    is_packed   packets hold parts of several frames, so their times are not frame times
    """

    pts: Int64s
    dts: Int64s
    durations: Int64s
    sizes: Int64s
    keyframe: Flags
    entry: Flags
    second: Flags
    unpaired: Flags
    hidden: Flags
    corrupt: Flags
    time_base: Fraction
    side_data: tuple[SideData, ...] = ()
    is_packed: bool = False

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def is_orderly(self) -> bool:
        """True if presentation times exist and are unique, and decoding times never fall."""
        dts = self.dts[self.dts != NO_TIME]
        if self.is_packed or bool(np.any(self.pts == NO_TIME)):
            return False
        return len(np.unique(self.pts)) == len(self.pts) and bool(np.all(np.diff(dts) >= 0))

    @property
    def last_dts(self) -> int | None:
        """Decoding time of the last packet that has one; None if none has."""
        dts = self.dts[self.dts != NO_TIME]
        return int(dts[-1]) if len(dts) else None

    def drop_last(self) -> PacketIndex:
        """Return the index without its last packet. A field that this packet completed becomes unpaired."""
        unpaired, hidden = self.unpaired[:-1].copy(), self.hidden[:-1].copy()
        unpaired[-1:] |= self.second[-1]
        hidden[-1:] |= self.second[-1]
        return replace(
            self,
            pts=self.pts[:-1],
            dts=self.dts[:-1],
            durations=self.durations[:-1],
            sizes=self.sizes[:-1],
            keyframe=self.keyframe[:-1],
            entry=self.entry[:-1],
            second=self.second[:-1],
            unpaired=unpaired,
            hidden=hidden,
            corrupt=self.corrupt[:-1],
            side_data=tuple(piece for piece in self.side_data if piece.position < len(self) - 1),
        )

    def identify(self, position: int) -> tuple[int, int, int]:
        """Return presentation time, decoding time and size of the packet at ``position``."""
        return int(self.pts[position]), int(self.dts[position]), int(self.sizes[position])

    def find_position(self, pts: int, dts: int, size: int) -> int | None:
        """Return the position of the packet with this time and size; None if no packet, or several, have them."""
        matches = np.flatnonzero((self.pts == pts) & (self.dts == dts) & (self.sizes == size))
        return int(matches[0]) if len(matches) == 1 else None

    @cached_property
    def seek_points(self) -> Int64s:
        """Positions at which decoding can start: entries after which no earlier packet is shown."""
        shown_before = np.maximum.accumulate(np.concatenate(([NO_TIME], self.pts)))[:-1]
        return np.flatnonzero(self.entry & (self.pts > shown_before)).astype(np.int64)


def read_index(container: InputContainer, stream: VideoStream) -> tuple[PacketIndex, str]:
    """Read every packet of ``stream`` without decoding; ``container`` must be at its beginning.

    Returns the index, and the demuxer's error if damage ended the reading early, else an empty string.
    Raises av.error.FFmpegError if the demuxer fails at the first packet, or for a reason other than damage.
    """
    context = stream.codec_context
    inspector = PacketInspector(context.codec.canonical_name, context.extradata or b"", context.codec.intra_only)
    rows = array("q")  # 88 bytes per packet: ten hours of video have some million packets
    side_data: list[SideData] = []
    failure = ""
    try:
        for position, packet in enumerate(demux_packets(container, stream)):
            rows.extend(_make_row(packet, inspector))
            side_data.extend(_read_lasting_data(packet, position))
    except (InvalidDataError, EOFError) as error:
        if not rows:
            raise
        failure = str(error)
    columns = np.array(rows, dtype=np.int64).reshape(-1, 11).T.copy()
    pts, dts, durations, sizes = columns[:4]
    keyframe, entry, intra, field, second, hidden, corrupt = columns[4:].astype(bool)
    unpaired = field & ~second & ~np.append(second[1:], False)
    hidden[-1:] |= unpaired[-1:]
    if intra.all():  # no frame refers to another: each packet is an entry
        entry = intra
    time_base = stream.time_base or Fraction(1, 90_000)
    index = PacketIndex(
        pts,
        dts,
        durations,
        sizes,
        keyframe,
        entry,
        second,
        unpaired,
        hidden,
        corrupt,
        time_base,
        side_data=_add_first_header(side_data, context.extradata),
        is_packed=inspector.packs_frames,
    )
    return index, failure


def _make_row(packet: Packet[VideoStream], inspector: PacketInspector) -> tuple[int, ...]:
    """Return the entries of one packet in PacketIndex's order, with "intra" and "field" instead of "unpaired"."""
    pts, dts, is_keyframe = packet.pts, packet.dts, packet.is_keyframe
    facts = inspector.inspect(bytes(packet)) if inspector.needs(is_keyframe, packet.size) else inspector.default
    return (
        NO_TIME if pts is None else pts,
        NO_TIME if dts is None else dts,
        packet.duration or 0,
        packet.size,
        is_keyframe,
        facts.is_entry,
        facts.is_intra,
        facts.is_field,
        facts.is_second_field,
        packet.is_discard or facts.is_hidden or facts.is_second_field,
        packet.is_corrupt,
    )


def _read_lasting_data(packet: Packet[VideoStream], position: int) -> list[SideData]:
    """Return the side data of a packet that later packets need too."""
    return [SideData(position, kind, bytes(packet.get_sidedata(kind))) for kind in LASTING if packet.has_sidedata(kind)]


def _add_first_header(side_data: list[SideData], extradata: bytes | None) -> tuple[SideData, ...]:
    """Return ``side_data`` with the stream's first header, if headers change: seeking back needs it again."""
    headers = [piece.position for piece in side_data if piece.kind == "new_extradata"]
    if extradata and headers and headers[0] > 0:
        side_data.insert(0, SideData(0, "new_extradata", extradata))
    return tuple(side_data)
