"""From segment files and their source to one video.

Packets of the segments are copied one after another, with the times that the source's clock gives them. Everything
else comes from the source by packet copy, once: sound with its start and its priming samples, subtitles, attachments,
chapters, names, languages. Sound that the container cannot hold as it is is encoded again, without loss; what it cannot
hold at all is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from tasks.media.demuxing import VideoPacket
from tasks.media.index import Int64s
from tasks.media.opening import open_container, video_stream
from tasks.media.segments.carrying import carry_about_file, carry_about_stream, carry_attachment, not_carried, step_back
from tasks.media.segments.clock import Clock
from tasks.media.segments.containers import MUXERS, codec_name, fits, is_cover, lost_streams
from tasks.media.segments.converting import Conversion, SoundConverter, lossless_encoder
from tasks.media.segments.copying import AnyPacket, copied_packets, time_shift
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.matroska import set_sample_aspect
from tasks.media.segments.parts import Part, check_part, check_together, inspect_part
from tasks.media.segments.plan import Segment
from tasks.media.segments.source import Survey

_LARGEST_TIMESCALE = 2**31 - 1

# A packet and the stream of the joined video that it goes to.
Addressed: TypeAlias = "tuple[AnyPacket, Stream]"


@dataclass(frozen=True)
class Joined:
    """A video that was joined.

    frames          of its picture
    video           its index among the streams of the joined video
    begin_seconds   what was taken from every time of the source; 0 but for MPEG streams, whose clocks stand anywhere
    copied          for each stream of the source that was copied, its index there and its index in the joined video
    lost            what the source has and the container cannot hold, a line each
    converted       streams of sound that the container cannot hold as they are, and that were encoded without loss
    """

    path: Path
    frames: int
    video: int
    begin_seconds: Fraction
    copied: tuple[tuple[int, int], ...]
    lost: tuple[str, ...]
    converted: tuple[Conversion, ...] = ()


@dataclass(frozen=True)
class JoinPlan:
    """What is joined: the files of all segments of a video, in order.

    clock          of the whole video that is written
    keep_rotation  the display matrix of the source is carried; not where the frames were turned
    """

    source: Path
    survey: Survey
    clock: Clock
    segments: tuple[Segment, ...]
    files: tuple[Path, ...]
    keep_rotation: bool = True


def join_segments(plan: JoinPlan, output: Path) -> Joined:
    """Join the segments of ``plan`` into ``output``, whose extension says which container: mp4, mov, mkv or webm.

    Raises SegmentError where a segment is missing, damaged, of other length than planned, or encoded otherwise than
    the first, and where the output cannot be written; BadInput where the source cannot be read; ValueError for another
    extension.
    """
    if output.suffix not in MUXERS:
        raise ValueError(f"{output.name}: a joined video ends in {', '.join(MUXERS)}")
    plan.survey.check_file(plan.source)
    parts = checked_parts(plan)
    with ExitStack() as files:
        source = files.enter_context(open_container(plan.source))
        first = files.enter_context(open_container(parts[0].path))
        others = [stream for stream in source.streams if stream is not source.streams.best("video")]
        kept = [stream for stream in others if fits(stream, output.suffix) or lossless_encoder(stream, output.suffix)]
        options = _muxer_options(output.suffix, plan.clock, kept)
        with _writing(output), av.open(str(output), "w", format=MUXERS[output.suffix], options=options) as joined:
            result = _Join(plan, parts, source, joined, output).run(video_stream(first, parts[0].path), kept)
        _say_aspect(result, parts[0])
        written = files.enter_context(open_container(output))
        main = source.streams.best("video")
        converted = [(conversion.stream, conversion.joined) for conversion in result.converted]
        pairs = [*result.copied, *converted, (main.index if main else 0, result.video)]
        return replace(result, lost=(*result.lost, *not_carried(source, written, pairs)))


def checked_parts(plan: JoinPlan) -> list[Part]:
    """The segment files of ``plan``, inspected, each by itself and all together. Raises SegmentError."""
    if len(plan.files) != len(plan.segments):
        raise SegmentError(f"{len(plan.files)} segment files for {len(plan.segments)} segments")
    parts = [inspect_part(path) for path in plan.files]
    due = 0
    for part, segment in zip(parts, plan.segments, strict=True):
        if segment.start_frame != due:
            raise SegmentError(f"{part.path.name}: begins with frame {segment.start_frame} instead of {due}")
        check_part(part, plan.clock.part(segment.start_frame, segment.end_frame))
        due = segment.end_frame
    if due != len(plan.survey.timeline):
        raise SegmentError(f"the segments end at frame {due} of {len(plan.survey.timeline)}")
    check_together(parts)
    return parts


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """What FFmpeg raises inside the block is said of ``output``, and not of a file that happens to be open as well."""
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        raise SegmentError(f"{output.name}: cannot be written: {error.strerror or error}") from error


def _say_aspect(joined: Joined, part: Part) -> None:
    """Matroska gets the sample aspect of the segments after the fact."""
    header = part.header
    if joined.path.suffix in {".mkv", ".webm"} and header.sample_aspect != 1:
        set_sample_aspect(joined.path, joined.video, (header.width_px, header.height_px), header.sample_aspect)


class _Join:
    """One join while it runs."""

    def __init__(
        self, plan: JoinPlan, parts: Sequence[Part], source: InputContainer, joined: OutputContainer, output: Path
    ) -> None:
        self._plan, self._parts = plan, parts
        self._source, self._joined, self._output = source, joined, output
        self._edited: set[int] = set()
        self._converters: dict[int, SoundConverter] = {}

    def run(self, pattern: VideoStream, kept: Sequence[Stream]) -> Joined:
        """Copy all packets. ``pattern`` is the first segment's stream, ``kept`` what is copied of the source."""
        video, copies = self._add_streams(pattern, kept)
        streams = [stream for stream in kept if stream.index in copies or stream.index in self._converters]
        shift = time_shift(self._source, streams, self._plan.survey, self._plan.clock)
        carry_about_file(self._source, self._joined, shift.begin_seconds)
        begin = round(shift.begin_seconds / self._plan.clock.time_base)
        pictures = _timed_packets(self._parts, self._plan.clock, begin)
        others = copied_packets(self._plan.source, self._source, streams, shift, self._plan.survey.tolerant)
        for packet, stream in _merged(((packet, video) for packet in pictures), self._onto(copies, others)):
            packet.stream = stream
            self._joined.mux(packet)
        copied = tuple((index, stream.index) for index, stream in copies.items())
        frames, begun = len(self._plan.clock), shift.begin_seconds
        return Joined(self._output, frames, video.index, begun, copied, self._lost(), self._converted())

    def _onto(self, copies: Mapping[int, Stream], packets: Iterator[AnyPacket]) -> Iterator[Addressed]:
        """``packets``, each with the stream that it goes to. Notices what only an edit list can say of them."""
        for packet in packets:
            converter = self._converters.get(packet.stream_index)
            if converter is not None:
                yield from ((made, converter.stream) for made in converter.packets(packet))
                continue
            if packet.is_discard or packet.has_sidedata("skip_samples"):
                self._edited.add(packet.stream_index)
            yield packet, copies[packet.stream_index]
        for converter in self._converters.values():
            yield from ((made, converter.stream) for made in converter.packets(None))

    def _converted(self) -> tuple[Conversion, ...]:
        """What became of the sound that the container cannot hold as it is."""
        return tuple(
            Conversion(index, converter.stream.index, codec_name(self._source.streams[index]), converter.codec)
            for index, converter in self._converters.items()
        )

    def _lost(self) -> tuple[str, ...]:
        """Streams that the container cannot hold, and edit lists."""
        lost = list(lost_streams(self._source, self._output.suffix))
        if self._output.suffix in {".mkv", ".webm"} and self._source.format.name.startswith("mov,"):
            cut = "its edit list: samples that it cuts off (priming, at least) are played, and all starts later by them"
            lost += [f"stream {index}: {cut}" for index in sorted(self._edited)]
        return tuple(lost)

    def _add_streams(self, pattern: VideoStream, kept: Sequence[Stream]) -> tuple[VideoStream, dict[int, Stream]]:
        """The streams of the joined video in the order of the source's; copies by their index there."""
        main = self._source.streams.best("video")
        copies: dict[int, Stream] = {}
        for stream in list(self._source.streams):
            if stream is main:
                video = self._add_video(pattern)
                carry_about_stream(stream, video)
            elif stream not in kept:
                continue
            elif self._output.suffix == ".mkv" and (is_cover(stream) or stream.type == "attachment"):
                carry_attachment(self._plan.source, stream, self._joined)
            elif not fits(stream, self._output.suffix):
                self._add_converter(stream)
            else:
                copies[stream.index] = self._joined.add_stream_from_template(stream, opaque=True)
                carry_about_stream(stream, copies[stream.index])
                if stream.type == "video" and not is_cover(stream):
                    step_back(copies[stream.index])
        return video, copies

    def _add_converter(self, stream: Stream) -> None:
        converter = SoundConverter(stream, self._joined, lossless_encoder(stream, self._output.suffix) or "")
        carry_about_stream(stream, converter.stream)
        self._converters[stream.index] = converter

    def _add_video(self, pattern: VideoStream) -> VideoStream:
        video = self._joined.add_stream_from_template(pattern, opaque=True)
        video.time_base = self._plan.clock.time_base
        # What only the segment's container knew, as with FFV1 and AV1, is not in the template's codec.
        video.codec_context.sample_aspect_ratio = self._parts[0].header.sample_aspect
        if self._plan.keep_rotation and self._plan.survey.display_matrix:
            video.set_display_matrix(self._plan.survey.display_matrix)
        return video


