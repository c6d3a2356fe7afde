"""Whether a segment file, or a joined video, is what it must be: counted, timed and compared, not believed."""

from __future__ import annotations

import hashlib
import json
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.stream import Stream

from tasks.engine.contract.bounded import parse_json, read_at_most
from tasks.engine.contract.errors import BadInput
from tasks.media.decoding import RunDecoder
from tasks.media.demuxing import PacketSource
from tasks.media.index import PacketIndex
from tasks.media.opening import open_container
from tasks.media.runs import plan_runs
from tasks.media.segments.clock import Clock
from tasks.media.segments.containers import codec_name
from tasks.media.segments.converting import Conversion, heard
from tasks.media.segments.copying import AnyPacket, TimeShift, adts_length, copied_packets, time_shift
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.joining import Joined, JoinPlan
from tasks.media.segments.parts import check_part, inspect_part
from tasks.media.segments.plan import Segment
from tasks.media.segments.planes import frame_digest

Seconds = npt.NDArray[np.floating[Any]]

_TOLD_DAMAGE = 5
_MAX_REPORT_BYTES = 1 << 20
_REORDERED = 8  # frames at the end that encoders may decode in another order, and more


@dataclass(frozen=True)
class SegmentReport:
    """A segment file that is as planned: how many frames it has, and the digests of the first and the last.

    damaged_frames   of the source's frames that it was made of: those that the decoder had to conceal or repeat
    damage           what is wrong with the first few of these, a line each
    """

    frames: int
    first_digest: str
    last_digest: str
    damaged_frames: int = 0
    damage: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """JSON, which reports go through, has lists for tuples."""
        object.__setattr__(self, "damage", tuple(self.damage))

    def write(self, path: Path) -> None:
        """Say it beside the segment's file, for :func:`read_reports`."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    def with_damage(self, damaged: Mapping[int, str], segment: Segment) -> SegmentReport:
        """The same report with what ``SegmentReader.damaged`` says of frames of ``segment``, without its context."""
        own = sorted(index for index in damaged if segment.start_frame <= index < segment.end_frame)
        lines = tuple(f"frame {index}: {damaged[index]}" for index in own[:_TOLD_DAMAGE])
        return replace(self, damaged_frames=len(own), damage=lines)


@dataclass(frozen=True)
class CopyReport:
    """A copied stream that is as in the source.

    late_seconds   by how much, at most, a packet's time differs from the source's: what the container rounds
    """

    stream: int
    kind: str
    packets: int
    payload_bytes: int
    late_seconds: float


@dataclass(frozen=True)
class ConversionReport:
    """A stream of sound that was encoded again, and has all samples that the source's decoder gives.

    what           one line for people
    late_seconds   by how much its start differs from the source's: what the container rounds
    """

    stream: int
    what: str
    samples: int
    late_seconds: float


@dataclass(frozen=True)
class JoinedReport:
    """A joined video that is as planned.

    late_seconds      by how much, at most, a frame's time differs from the source's: what the container rounds
    moved_seconds     how much later than in the source all streams are: WebM and Matroska have no times before 0
    compared_frames   frames at the ends of segments that were decoded and found to be those of the segments
    conversions       streams of sound in another codec, with the same samples as the source's
    """

    frames: int
    duration_seconds: float
    late_seconds: float
    moved_seconds: float
    compared_frames: int
    copies: tuple[CopyReport, ...]
    conversions: tuple[ConversionReport, ...] = ()

    @property
    def sound_late_seconds(self) -> float:
        """By how much, at most, a packet of the sound comes at another time than in the source."""
        return max((copy.late_seconds for copy in self.copies if copy.kind == "audio"), default=0.0)


def read_reports(paths: Sequence[Path]) -> list[SegmentReport]:
    """What each segment of a video, in order, was said to hold when it was made.

    Raises BadInput if some were not made or are damaged.
    """
    missing = [str(number) for number, path in enumerate(paths) if not path.is_file()]
    if missing:
        numbers = ", ".join(missing[:10]) + (" and others" if len(missing) > 10 else "")
        advice = "their own failures say why; the same command tries them again, and takes the others as they are"
        raise BadInput(f"{len(missing)} of {len(paths)} segments were not made ({numbers}): {advice}")
    return [_read_report(path) for path in paths]


def _read_report(path: Path) -> SegmentReport:
    try:
        return SegmentReport(**parse_json(read_at_most(path, _MAX_REPORT_BYTES)))
    except (OSError, ValueError, TypeError) as error:
        text = str(error).partition("\n")[0]
        raise BadInput(f"{path.name}, the report on a segment, is damaged ({text}): remove it and run again") from error


def verify_segment(path: Path, clock: Clock) -> SegmentReport:
    """Check the segment file at ``path`` against the clock of its frames, which begins at 0.

    Raises SegmentError with the first thing that is wrong.
    """
    part = inspect_part(path)
    check_part(part, clock)
    first, last = _digests(path, part.index, [0, len(part) - 1])
    return SegmentReport(len(part), first, last)


def verify_joined(joined: Joined, plan: JoinPlan, reports: Sequence[SegmentReport]) -> JoinedReport:
    """Check a joined video against its source and the reports of its segments.

    Every frame is counted and its time compared; the frames at the ends of segments are decoded and compared; every
    packet of the other streams is compared with the source's, byte for byte and in time; sound that was encoded again
    is decoded and compared, sample by sample.
    Raises SegmentError with the first difference.
    """
    try:
        with PacketSource(joined.path, stream_index=joined.video) as video:
            index, stated, aspect = video.index, video.stream.duration, video.stream.sample_aspect_ratio
    except BadInput as error:
        raise SegmentError(f"joined video {error}") from error
    due = plan.clock.pts - round(joined.begin_seconds / plan.clock.time_base)
    moved, late = _check_times(joined.path, index, due * float(plan.clock.time_base))
    _check_aspect(joined.path, aspect or Fraction(1), plan)
    _check_ends(joined, index, plan, reports)
    copies = _check_copies(joined, plan, moved)
    duration = _check_duration(joined.path, index, stated, plan.clock)
    conversions = _check_conversions(joined, plan, moved)
    return JoinedReport(len(index), duration, late, moved, 2 * len(reports), copies, conversions)


def _check_times(path: Path, index: PacketIndex, due: Seconds) -> tuple[float, float]:
    """How much later all frames of the file are than ``due``, in seconds, and how much more any one of them is."""
    if len(index) != len(due):
        raise SegmentError(f"{path.name}: has {len(index)} frames instead of {len(due)}")
    if index.hidden.any():
        rank = int(np.argsort(np.argsort(index.pts))[np.argmax(index.hidden)])
        raise SegmentError(f"{path.name}: frame {rank} is not shown: an edit list cuts it off")
    if not index.is_orderly:
        raise SegmentError(f"{path.name}: frames without a time, or two at the same")
    tick = float(index.time_base)
    seconds = np.sort(index.pts) * tick
    moved = _moved(float(seconds[0] - due[0]), tick)
    errors = np.abs(seconds - due - moved)
    first = int(np.argmax(errors > 0.51 * tick + 1e-9))
    if errors[first] > 0.51 * tick + 1e-9:
        raise SegmentError(
            f"{path.name}: frame {first} is shown at {seconds[first]:.6f} s instead of {due[first]:.6f} s"
        )
    return moved, float(errors.max())


def _check_aspect(path: Path, aspect: Fraction, plan: JoinPlan) -> None:
    """Raises SegmentError where pixels are to be shown wider or higher than those of the segments are.

    WebM says how wide pictures are shown in whole pixels.
    """
    header = inspect_part(plan.files[0]).header
    allowed = Fraction(1, header.width_px) if path.suffix == ".webm" else 0
    if abs(aspect - header.sample_aspect) > allowed:
        raise SegmentError(f"{path.name}: its pixels have the shape {aspect} and not {header.sample_aspect}")


def _uneven_end(clock: Clock) -> Fraction:
    """By how many seconds the last frames differ in length, as where a tape is broken off between two of them.

    MP4 counts how long a track is in decoding times, and is off by as much.
    """
    ends = clock.durations[-_REORDERED:]
    return int(ends.max() - ends.min()) * clock.time_base


def _check_duration(path: Path, index: PacketIndex, stated: int | None, clock: Clock) -> float:
    """How long the video is, in seconds, from the first frame's start to the last one's end.

    ``stated`` is what the container says, in ticks; Matroska does not say, nor how long its last frame is shown.
    """
    last = int(clock.durations[-1]) * clock.time_base
    duration = float(int(index.pts.max() - index.pts.min()) * index.time_base + last)
    allowed = 0.001 + float(index.time_base + _uneven_end(clock))
    if stated is not None and abs(float(stated * index.time_base) - duration) > allowed:
        raise SegmentError(
            f"{path.name}: says that it is {float(stated * index.time_base):.3f} s and not {duration:.3f}"
        )
    return duration


def _moved(seconds: float, tick: float) -> float:
    """``seconds``, where that is more than rounding."""
    return round(seconds / tick) * tick if abs(seconds) > tick else 0.0


def _check_ends(joined: Joined, index: PacketIndex, plan: JoinPlan, reports: Sequence[SegmentReport]) -> None:
    """Raises SegmentError where a frame at an end of a segment is not the one that the segment's report has."""
    expected: dict[int, str] = {}
    for segment, report in zip(plan.segments, reports, strict=True):
        start, end = plan.clock.written(segment.start_frame, segment.end_frame)
        expected |= {start: report.first_digest, end - 1: report.last_digest}
    ranks = sorted(expected)
    for rank, digest in zip(ranks, _digests(joined.path, index, ranks, joined.video), strict=True):
        if digest != expected[rank]:
            raise SegmentError(f"{joined.path.name}: frame {rank} is not the one that its segment has there")


