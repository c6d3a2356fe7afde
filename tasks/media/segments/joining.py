"""Join segment files and the other streams of their source to one video.

Packets of the segments are copied in sequence, with times from the source's clock. Everything else is copied from the
source: audio with its start and priming samples, subtitles, attachments, chapters, names, languages. Audio that the
container cannot hold is converted losslessly. Whatever it cannot hold at all is reported.
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
from tasks.media.opening import open_container, select_video_stream
from tasks.media.segments.carrying import (
    carry_attachment,
    carry_file_metadata,
    carry_stream_metadata,
    clear_default,
    list_lost_metadata,
)
from tasks.media.segments.clock import Clock
from tasks.media.segments.containers import MUXERS, can_hold, get_codec_name, is_cover, list_lost_streams
from tasks.media.segments.converting import AudioConverter, Conversion, find_lossless_encoder
from tasks.media.segments.copying import AnyPacket, copy_packets, plan_time_shift
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.matroska import set_sample_aspect
from tasks.media.segments.parts import Part, check_part, check_together, inspect_part
from tasks.media.segments.plan import Segment
from tasks.media.segments.source import Survey

_MAX_TIMESCALE = 2**31 - 1

# A packet and its stream in the joined video.
Addressed: TypeAlias = "tuple[AnyPacket, Stream]"


@dataclass(frozen=True)
class Joined:
    """A joined video.

    frames          number of video frames
    video           index of the video stream
    begin_seconds   subtracted from all times of the source; 0 except for MPEG streams, which start at arbitrary times
    copied          per copied stream, its index in the source and in the joined video
    lost            parts of the source that the container cannot hold, one line each
    converted       losslessly converted audio streams
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
    """The input of a join: the files of all segments of a video, in order.

    clock          clock of the whole written video
    keep_rotation  carry the display matrix of the source; False if the frames were rotated
    """

    source: Path
    survey: Survey
    clock: Clock
    segments: tuple[Segment, ...]
    files: tuple[Path, ...]
    keep_rotation: bool = True


def join_segments(plan: JoinPlan, output: Path) -> Joined:
    """Join the segments of ``plan`` into ``output``; its extension selects the container: mp4, mov, mkv or webm.

    Raises SegmentError if a segment is missing, damaged, of a different length than planned, or encoded differently
    from the first, or if the output cannot be written; BadInput if the source cannot be read; ValueError for another
    extension.
    """
    if output.suffix not in MUXERS:
        raise ValueError(f"{output.name}: the extension of a joined video is one of {', '.join(MUXERS)}")
    plan.survey.check_file(plan.source)
    parts = check_parts(plan)
    with ExitStack() as files:
        source = files.enter_context(open_container(plan.source))
        first = files.enter_context(open_container(parts[0].path))
        others = [stream for stream in source.streams if stream is not source.streams.best("video")]
        kept = [
            stream
            for stream in others
            if can_hold(stream, output.suffix) or find_lossless_encoder(stream, output.suffix)
        ]
        options = _choose_muxer_options(output.suffix, plan.clock, kept)
        with (
            _attribute_errors(output),
            av.open(str(output), "w", format=MUXERS[output.suffix], options=options) as joined,
        ):
            result = _Join(plan, parts, source, joined, output).run(select_video_stream(first, parts[0].path), kept)
        _write_aspect(result, parts[0])
        written = files.enter_context(open_container(output))
        main = source.streams.best("video")
        converted = [(conversion.stream, conversion.joined) for conversion in result.converted]
        pairs = [*result.copied, *converted, (main.index if main else 0, result.video)]
        return replace(result, lost=(*result.lost, *list_lost_metadata(source, written, pairs)))


