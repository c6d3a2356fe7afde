"""Verify segment files and joined videos by counting, timing and comparing frames and packets."""

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
from tasks.media.segments.containers import get_codec_name
from tasks.media.segments.converting import Conversion, summarize_audio
from tasks.media.segments.copying import AnyPacket, TimeShift, copy_packets, plan_time_shift, read_adts_length
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.joining import Joined, JoinPlan
from tasks.media.segments.parts import check_part, inspect_part
from tasks.media.segments.plan import Segment
from tasks.media.segments.planes import hash_frame

Seconds = npt.NDArray[np.floating[Any]]

_MAX_DAMAGE_LINES = 5
_MAX_REPORT_BYTES = 1 << 20
_MAX_REORDERED = 8  # frames at the end that encoders may decode in another order, and more


@dataclass(frozen=True)
class SegmentReport:
    """A report on a verified segment file: the number of frames, and the digests of the first and the last.

    damaged_frames   number of source frames that the decoder concealed or repeated
    damage           one line for each of the first few of these
    """

    frames: int
    first_digest: str
    last_digest: str
    damaged_frames: int = 0
    damage: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Convert lists to tuples: reports are stored as JSON, which has lists only."""
        object.__setattr__(self, "damage", tuple(self.damage))

    def write(self, path: Path) -> None:
        """Write the report to a file, for :func:`read_reports`."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    def with_damage(self, damaged: Mapping[int, str], segment: Segment) -> SegmentReport:
        """Return the report with the damaged frames of ``segment`` (see ``SegmentReader``), without its context."""
        own = sorted(index for index in damaged if segment.start_frame <= index < segment.end_frame)
        lines = tuple(f"frame {index}: {damaged[index]}" for index in own[:_MAX_DAMAGE_LINES])
        return replace(self, damaged_frames=len(own), damage=lines)


@dataclass(frozen=True)
class CopyReport:
    """A report on a copied stream that is equal to the source.

    type           type of the stream: audio, subtitle, video or data
    late_seconds   maximum deviation of a packet's time from the source, caused by rounding in the container
    """

    stream: int
    type: str
    codec: str
    packets: int
    payload_bytes: int
    late_seconds: float


@dataclass(frozen=True)
class ConversionReport:
    """A report on a converted audio stream with the same samples as the source.

    what           one line for people
    late_seconds   deviation of its start from the source, caused by rounding in the container
    """

    stream: int
    what: str
    samples: int
    late_seconds: float


@dataclass(frozen=True)
class JoinedReport:
    """A report on a verified joined video.

    late_seconds      maximum deviation of a frame's time from the source, caused by rounding in the container
    moved_seconds     delay of all streams relative to the source: WebM and Matroska have no times before 0
    compared_frames   number of decoded frames at the ends of segments that equal those of the segments
    conversions       audio streams in another codec, with the same samples as the source
    """

    frames: int
    duration_seconds: float
    late_seconds: float
    moved_seconds: float
    compared_frames: int
    copies: tuple[CopyReport, ...]
    conversions: tuple[ConversionReport, ...] = ()

    @property
    def audio_late_seconds(self) -> float:
        """Maximum deviation of the audio's time from the source, for copied and converted streams."""
        copied = [copy.late_seconds for copy in self.copies if copy.type == "audio"]
        return max([*copied, *(conversion.late_seconds for conversion in self.conversions)], default=0.0)


def read_reports(paths: Sequence[Path]) -> list[SegmentReport]:
    """Read the reports on the segments of a video, in order.

    Raises BadInput if reports are missing or damaged.
    """
    missing = [str(number) for number, path in enumerate(paths) if not path.is_file()]
    if missing:
        numbers = ", ".join(missing[:10]) + (" and others" if len(missing) > 10 else "")
        advice = "see their own failures; the same command retries them and keeps the others"
        raise BadInput(f"{len(missing)} of {len(paths)} segments are missing ({numbers}): {advice}")
    return [_read_report(path) for path in paths]


def _read_report(path: Path) -> SegmentReport:
    try:
        return SegmentReport(**parse_json(read_at_most(path, _MAX_REPORT_BYTES)))
    except (OSError, ValueError, TypeError) as error:
        text = str(error).partition("\n")[0]
        raise BadInput(f"{path.name}, the report on a segment, is damaged ({text}): remove it and run again") from error