def _digests(path: Path, index: PacketIndex, ranks: Sequence[int], stream: int | None = None) -> list[str]:
    """The digests of the frames with these ranks, rising. Raises SegmentError where one cannot be decoded."""
    order = np.argsort(index.pts, kind="stable")
    rank_of = {int(order[rank]): rank for rank in ranks}
    found: dict[int, str] = {}
    with PacketSource(path, index=index, stream_index=stream) as source:
        decoder = RunDecoder(source)
        for run in plan_runs(index, sorted(rank_of)):
            found |= {rank_of[position]: frame_digest(frame) for position, frame in decoder.wanted_frames(run)}
            if decoder.complaints:
                raise SegmentError(f"{path.name}: is damaged: {decoder.complaints[0].reason}")
    missing = set(ranks) - set(found)
    if missing:
        raise SegmentError(f"{path.name}: frame {min(missing)} cannot be decoded")
    return [found[rank] for rank in ranks]


@dataclass
class _Trace:
    """What the packets of one stream are, and when: 20 bytes a packet."""

    is_stream_of_bytes: bool
    time_base: Fraction
    times: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    sums: array[int] = field(default_factory=lambda: array("L"))
    whole: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    def add(self, packet: AnyPacket, payload: memoryview) -> None:
        """Take ``packet`` into account, of which ``payload`` counts."""
        self.times.append(packet.pts if packet.pts is not None else packet.dts or 0)
        self.sizes.append(len(payload))
        self.sums.append(zlib.crc32(payload))
        self.whole.update(payload)

    @property
    def payload_bytes(self) -> int:
        """Of all packets together."""
        return sum(self.sizes)


