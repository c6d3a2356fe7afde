"""Inspect and check segment files before the join."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path

import numpy as np

from tasks.engine.contract.errors import BadInput
from tasks.media.demuxing import PacketSource, VideoPacket
from tasks.media.index import Int64s, PacketIndex
from tasks.media.opening import demux_packets, open_container, select_video_stream
from tasks.media.segments.clock import Clock
from tasks.media.segments.errors import SegmentError


@dataclass(frozen=True)
class StreamHeader:
    """The parameters of a stream, which must be equal in all segments of a video.

    parameter_sets   sha256 of the codec configuration (avcC, hvcC, av1C and so on)
    """

    codec: str
    width_px: int
    height_px: int
    pixel_format: str
    sample_aspect: Fraction
    parameter_sets: str


@dataclass(frozen=True)
class Part:
    """One segment file.

    ranks   int64, one per packet in decoding order: the packet's rank in presentation order
    delay   maximum number of packets that precede one with an earlier presentation time
    """

    path: Path
    header: StreamHeader
    index: PacketIndex
    ranks: Int64s
    delay: int

    def __len__(self) -> int:
        return len(self.index)

    def packets(self) -> Iterator[VideoPacket]:
        """Yield the packets in decoding order. Raises SegmentError if they differ from the index."""
        count = 0
        with open_container(self.path) as container:
            for packet in demux_packets(container, select_video_stream(container, self.path)):
                if count == len(self) or packet.size != self.index.sizes[count]:
                    raise SegmentError(f"{self.path.name}: has changed while it was joined")
                yield packet
                count += 1
        if count != len(self):
            raise SegmentError(f"{self.path.name}: has changed while it was joined")


def inspect_part(path: Path) -> Part:
    """Read the whole segment file at ``path`` without decoding. Raises SegmentError if it is damaged."""
    try:
        with PacketSource(path) as source:
            index, context, stream = source.index, source.decoder, source.stream
            header = StreamHeader(
                codec=context.codec.canonical_name,
                width_px=context.width,
                height_px=context.height,
                pixel_format=context.pix_fmt or "",
                sample_aspect=stream.sample_aspect_ratio or Fraction(1),
                parameter_sets=hashlib.sha256(context.extradata or b"").hexdigest(),
            )
    except BadInput as error:
        raise SegmentError(f"segment {error}") from error
    if not index.is_orderly:
        raise SegmentError(f"segment {path.name}: its packets have no times, or the same twice")
    ranks = np.argsort(np.argsort(index.pts)).astype(np.int64)
    delay = int((np.arange(len(ranks)) - ranks).max(initial=0))
    return Part(path, header, index, ranks, delay)


def check_part(part: Part, clock: Clock) -> None:
    """Raise SegmentError if ``part`` is not one closed segment with the frames of ``clock``, which starts at 0.

    Times may be rounded to the ticks of the file, but not by half a frame. This detects files in which an encoder has
    forced a constant frame rate.
    """
    name = part.path.name
    if len(part) != len(clock):
        raise SegmentError(f"{name}: has {len(part)} frames instead of {len(clock)}")
    if not part.index.keyframe[0] or part.ranks[0] != 0:
        raise SegmentError(f"{name}: does not start with a keyframe that is shown first")
    shown = np.sort(part.index.pts)
    seconds = (shown - shown[0]) * float(part.index.time_base)
    due = clock.pts * float(clock.time_base)
    allowed = np.minimum(clock.durations, np.concatenate([clock.durations[:1], clock.durations[:-1]])) / 2
    late = np.abs(seconds - due) > np.maximum(allowed * float(clock.time_base), 1.01 * float(part.index.time_base))
    if late.any():
        first = int(np.argmax(late))
        raise SegmentError(f"{name}: frame {first} is shown at {seconds[first]:.6f} s instead of {due[first]:.6f} s")


def check_together(parts: Sequence[Part]) -> None:
    """Raise SegmentError if packets of different parts cannot be in one stream."""
    first = parts[0]
    for part in parts[1:]:
        for field in fields(StreamHeader):
            ours, others = getattr(first.header, field.name), getattr(part.header, field.name)
            if ours != others:
                what = f"{field.name} {others} and not {ours}" if len(str(ours)) < 40 else f"other {field.name}"
                raise SegmentError(
                    f"{part.path.name}: has {what} as {first.path.name}; encode all segments with the same settings "
                    "and the same program"
                )