def check_parts(plan: JoinPlan) -> list[Part]:
    """Inspect and check the segment files of ``plan``, separately and together. Raises SegmentError."""
    if len(plan.files) != len(plan.segments):
        raise SegmentError(f"{len(plan.files)} segment files for {len(plan.segments)} segments")
    parts = [inspect_part(path) for path in plan.files]
    due = 0
    for part, segment in zip(parts, plan.segments, strict=True):
        if segment.start_frame != due:
            raise SegmentError(f"{part.path.name}: starts with frame {segment.start_frame} instead of {due}")
        check_part(part, plan.clock.part(segment.start_frame, segment.end_frame))
        due = segment.end_frame
    if due != len(plan.survey.timeline):
        raise SegmentError(f"the segments end at frame {due} of {len(plan.survey.timeline)}")
    check_together(parts)
    return parts


@contextmanager
def _attribute_errors(output: Path) -> Iterator[None]:
    """Attribute FFmpeg's errors inside the block to ``output``, not to another open file."""
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        raise SegmentError(f"{output.name}: cannot be written: {error.strerror or error}") from error


def _write_aspect(joined: Joined, part: Part) -> None:
    """Write the sample aspect of the segments to a finished Matroska file."""
    header = part.header
    if joined.path.suffix in {".mkv", ".webm"} and header.sample_aspect != 1:
        set_sample_aspect(joined.path, joined.video, (header.width_px, header.height_px), header.sample_aspect)


class _Join:
    """A join in progress."""

    def __init__(
        self, plan: JoinPlan, parts: Sequence[Part], source: InputContainer, joined: OutputContainer, output: Path
    ) -> None:
        self._plan, self._parts = plan, parts
        self._source, self._joined, self._output = source, joined, output
        self._edited: set[int] = set()
        self._converters: dict[int, AudioConverter] = {}

    def run(self, pattern: VideoStream, kept: Sequence[Stream]) -> Joined:
        """Copy all packets. ``pattern`` is the first segment's stream, ``kept`` are the source streams to keep."""
        video, copies = self._add_streams(pattern, kept)
        streams = [stream for stream in kept if stream.index in copies or stream.index in self._converters]
        shift = plan_time_shift(self._source, streams, self._plan.survey, self._plan.clock)
        carry_file_metadata(self._source, self._joined, shift.begin_seconds)
        begin = round(shift.begin_seconds / self._plan.clock.time_base)
        video_packets = _time_packets(self._parts, self._plan.clock, begin)
        others = copy_packets(self._plan.source, self._source, streams, shift, self._plan.survey.tolerant)
        for packet, stream in _merge(((packet, video) for packet in video_packets), self._route(copies, others)):
            packet.stream = stream
            self._joined.mux(packet)
        copied = tuple((index, stream.index) for index, stream in copies.items())
        frames, begin_seconds = len(self._plan.clock), shift.begin_seconds
        return Joined(
            self._output, frames, video.index, begin_seconds, copied, self._list_lost(), self._list_conversions()
        )

    def _route(self, copies: Mapping[int, Stream], packets: Iterator[AnyPacket]) -> Iterator[Addressed]:
        """Yield ``packets`` with their streams, and record the streams that need an edit list."""
        for packet in packets:
            converter = self._converters.get(packet.stream_index)
            if converter is not None:
                yield from ((encoded, converter.stream) for encoded in converter.packets(packet))
                continue
            if packet.is_discard or packet.has_sidedata("skip_samples"):
                self._edited.add(packet.stream_index)
            yield packet, copies[packet.stream_index]
        for converter in self._converters.values():
            yield from ((encoded, converter.stream) for encoded in converter.packets(None))

    def _list_conversions(self) -> tuple[Conversion, ...]:
        """Return the converted audio streams."""
        return tuple(
            Conversion(index, converter.stream.index, get_codec_name(self._source.streams[index]), converter.codec)
            for index, converter in self._converters.items()
        )

    def _list_lost(self) -> tuple[str, ...]:
        """Return the streams and edit lists that the container cannot hold."""
        lost = list(list_lost_streams(self._source, self._output.suffix))
        if self._output.suffix in {".mkv", ".webm"} and self._source.format.name.startswith("mov,"):
            cut = "its edit list: samples that it skips (such as priming) are played, which delays the stream"
            lost += [f"stream {index}: {cut}" for index in sorted(self._edited)]
        return tuple(lost)

    def _add_streams(self, pattern: VideoStream, kept: Sequence[Stream]) -> tuple[VideoStream, dict[int, Stream]]:
        """Add the streams in the order of the source; return the video, and the copies by their index in the source."""
        main = self._source.streams.best("video")
        copies: dict[int, Stream] = {}
        for stream in list(self._source.streams):
            if stream is main:
                video = self._add_video(pattern)
                carry_stream_metadata(stream, video)
            elif stream not in kept:
                continue
            elif self._output.suffix == ".mkv" and (is_cover(stream) or stream.type == "attachment"):
                carry_attachment(self._plan.source, stream, self._joined)
            elif not can_hold(stream, self._output.suffix):
                self._add_converter(stream)
            else:
                copies[stream.index] = self._joined.add_stream_from_template(stream, opaque=True)
                carry_stream_metadata(stream, copies[stream.index])
                if stream.type == "video" and not is_cover(stream):
                    clear_default(copies[stream.index])
        return video, copies

    def _add_converter(self, stream: Stream) -> None:
        converter = AudioConverter(stream, self._joined, find_lossless_encoder(stream, self._output.suffix) or "")
        carry_stream_metadata(stream, converter.stream)
        self._converters[stream.index] = converter

    def _add_video(self, pattern: VideoStream) -> VideoStream:
        video = self._joined.add_stream_from_template(pattern, opaque=True)
        video.time_base = self._plan.clock.time_base
        # For FFV1 and AV1 only the container has the sample aspect, so the template's codec lacks it.
        video.codec_context.sample_aspect_ratio = self._parts[0].header.sample_aspect
        if self._plan.keep_rotation and self._plan.survey.display_matrix:
            video.set_display_matrix(self._plan.survey.display_matrix)
        return video