def verify_segment(path: Path, clock: Clock) -> SegmentReport:
    """Check the segment file at ``path`` against the clock of its frames, which starts at 0.

    Raises SegmentError with the first difference.
    """
    part = inspect_part(path)
    check_part(part, clock)
    first, last = _hash_frames(path, part.index, [0, len(part) - 1])
    return SegmentReport(len(part), first, last)


def verify_joined(joined: Joined, plan: JoinPlan, reports: Sequence[SegmentReport]) -> JoinedReport:
    """Check a joined video against its source and the reports of its segments.

    It counts all frames and compares their times; decodes and compares the frames at the ends of segments; compares the
    bytes and times of all packets in the other streams with the source; and compares converted audio sample by sample.
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
    """Return the common delay of all frames relative to ``due``, and the maximum deviation from it, in seconds."""
    if len(index) != len(due):
        raise SegmentError(f"{path.name}: has {len(index)} frames instead of {len(due)}")
    if index.hidden.any():
        rank = int(np.argsort(np.argsort(index.pts))[np.argmax(index.hidden)])
        raise SegmentError(f"{path.name}: frame {rank} is not shown: an edit list skips it")
    if not index.is_orderly:
        raise SegmentError(f"{path.name}: frames without a time, or with equal times")
    tick = float(index.time_base)
    seconds = np.sort(index.pts) * tick
    moved = _round_delay(float(seconds[0] - due[0]), tick)
    errors = np.abs(seconds - due - moved)
    first = int(np.argmax(errors > 0.51 * tick + 1e-9))
    if errors[first] > 0.51 * tick + 1e-9:
        raise SegmentError(
            f"{path.name}: frame {first} is shown at {seconds[first]:.6f} s instead of {due[first]:.6f} s"
        )
    return moved, float(errors.max())


def _check_aspect(path: Path, aspect: Fraction, plan: JoinPlan) -> None:
    """Raise SegmentError if the pixel aspect differs from that of the segments.

    WebM stores the display width in whole pixels.
    """
    header = inspect_part(plan.files[0]).header
    allowed = Fraction(1, header.width_px) if path.suffix == ".webm" else 0
    if abs(aspect - header.sample_aspect) > allowed:
        raise SegmentError(f"{path.name}: its pixel aspect is {aspect} instead of {header.sample_aspect}")


def _measure_uneven_end(clock: Clock) -> Fraction:
    """Return the difference in duration of the last frames, in seconds, as at an interrupted recording.

    MP4 measures the length of a track in decoding times, so it deviates by this amount.
    """
    ends = clock.durations[-_MAX_REORDERED:]
    return int(ends.max() - ends.min()) * clock.time_base


def _check_duration(path: Path, index: PacketIndex, stated: int | None, clock: Clock) -> float:
    """Return the duration of the video in seconds, from the start of the first frame to the end of the last.

    ``stated`` is the duration in the container, in ticks. Matroska lacks it, as well as the duration of the last frame.
    """
    last = int(clock.durations[-1]) * clock.time_base
    duration = float(int(index.pts.max() - index.pts.min()) * index.time_base + last)
    allowed = 0.001 + float(index.time_base + _measure_uneven_end(clock))
    if stated is not None and abs(float(stated * index.time_base) - duration) > allowed:
        raise SegmentError(
            f"{path.name}: has a duration of {float(stated * index.time_base):.3f} s instead of {duration:.3f} s"
        )
    return duration


def _round_delay(seconds: float, tick: float) -> float:
    """Return ``seconds`` in whole ticks; 0 if it is within rounding."""
    return round(seconds / tick) * tick if abs(seconds) > tick else 0.0


def _check_ends(joined: Joined, index: PacketIndex, plan: JoinPlan, reports: Sequence[SegmentReport]) -> None:
    """Raise SegmentError if a frame at an end of a segment differs from the segment's report."""
    expected: dict[int, str] = {}
    for segment, report in zip(plan.segments, reports, strict=True):
        start, end = plan.clock.written(segment.start_frame, segment.end_frame)
        expected |= {start: report.first_digest, end - 1: report.last_digest}
    ranks = sorted(expected)
    for rank, digest in zip(ranks, _hash_frames(joined.path, index, ranks, joined.video), strict=True):
        if digest != expected[rank]:
            raise SegmentError(f"{joined.path.name}: frame {rank} differs from that of its segment")


