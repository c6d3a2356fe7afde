"""The packet index: what one pass of the demuxer tells of a video, without decoding anything."""

from __future__ import annotations

from array import array
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.error import InvalidDataError
from av.packet import Packet
from av.video.stream import VideoStream

from tasks.media.opening import demuxed

NO_TIME = np.iinfo(np.int64).min

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PacketIndex:
    """The packets of one video stream in the order in which they are decoded; one entry a packet in each array.

    pts, dts    in units of ``time_base``; NO_TIME where the file has none
    durations   in units of ``time_base``; 0 where the file has none
    sizes       bytes
    keyframe    the packet can be decoded alone
    hidden      the packet gives no picture of its own to show: an edit list cuts it off, or it only serves others
    corrupt     the demuxer knows that the packet is damaged
    """

    pts: Int64s
    dts: Int64s
    durations: Int64s
    sizes: Int64s
    keyframe: Flags
    hidden: Flags
    corrupt: Flags
    time_base: Fraction

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def is_orderly(self) -> bool:
        """Whether each packet has a presentation time of its own and the decoding times never fall."""
        dts = self.dts[self.dts != NO_TIME]
        has_times = bool(np.all(self.pts != NO_TIME))
        return has_times and len(np.unique(self.pts)) == len(self.pts) and bool(np.all(np.diff(dts) >= 0))

    def identity(self, position: int) -> tuple[int, int, int]:
        """Presentation time, decoding time and size of the packet at ``position``."""
        return int(self.pts[position]), int(self.dts[position]), int(self.sizes[position])

    def position(self, pts: int, dts: int, size: int) -> int | None:
        """Where the packet with these marks stands; ``None`` where there is no such packet or more than one."""
        found = np.flatnonzero((self.pts == pts) & (self.dts == dts) & (self.sizes == size))
        return int(found[0]) if len(found) == 1 else None

    @cached_property
    def seek_points(self) -> Int64s:
        """Positions where decoding can start: keyframes after which nothing of before is shown any more."""
        shown_before = np.maximum.accumulate(np.concatenate(([NO_TIME], self.pts)))[:-1]
        return np.flatnonzero(self.keyframe & (self.pts > shown_before)).astype(np.int64)


def read_index(container: InputContainer, stream: VideoStream, cut_short: bool = False) -> PacketIndex:
    """Read every packet of ``stream`` from where ``container`` stands: its beginning. Nothing is decoded.

    Raises av.error.FFmpegError where the demuxer fails; with ``cut_short`` its failure is the end of the file.
    """
    is_vp8 = stream.codec_context.name == "vp8"
    rows = array("q")  # 56 bytes a packet: ten hours of video are some millions
    with suppress(*((InvalidDataError, EOFError) if cut_short else ())):
        for packet in demuxed(container, stream):
            rows.extend(_row(packet, is_vp8))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 7).T.copy()
    pts, dts, durations, sizes, keyframe, hidden, corrupt = columns
    time_base = stream.time_base or Fraction(1, 90_000)
    return PacketIndex(
        pts, dts, durations, sizes, keyframe.astype(bool), hidden.astype(bool), corrupt.astype(bool), time_base
    )


def _row(packet: Packet[VideoStream], is_vp8: bool) -> tuple[int, int, int, int, bool, bool, bool]:
    """One packet's entries, in the order of PacketIndex."""
    pts, dts = packet.pts, packet.dts
    return (
        NO_TIME if pts is None else pts,
        NO_TIME if dts is None else dts,
        packet.duration or 0,
        packet.size,
        packet.is_keyframe,
        packet.is_discard or (is_vp8 and _is_vp8_hidden(packet)),
        packet.is_corrupt,
    )


def _is_vp8_hidden(packet: Packet[VideoStream]) -> bool:
    """Whether a VP8 packet is an alternate reference frame: show_frame is bit 4 of the first byte (RFC 6386, 9.1)."""
    return not memoryview(packet)[0] & 0x10