def _check_copies(joined: Joined, plan: JoinPlan, moved: float) -> tuple[CopyReport, ...]:
    """Compare every copied stream of a joined video with the source's."""
    with open_container(plan.source) as container:
        streams = [container.streams[index] for index, _ in joined.copied]
        shift = time_shift(container, streams, plan.survey, plan.clock)
        sources = _traces(plan.source, container, streams, shift, plan.survey.tolerant)
        kinds = [f"{stream.type} ({codec_name(stream)})" for stream in streams]
    with open_container(joined.path) as container:
        streams = [container.streams[index] for _, index in joined.copied]
        copies = _traces(joined.path, container, streams, TimeShift(Fraction(0), ()), tolerant=False)
    numbers = [index for _, index in joined.copied]
    found = zip(numbers, kinds, sources, copies, strict=True)
    return tuple(_compared(number, kind, before, after, moved) for number, kind, before, after in found)


def _check_conversions(joined: Joined, plan: JoinPlan, moved: float) -> tuple[ConversionReport, ...]:
    """Compare every stream of sound that was encoded again with the source's."""
    return tuple(_check_conversion(conversion, joined, plan, moved) for conversion in joined.converted)


def _check_conversion(conversion: Conversion, joined: Joined, plan: JoinPlan, moved: float) -> ConversionReport:
    """Raises SegmentError where a sample differs, or the start."""
    with open_container(plan.source) as container:
        copied = [index for index, _ in joined.copied] + [other.stream for other in joined.converted]
        shift = time_shift(container, [container.streams[index] for index in copied], plan.survey, plan.clock)
        stream = container.streams[conversion.stream]
        before = heard(stream, copied_packets(plan.source, container, [stream], shift, plan.survey.tolerant))
    with open_container(joined.path) as container:
        stream = container.streams[conversion.joined]
        unmoved = TimeShift(Fraction(0), ())
        after = heard(stream, copied_packets(joined.path, container, [stream], unmoved, tolerant=False))
        tick = float(stream.time_base or 0)
    if (before.count, before.digest) != (after.count, after.digest):
        raise SegmentError(f"{conversion}: has {after.count} samples that are not the source's {before.count}")
    late = (after.start - before.start) / before.rate - moved
    if abs(late) > 0.51 * tick + 0.51 / before.rate:
        raise SegmentError(f"{conversion}: begins {late:+.6f} s away from its time in the source")
    return ConversionReport(conversion.stream, str(conversion), after.count, abs(late))


