"""Decoding a run of packets, and noticing what the decoder says against them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from av.error import FFmpegError
from av.video.frame import PictureType, VideoFrame

from tasks.media.demuxing import PacketSource, VideoPacket
from tasks.media.runs import Run

# The byte of hvcC that holds numTemporalLayers, in its bits 3 to 5.
_HVCC_LAYERS = 21
_INTRA_TYPES = frozenset({PictureType.I, PictureType.SI, PictureType.BI})


@dataclass(frozen=True)
class Complaint:
    """Something wrong with the packet at ``position``, in one clause."""

    position: int
    reason: str


class UnreliableIndexError(Exception):
    """A sound packet gave no frame: the time line has to be made by decoding."""


class MisledError(UnreliableIndexError):
    """Decoding started at a frame that depends on earlier ones."""


class RunDecoder:
    """Decodes runs of a source, on the calling thread.

    ``complaints`` are those of the latest run; they are complete when it has ended.
    """

    def __init__(self, source: PacketSource) -> None:
        self._source = source
        self._context = source.decoder
        self._may_skip = can_skip(self._context.name, self._context.extradata)
        self._context.copy_opaque = True  # each frame knows the packet that it comes from: see position_of
        self.complaints: list[Complaint] = []

    def wanted_frames(self, run: Run) -> Iterator[tuple[int, VideoFrame]]:
        """The frames of the packets that ``run`` wants, with their positions, in the order in which they are shown.

        Raises MisledError if the run starts within the video, and not with an intra frame.
        """
        wanted = set(run.wanted)
        return ((position, frame) for position, frame in self.frames_of(run) if position in wanted)

    def frames_of(self, run: Run) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames that ``run`` wants and all that had to be decoded for them; otherwise as wanted_frames."""
        wanted = set(run.wanted)
        second = self._source.index.second
        needed = wanted | {position + 1 for position in wanted if second[position + 1 : position + 2].any()}
        for frame in self._frames(run, needed if self._may_skip else None):
            position = position_of(frame)
            if position == run.start > 0 and not (frame.key_frame or frame.pict_type in _INTRA_TYPES):
                raise MisledError(f"{self._source.path.name}: packet {position} is no intra frame")
            yield position, frame

    def probe(self, run: Run) -> list[int]:
        """Which of the packets that ``run`` wants give a frame, whatever the decoder says against them."""
        return [position for position, frame in self.wanted_frames(run) if not frame.is_corrupt]

    def all_frames(self) -> Iterator[VideoFrame]:
        """Every frame of the video in the order in which the decoder gives it."""
        return self.frames_from(0)

    def frames_from(self, position: int) -> Iterator[VideoFrame]:
        """Every frame that a clean decoder gives from the packet at ``position`` on."""
        return self._frames(Run(position, len(self._source.index), ()), None)

    def _frames(self, run: Run, needed: set[int] | None) -> Iterator[VideoFrame]:
        """What a clean decoder makes of ``run``. Where ``needed`` is given, frames not in it that no other frame
        refers to may be left out."""
        self.complaints = []
        if self._context.is_open:
            self._context.flush_buffers()
        self._context.skip_frame = "DEFAULT"
        for position, packet in self._source.packets(run.start, run.stop):
            if needed is not None:
                self._context.skip_frame = "DEFAULT" if position in needed else "NONREF"
            packet.opaque = (position,)  # a new object each time: PyAV knows it by its address
            if packet.is_corrupt and run.wanted:
                self._complain(position, "the container marks its packet as corrupt")
            if not self._is_skipped(position, bool(run.wanted)):
                yield from self._fed(packet, position)
        yield from self._fed(None, run.stop - 1)

    def _is_skipped(self, position: int, is_judged: bool) -> bool:
        """Return True if a packet is not to be decoded: half a frame, for which a decoder would drop a whole one."""
        index = self._source.index
        if not index.unpaired[position]:
            return False
        if is_judged and not index.hidden[position]:
            self._complain(position, "its second field is missing")
        return bool(index.hidden[position]) or self._context.name in {"mpeg1video", "mpeg2video"}

    def _fed(self, packet: VideoPacket | None, position: int) -> Iterator[VideoFrame]:
        """The frames that come out when ``packet`` goes in; ``None`` brings out those that the decoder holds back."""
        try:
            frames = self._context.decode(packet)
        except FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            self._complain(position, f"the decoder says {error.strerror!r}")
            return
        for frame in frames:
            if frame.opaque is None:  # made up by the decoder
                frame.opaque = (position,)
            if frame.is_corrupt:
                self._complain(position_of(frame), "the decoder had to guess a part of it")
            yield frame

    def _complain(self, position: int, reason: str) -> None:
        self.complaints.append(Complaint(position, reason))


def position_of(frame: VideoFrame) -> int:
    """Return the position of the packet that a RunDecoder's frame comes from."""
    return int(cast("tuple[int]", frame.opaque)[0])


def can_skip(decoder: str, extradata: bytes | None) -> bool:
    """Whether frames that are not referenced may be skipped at any moment, without a change to any other frame.

    In H.264 (nal_ref_idc) and in MPEG-1 and -2 (B pictures) "not referenced" means by nothing. In HEVC it means by
    nothing in the same temporal layer: it holds for streams of one layer, which hvcC tells (ISO/IEC 14496-15, 8.3.3).
    """
    if decoder == "hevc":
        hvcc = extradata or b""
        return len(hvcc) > _HVCC_LAYERS and hvcc[0] == 1 and (hvcc[_HVCC_LAYERS] >> 3) & 7 == 1
    return decoder in {"h264", "mpeg1video", "mpeg2video"}