def _hash_frames(path: Path, index: PacketIndex, ranks: Sequence[int], stream: int | None = None) -> list[str]:
    """Return the digests of the frames with increasing ``ranks``. Raises SegmentError if one cannot be decoded."""
    order = np.argsort(index.pts, kind="stable")
    rank_of = {int(order[rank]): rank for rank in ranks}
    digests: dict[int, str] = {}
    with PacketSource(path, index=index, stream_index=stream) as source:
        decoder = RunDecoder(source)
        for run in plan_runs(index, sorted(rank_of)):
            digests |= {rank_of[position]: hash_frame(frame) for position, frame in decoder.decode_wanted(run)}
            if decoder.complaints:
                raise SegmentError(f"{path.name}: is damaged: {decoder.complaints[0].reason}")
    missing = set(ranks) - set(digests)
    if missing:
        raise SegmentError(f"{path.name}: frame {min(missing)} cannot be decoded")
    return [digests[rank] for rank in ranks]


@dataclass
class _Trace:
    """The times, sizes and checksums of the packets of a stream: 20 bytes per packet."""

    type: str
    codec: str
    is_stream_of_bytes: bool
    time_base: Fraction
    times: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    sums: array[int] = field(default_factory=lambda: array("L"))
    whole: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    def add(self, packet: AnyPacket, payload: memoryview) -> None:
        """Add a packet with its relevant ``payload``."""
        self.times.append(packet.pts if packet.pts is not None else packet.dts or 0)
        self.sizes.append(len(payload))
        self.sums.append(zlib.crc32(payload))
        self.whole.update(payload)

    @property
    def payload_bytes(self) -> int:
        """Total size of all payloads."""
        return sum(self.sizes)

    def describe(self, number: int) -> str:
        """Return the name of stream ``number`` for messages."""
        return f"stream {number}, {self.type} ({self.codec})"

    def report_copy(self, number: int, copy: _Trace, late_seconds: float) -> CopyReport:
        """Return the report on ``copy``, which is equal to this stream."""
        return CopyReport(number, self.type, self.codec, len(copy.sizes), copy.payload_bytes, late_seconds)


def _check_copies(joined: Joined, plan: JoinPlan, moved: float) -> tuple[CopyReport, ...]:
    """Compare every copied stream with the source."""
    with open_container(plan.source) as container:
        streams = [container.streams[index] for index, _ in joined.copied]
        shift = plan_time_shift(container, streams, plan.survey, plan.clock)
        sources = _trace_streams(plan.source, container, streams, shift, plan.survey.tolerant)
    with open_container(joined.path) as container:
        streams = [container.streams[index] for _, index in joined.copied]
        copies = _trace_streams(joined.path, container, streams, TimeShift(Fraction(0), ()), tolerant=False)
    numbers = [index for _, index in joined.copied]
    pairs = zip(numbers, sources, copies, strict=True)
    return tuple(_compare(number, before, after, moved) for number, before, after in pairs)


def _check_conversions(joined: Joined, plan: JoinPlan, moved: float) -> tuple[ConversionReport, ...]:
    """Compare every converted audio stream with the source."""
    return tuple(_check_conversion(conversion, joined, plan, moved) for conversion in joined.converted)