def _traces(
    path: Path, container: InputContainer, streams: Sequence[Stream], shift: TimeShift, tolerant: bool
) -> list[_Trace]:
    """The traces of ``streams``, from one pass through the file."""
    traces = {
        stream.index: _Trace(stream.codec_context.name.startswith("pcm_"), stream.time_base or Fraction(1))
        for stream in streams
    }
    adts = {stream.index for stream in streams if stream.codec_context.name == "aac"}
    for packet in copied_packets(path, container, streams, shift, tolerant):
        payload = memoryview(packet)
        traces[packet.stream_index].add(packet, _without_adts(payload) if packet.stream_index in adts else payload)
    return [traces[stream.index] for stream in streams]


def _without_adts(payload: memoryview) -> memoryview:
    """An AAC frame without its header, if it has one. Raw frames may begin with the same bits: lengths must agree."""
    return payload[7 if payload[1] & 1 else 9 :] if adts_length(payload) == len(payload) else payload


def _compared(number: int, kind: str, before: _Trace, after: _Trace, moved: float) -> CopyReport:
    """The report on one copy. Raises SegmentError with the first difference."""
    what = f"stream {number}, {kind}"
    if before.is_stream_of_bytes and before.sizes != after.sizes:
        return _compared_bytes(number, what, before, after, moved)
    for name, ours, theirs in (("sizes", before.sizes, after.sizes), ("bytes", before.sums, after.sums)):
        first = _first_difference(ours, theirs)
        if first is not None:
            raise SegmentError(f"{what}: packet {first} of {len(before.sizes)} differs from the source's in its {name}")
    late = _lateness(before, after) - moved
    allowed = float(before.time_base + after.time_base)
    first = int(np.argmax(np.abs(late))) if len(late) else 0
    if len(late) and abs(late[first]) > allowed:
        raise SegmentError(f"{what}: packet {first} is {late[first]:+.6f} s away from its time in the source")
    return CopyReport(number, kind, len(after.sizes), after.payload_bytes, float(np.abs(late).max(initial=0.0)))


def _compared_bytes(number: int, what: str, before: _Trace, after: _Trace, moved: float) -> CopyReport:
    """The same for raw samples, which containers pack as they like: all bytes in order, and the time of the first."""
    if before.payload_bytes != after.payload_bytes or before.whole.digest() != after.whole.digest():
        raise SegmentError(f"{what}: {after.payload_bytes} bytes that are not the source's {before.payload_bytes}")
    late = float(after.times[0] * after.time_base - before.times[0] * before.time_base) - moved
    if abs(late) > before.time_base + after.time_base:
        raise SegmentError(f"{what}: begins {late:+.6f} s away from its time in the source")
    return CopyReport(number, what, len(after.sizes), after.payload_bytes, abs(late))


def _lateness(before: _Trace, after: _Trace) -> Seconds:
    """How much later each packet is than its original, in seconds."""
    then = np.frombuffer(before.times, np.int64) * float(before.time_base)
    return np.frombuffer(after.times, np.int64) * float(after.time_base) - then


def _first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """Where two sequences differ first; ``None`` where they do not."""
    if ours == theirs:
        return None
    pairs: Iterable[tuple[int, int]] = zip(ours, theirs, strict=False)
    return next((number for number, (mine, other) in enumerate(pairs) if mine != other), min(len(ours), len(theirs)))
