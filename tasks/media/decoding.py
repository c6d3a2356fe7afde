"""Decoding a run of packets, and collecting the decoder's complaints about them."""

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
    """A defect of the packet at ``position``; ``reason`` is one clause."""

    position: int
    reason: str


class UnreliableIndexError(Exception):
    """An intact packet gave no frame: the timeline has to be made by decoding."""


class NoIntraFrameError(UnreliableIndexError):
    """Decoding started at a frame that depends on earlier ones."""


class RunDecoder:
    """Decodes runs of a source, on the calling thread.

    ``complaints`` are those of the latest run; they are complete when the run has ended.
    """

    def __init__(self, source: PacketSource) -> None:
        self._source = source
        self._context = source.decoder
        self._may_skip = can_skip(self._context.name, self._context.extradata)
        self._context.copy_opaque = True  # links each frame to its packet: see get_position
        self.complaints: list[Complaint] = []

    def decode_wanted(self, run: Run) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames of the wanted packets of ``run``, with their positions, in presentation order.

        Raises NoIntraFrameError if the run starts within the video, but not with an intra frame.
        """
        wanted = set(run.wanted)
        return ((position, frame) for position, frame in self.decode_run(run) if position in wanted)

    def decode_run(self, run: Run) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames of the wanted packets of ``run`` and all frames decoded for them; see also decode_wanted."""
        wanted = set(run.wanted)
        second = self._source.index.second
        needed = wanted | {position + 1 for position in wanted if second[position + 1 : position + 2].any()}
        for frame in self._decode_packets(run, needed if self._may_skip else None):
            position = get_position(frame)
            if position == run.start > 0 and not (frame.key_frame or frame.pict_type in _INTRA_TYPES):
                raise NoIntraFrameError(f"{self._source.path.name}: packet {position} is no intra frame")
            yield position, frame

    def probe(self, run: Run) -> list[int]:
        """Return the positions of the wanted packets of ``run`` that give a frame, despite any complaints."""
        return [position for position, frame in self.decode_wanted(run) if not frame.is_corrupt]

    def decode_all(self) -> Iterator[VideoFrame]:
        """Yield every frame of the video in the decoder's order."""
        return self.decode_from(0)

    def decode_from(self, position: int) -> Iterator[VideoFrame]:
        """Yield every frame that a flushed decoder gives from the packet at ``position`` on."""
        return self._decode_packets(Run(position, len(self._source.index), ()), None)

    def _decode_packets(self, run: Run, needed: set[int] | None) -> Iterator[VideoFrame]:
        """Yield the frames that a flushed decoder gives for ``run``.

        If ``needed`` is given, unreferenced frames of other packets may be left out.
        """
        self.complaints = []
        if self._context.is_open:
            self._context.flush_buffers()
        self._context.skip_frame = "DEFAULT"
        for position, packet in self._source.read_packets(run.start, run.stop):
            if needed is not None:
                self._context.skip_frame = "DEFAULT" if position in needed else "NONREF"
            packet.opaque = (position,)  # a new object each time: PyAV identifies it by its address
            if packet.is_corrupt and run.wanted:
                self._add_complaint(position, "the container marks its packet as corrupt")
            if not self._is_skipped(position, bool(run.wanted)):
                yield from self._decode_packet(packet, position)
        yield from self._decode_packet(None, run.stop - 1)

    def _is_skipped(self, position: int, is_judged: bool) -> bool:
        """Return True if a packet must not be decoded: a single field, for which a decoder would drop a whole frame."""
        index = self._source.index
        if not index.unpaired[position]:
            return False
        if is_judged and not index.hidden[position]:
            self._add_complaint(position, "its second field is missing")
        return bool(index.hidden[position]) or self._context.name in {"mpeg1video", "mpeg2video"}

    def _decode_packet(self, packet: VideoPacket | None, position: int) -> Iterator[VideoFrame]:
        """Yield the frames that the decoder outputs for ``packet``; ``None`` outputs those that it holds back."""
        try:
            frames = self._context.decode(packet)
        except FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            self._add_complaint(position, f"the decoder says {error.strerror!r}")
            return
        for frame in frames:
            if frame.opaque is None:  # generated by the decoder
                frame.opaque = (position,)
            if frame.is_corrupt:
                self._add_complaint(get_position(frame), "the decoder had to guess a part of it")
            yield frame

    def _add_complaint(self, position: int, reason: str) -> None:
        self.complaints.append(Complaint(position, reason))


def get_position(frame: VideoFrame) -> int:
    """Return the position of the packet that a RunDecoder's frame comes from."""
    return int(cast("tuple[int]", frame.opaque)[0])


def can_skip(decoder: str, extradata: bytes | None) -> bool:
    """Return True if unreferenced frames may be skipped at any time without changing any other frame.

    In H.264 (nal_ref_idc) and in MPEG-1 and -2 (B frames), no frame refers to an unreferenced frame. In HEVC, no frame
    of the same temporal layer does, so streams must have one layer, as hvcC states (ISO/IEC 14496-15, 8.3.3).
    """
    if decoder == "hevc":
        hvcc = extradata or b""
        return len(hvcc) > _HVCC_LAYERS and hvcc[0] == 1 and (hvcc[_HVCC_LAYERS] >> 3) & 7 == 1
    return decoder in {"h264", "mpeg1video", "mpeg2video"}