def _timed_packets(parts: Sequence[Part], clock: Clock, begin: int) -> Iterator[VideoPacket]:
    """All packets of all segments with their times in the joined video, in decoding order.

    Decoding times are presentation times moved by the reordering delay: they rise, and none is later than its own.
    They end as long before the presentation as they begin before it, and the last packet lasts until the time that
    would come next: MP4 takes a track to be as long as its decoding.
    """
    delay = max(part.delay for part in parts)
    dts = np.concatenate([clock.pts[0] - _lead(clock, delay), clock.pts]) - begin
    durations, last = clock.durations, sum(map(len, parts)) - 1
    done = 0
    for part in parts:
        for number, packet in enumerate(part.packets()):
            shown = done + int(part.ranks[number])
            packet.time_base = clock.time_base
            packet.pts, packet.dts = int(clock.pts[shown]) - begin, int(dts[done + number])
            is_last = done + number == last
            packet.duration = int(dts[last + 1] - dts[last] if is_last and delay else durations[shown])
            yield packet
        done += len(part)


def _lead(clock: Clock, delay: int) -> Int64s:
    """How long before the first frame is shown each of the ``delay`` packets is decoded for which no time is left."""
    if delay >= len(clock):
        return int(clock.durations[0]) * np.arange(delay, 0, -1)
    return clock.end_pts - clock.pts[len(clock) - delay :]


