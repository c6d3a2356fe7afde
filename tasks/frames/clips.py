"""Cut a part of a video as a clip: a copy of whole GOPs, or the exact frames, encoded again."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from tasks.engine.contract.errors import BadInput
from tasks.frames.audio import add_lossless_stream, make_frame, read_samples, select_audio_stream
from tasks.media.demuxing import PacketSource
from tasks.media.listing import Listing
from tasks.media.opening import open_container, select_video_stream
from tasks.media.runs import find_decoding_starts
from tasks.media.segments.clock import Clock, build_clock
from tasks.media.segments.containers import can_hold
from tasks.media.segments.converting import AudioDecoder
from tasks.media.segments.encoding import SegmentEncoder
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.plan import Segment
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.settings import EncoderSettings, choose_lossless_settings
from tasks.media.segments.source import Survey, survey_video

_SETTINGS = EncoderSettings("x264", crf=18.0, preset="medium")
_MAX_TIMESCALE = 2**31 - 1
AnyPacket: TypeAlias = "Packet[Any]"
# Packets of an output, each with its decoding time in seconds.
Timed: TypeAlias = "tuple[float, int, AnyPacket]"


@dataclass(frozen=True)
class Clip:
    """A written clip: the frames of the video that it holds, from ``first`` up to and without ``stop``."""

    path: Path
    first: int
    stop: int


def copy_clip(path: Path, listing: Listing, first: int, stop: int, target: Path) -> Clip:
    """Copy the GOPs that hold the frames from ``first`` to ``stop`` to ``target``, with its suffix replaced.

    The container is MP4, or Matroska if MP4 cannot hold the streams. Audio packets that start in the clip are copied.
    Raises BadInput if the packets have no reliable times.
    """
    if not listing.by_index:
        raise BadInput(f"{path.name}: its packets have no reliable times, so none can be copied; use --clips exact")
    order, positions = listing.order, listing.positions
    begin = find_decoding_starts(order, [int(positions[first])])[0]
    last = int(positions[first:stop].max())  # leading frames of an open GOP come after its keyframe
    later = [int(point) for point in order.seek_points if point > last]
    end = min(later, default=len(order))
    inside = np.flatnonzero((positions >= begin) & (positions < end) & (order.pts[positions] >= order.pts[begin]))
    clip = int(inside[0]), int(inside[-1]) + 1
    if len(inside) != clip[1] - clip[0]:
        raise BadInput(f"{path.name}: the packets of its frames are not in one piece; use --clips exact")
    with ExitStack() as files:
        source = files.enter_context(PacketSource(path, index=order))
        audio = files.enter_context(open_container(path))
        audio_stream = select_audio_stream(audio)
        suffix = ".mp4" if all(can_hold(each, ".mp4") for each in (source.stream, audio_stream) if each) else ".mkv"
        target = target.with_suffix(suffix)
        output = files.enter_context(_open_output(target, order.time_base, audio_stream))
        video = output.add_stream_from_template(source.stream, opaque=True)
        start = int(order.pts[begin])
        packets = [_shift_video(source, begin, end, start, video)]
        if audio_stream is not None:
            copied = output.add_stream_from_template(audio_stream, opaque=True)
            limits = start * order.time_base, _get_end_seconds(listing, clip[1])
            packets.append(_shift_audio(audio.demux(audio_stream), limits, copied))
        _mux(output, packets)
    return Clip(target, *clip)


def _get_end_seconds(listing: Listing, stop: int) -> Fraction:
    """Return the end of the frame before ``stop`` in seconds of the file."""
    timeline = listing.timeline
    ticks = int(timeline.ticks[stop]) if stop < len(timeline) else timeline.end_ticks
    return (ticks + int(timeline.pts[0])) * timeline.time_base


def _open_output(target: Path, time_base: Fraction, audio: Any) -> OutputContainer:
    options = {"fflags": "+bitexact"}
    if target.suffix == ".mp4":
        scale = time_base.denominator
        common = np.lcm(scale, audio.codec_context.sample_rate) if audio is not None else scale
        options["video_track_timescale"] = str(scale)
        options["movie_timescale"] = str(max(1000, int(common) if common <= _MAX_TIMESCALE else scale))
    return av.open(str(target), "w", format="mp4" if target.suffix == ".mp4" else "matroska", options=options)


def _shift_video(source: PacketSource, begin: int, end: int, start: int, stream: VideoStream) -> Iterator[Timed]:
    """Yield the packets of the video from position ``begin`` to ``end``, shown from ``start`` on, as from time 0."""
    for _, packet in source.read_packets(begin, end):
        if packet.pts is not None and packet.pts >= start:  # leading frames need the GOP before
            packet.pts -= start
            packet.dts = None if packet.dts is None else packet.dts - start
            packet.stream = stream
            yield _get_seconds(packet), 0, packet


def _shift_audio(packets: Iterator[AnyPacket], limits: tuple[Fraction, Fraction], stream: Stream) -> Iterator[Timed]:
    """Yield the audio packets that start between ``limits``, in seconds of the file, as from time 0."""
    for packet in packets:
        if not packet.size or packet.pts is None or packet.time_base is None:
            continue
        if limits[0] <= packet.pts * packet.time_base < limits[1]:
            shift = round(limits[0] / packet.time_base)
            packet.pts -= shift
            packet.dts = None if packet.dts is None else packet.dts - shift
            packet.stream = stream
            yield _get_seconds(packet), 1, packet


def _get_seconds(packet: AnyPacket) -> float:
    time = packet.pts if packet.dts is None else packet.dts
    return float((time or 0) * (packet.time_base or 0))


def _mux(output: OutputContainer, packets: list[Iterator[Timed]]) -> None:
    for _, _, packet in heapq.merge(*packets, key=lambda timed: timed[:2]):
        output.mux(packet)


class ExactCutter:
    """Cuts exact clips of one video, which is surveyed once. ``scratch`` is a folder for files in progress."""

    def __init__(self, path: Path, scratch: Path, frames: int, tolerant: bool, by_decoding: bool) -> None:
        self._path, self._scratch = path, scratch
        self._survey: Survey = survey_video(path, tolerant=tolerant, by_decoding=by_decoding)
        if len(self._survey.timeline) < frames:
            raise BadInput(
                f"{path.name}: only {len(self._survey.timeline)} of its {frames} frames can be encoded again"
            )
        self._clock: Clock = build_clock(self._survey.timeline)
        self._settings = _choose_settings(path, self._survey.picture)

    def cut(self, first: int, stop: int, target: Path) -> Clip:
        """Encode the frames from ``first`` to ``stop`` and their audio to ``target``, an MP4 file.

        The video is H.264 (CRF 18), or lossless if x264 cannot hold the pixel format; the audio is FLAC.
        Raises BadInput at a damaged frame.
        """
        encoded = self._scratch / f"clip-{first}-{stop}.mp4"
        clock = self._clock.part(first, stop)
        self._scratch.mkdir(parents=True, exist_ok=True)
        segment = Segment(0, first, stop, first, stop)
        with (
            SegmentReader(self._path, self._survey) as reader,
            SegmentEncoder(encoded, self._settings, self._survey.picture, clock) as encoder,
        ):
            for frame in reader.frames(segment):
                encoder.write(frame.frame)
            if reader.damaged:
                raise BadInput(f"{self._path.name}: frame {min(reader.damaged)} of the clip is damaged")
        self._add_audio(encoded, clock, (first, stop), target)
        encoded.unlink()
        return Clip(target, first, stop)

    def _add_audio(self, encoded: Path, clock: Clock, frames: tuple[int, int], target: Path) -> None:
        begin = int(self._clock.pts[frames[0]]) * self._clock.time_base
        end = begin + clock.end_pts * clock.time_base
        with ExitStack() as files:
            source = files.enter_context(open_container(encoded))
            pattern = select_video_stream(source, encoded)
            audio = files.enter_context(open_container(self._path))
            stream = select_audio_stream(audio)
            output = files.enter_context(_open_output(target, clock.time_base, stream))
            video = output.add_stream_from_template(pattern, opaque=True)
            video.codec_context.sample_aspect_ratio = self._survey.picture.sample_aspect
            if self._survey.display_matrix:
                video.set_display_matrix(self._survey.display_matrix)
            packets = [_shift_video_packets(source.demux(pattern), video)]
            if stream is not None:
                packets.append(_encode_audio(output, audio, stream, begin, end))
            _mux(output, packets)


def _choose_settings(path: Path, picture: PictureFormat) -> EncoderSettings:
    try:
        _SETTINGS.check(picture)
    except ValueError:
        try:
            return choose_lossless_settings(picture)
        except ValueError as error:
            raise BadInput(f"{path.name}: {error}; use --clips copy") from error
    return _SETTINGS


def _shift_video_packets(packets: Iterator[AnyPacket], stream: Stream) -> Iterator[Timed]:
    for packet in packets:
        if packet.size:
            packet.stream = stream
            yield _get_seconds(packet), 0, packet


def _encode_audio(output: OutputContainer, audio: Any, stream: Any, begin: Fraction, end: Fraction) -> Iterator[Timed]:
    """Yield the encoded packets of the audio from ``begin`` to ``end``, in seconds of the file, as from time 0."""
    decoder = AudioDecoder(stream)
    encoder = add_lossless_stream(output, "flac", decoder)
    first, stop = round(begin * decoder.rate), round(end * decoder.rate)

    def encode() -> Iterator[Timed]:
        for start, block in read_samples(audio, stream, decoder):
            kept = block[max(0, first - start) : max(0, stop - start)]
            if len(kept):
                frame = make_frame(kept, max(start, first) - first, decoder)
                yield from ((_get_seconds(packet), 1, packet) for packet in encoder.encode(frame))
            if start >= stop:
                break
        yield from ((_get_seconds(packet), 1, packet) for packet in encoder.encode(None))

    return encode()