def _time_packets(parts: Sequence[Part], clock: Clock, begin: int) -> Iterator[VideoPacket]:
    """Yield all packets of all segments with their times in the joined video, in decoding order.

    Decoding times are presentation times shifted by the reordering delay. They increase, and none is later than its
    presentation time. The last packet lasts until the next decoding time, because MP4 derives the length of a track
    from decoding times.
    """
    delay = max(part.delay for part in parts)
    dts = np.concatenate([clock.pts[0] - _get_lead(clock, delay), clock.pts]) - begin
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


def _get_lead(clock: Clock, delay: int) -> Int64s:
    """Return how long before the first frame the first ``delay`` packets are decoded."""
    if delay >= len(clock):
        return int(clock.durations[0]) * np.arange(delay, 0, -1)
    return clock.end_pts - clock.pts[len(clock) - delay :]


def _merge(video_packets: Iterator[Addressed], others: Iterator[Addressed]) -> Iterator[Addressed]:
    """Merge both by decoding times, keeping the order of ``others``."""
    video_packet = next(video_packets, None)
    for packet, stream in others:
        time = _get_decoding_seconds(packet)
        while video_packet is not None and _get_decoding_seconds(video_packet[0]) <= time:
            yield video_packet
            video_packet = next(video_packets, None)
        yield packet, stream
    if video_packet is not None:
        yield video_packet
    yield from video_packets


def _get_decoding_seconds(packet: AnyPacket) -> float:
    return (packet.dts or 0) * packet.time_base.numerator / packet.time_base.denominator


def _choose_muxer_options(suffix: str, clock: Clock, streams: Sequence[Stream]) -> dict[str, str]:
    """Return the muxer options for the most exact times."""
    options = {"fflags": "+bitexact"}
    if suffix in {".mp4", ".mov"}:
        options["video_track_timescale"] = str(clock.time_base.denominator)
        # Edit lists use ticks of the file, which should suit both video and audio.
        scale = clock.time_base.denominator
        for stream in streams:
            common = math.lcm(scale, getattr(stream.codec_context, "sample_rate", 1) or 1)
            scale = common if common <= _MAX_TIMESCALE else scale
        options["movie_timescale"] = str(max(1000, scale))
    return options