def _check_conversion(conversion: Conversion, joined: Joined, plan: JoinPlan, moved: float) -> ConversionReport:
    """Raise SegmentError if a sample or the start differs."""
    with open_container(plan.source) as container:
        copied = [index for index, _ in joined.copied] + [other.stream for other in joined.converted]
        shift = plan_time_shift(container, [container.streams[index] for index in copied], plan.survey, plan.clock)
        stream = container.streams[conversion.stream]
        before = summarize_audio(stream, copy_packets(plan.source, container, [stream], shift, plan.survey.tolerant))
    with open_container(joined.path) as container:
        stream = container.streams[conversion.joined]
        unmoved = TimeShift(Fraction(0), ())
        after = summarize_audio(stream, copy_packets(joined.path, container, [stream], unmoved, tolerant=False))
        tick = float(stream.time_base or 0)
    if (before.count, before.digest) != (after.count, after.digest):
        raise SegmentError(f"{conversion}: has {after.count} samples, which differ from the source's {before.count}")
    late = (after.start - before.start) / before.rate - moved
    if abs(late) > 0.51 * tick + 0.51 / before.rate:
        raise SegmentError(f"{conversion}: starts {late:+.6f} s away from its time in the source")
    return ConversionReport(conversion.stream, str(conversion), after.count, abs(late))


def _trace_streams(
    path: Path, container: InputContainer, streams: Sequence[Stream], shift: TimeShift, tolerant: bool
) -> list[_Trace]:
    """Return the traces of ``streams``, from one pass through the file."""
    traces = {
        stream.index: _Trace(
            stream.type,
            get_codec_name(stream),
            stream.codec_context.name.startswith("pcm_"),
            stream.time_base or Fraction(1),
        )
        for stream in streams
    }
    adts = {stream.index for stream in streams if stream.codec_context.name == "aac"}
    for packet in copy_packets(path, container, streams, shift, tolerant):
        payload = memoryview(packet)
        traces[packet.stream_index].add(packet, _strip_adts(payload) if packet.stream_index in adts else payload)
    return [traces[stream.index] for stream in streams]


def _strip_adts(payload: memoryview) -> memoryview:
    """Return an AAC frame without its header, if any. Raw frames may start with the same bits: lengths must match."""
    return payload[7 if payload[1] & 1 else 9 :] if read_adts_length(payload) == len(payload) else payload


def _compare(number: int, before: _Trace, after: _Trace, moved: float) -> CopyReport:
    """Compare a copy with its source and return the report. Raises SegmentError with the first difference."""
    if before.is_stream_of_bytes and before.sizes != after.sizes:
        return _compare_bytes(number, before, after, moved)
    what = before.describe(number)
    for name, ours, theirs in (("sizes", before.sizes, after.sizes), ("bytes", before.sums, after.sums)):
        first = _find_first_difference(ours, theirs)
        if first is not None:
            raise SegmentError(f"{what}: packet {first} of {len(before.sizes)} differs from the source's in its {name}")
    late = _measure_lateness(before, after) - moved
    allowed = float(before.time_base + after.time_base)
    first = int(np.argmax(np.abs(late))) if len(late) else 0
    if len(late) and abs(late[first]) > allowed:
        raise SegmentError(f"{what}: packet {first} is {late[first]:+.6f} s away from its time in the source")
    return before.report_copy(number, after, float(np.abs(late).max(initial=0.0)))


def _compare_bytes(number: int, before: _Trace, after: _Trace, moved: float) -> CopyReport:
    """Compare raw samples, which containers packetize freely: all bytes in order, and the time of the first."""
    what = before.describe(number)
    if before.payload_bytes != after.payload_bytes or before.whole.digest() != after.whole.digest():
        raise SegmentError(
            f"{what}: {after.payload_bytes} bytes, which differ from the source's {before.payload_bytes}"
        )
    late = float(after.times[0] * after.time_base - before.times[0] * before.time_base) - moved
    if abs(late) > before.time_base + after.time_base:
        raise SegmentError(f"{what}: starts {late:+.6f} s away from its time in the source")
    return before.report_copy(number, after, abs(late))


def _measure_lateness(before: _Trace, after: _Trace) -> Seconds:
    """Return the delay of each packet relative to the source, in seconds."""
    then = np.frombuffer(before.times, np.int64) * float(before.time_base)
    return np.frombuffer(after.times, np.int64) * float(after.time_base) - then


def _find_first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """Return the index of the first difference; None if the sequences are equal."""
    if ours == theirs:
        return None
    pairs: Iterable[tuple[int, int]] = zip(ours, theirs, strict=False)
    return next((number for number, (mine, other) in enumerate(pairs) if mine != other), min(len(ours), len(theirs)))