def _merged(pictures: Iterator[Addressed], others: Iterator[Addressed]) -> Iterator[Addressed]:
    """Both in one order of decoding times, as far as the others' own order allows."""
    picture = next(pictures, None)
    for packet, stream in others:
        time = _decoding_seconds(packet)
        while picture is not None and _decoding_seconds(picture[0]) <= time:
            yield picture
            picture = next(pictures, None)
        yield packet, stream
    if picture is not None:
        yield picture
    yield from pictures


def _decoding_seconds(packet: AnyPacket) -> float:
    return (packet.dts or 0) * packet.time_base.numerator / packet.time_base.denominator


def _muxer_options(suffix: str, clock: Clock, streams: Sequence[Stream]) -> dict[str, str]:
    """Options with which the container keeps times as exactly as it can."""
    options = {"fflags": "+bitexact"}
    if suffix in {".mp4", ".mov"}:
        options["video_track_timescale"] = str(clock.time_base.denominator)
        # Edit lists count in ticks of the file: those of picture and sound at once, where that is possible.
        scale = clock.time_base.denominator
        for stream in streams:
            together = math.lcm(scale, getattr(stream.codec_context, "sample_rate", 1) or 1)
            scale = together if together <= _LARGEST_TIMESCALE else scale
        options["movie_timescale"] = str(max(1000, scale))
    return options
