"""Lossless conversion of audio that the container cannot hold.

The start of the stream is exact to the sample. Gaps in the source's times are filled with silence, so that later audio
keeps its time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

# FFmpeg's lossless encoders per container: for samples of up to 16 bits, and for more.
_ENCODERS = {".mp4": ("flac", "flac"), ".mkv": ("flac", "flac"), ".mov": ("pcm_s16le", "pcm_s24le")}
_MAX_CHANNELS = 8  # of FLAC
# Smaller deviations of packet times from the sample count are rounding errors, not gaps.
_GAP_SECONDS = Fraction(1, 25)

# Samples x channels, int16 or int32; of the latter the lowest 8 bits are 0.
Samples: TypeAlias = "npt.NDArray[Any]"


@dataclass(frozen=True)
class Conversion:
    """A converted audio stream: its index in the source and in the joined video, and both codecs."""

    stream: int
    joined: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"audio stream {self.stream}: {self.before} became {self.after.removesuffix('le').upper()}"


def find_lossless_encoder(stream: Stream, suffix: str) -> str | None:
    """Return the lossless audio encoder for ``stream`` in a file with this extension; None if there is none.

    Samples of up to 24 bits are exact; floating-point samples are rounded to 24 bits.
    """
    if not isinstance(stream, AudioStream) or stream.codec_context is None or suffix not in _ENCODERS:
        return None
    context = stream.codec_context
    if not 1 <= context.channels <= _MAX_CHANNELS or context.sample_rate < 1:
        return None
    return _ENCODERS[suffix][_is_deep(stream)]


def _is_deep(stream: AudioStream) -> bool:
    return stream.codec_context.format.bytes > 2


class AudioDecoder:
    """Decodes an audio stream to consecutive samples without gaps.

    rate    samples per second
    start   time of the first sample, in samples; None before it is decoded
    count   number of samples so far
    """

    def __init__(self, stream: Stream) -> None:
        if not isinstance(stream, AudioStream):
            raise TypeError(f"stream {stream.index} is not audio but {stream.type}")
        context = stream.codec_context
        context.thread_count = 1
        self.rate, self.layout = context.sample_rate, context.layout.name
        self.format = "s32" if _is_deep(stream) else "s16"
        self.start: int | None = None
        self.count = 0
        self._context, self._time_base = context, stream.time_base or Fraction(0)
        self._channels = context.channels
        self._resampler: AudioResampler | None = None
        self._kind: tuple[str, str, int] | None = None

    def samples(self, packet: Packet[Any] | None) -> Iterator[Samples]:
        """Yield the samples of ``packet``; with None, those that the decoder has buffered.

        Packets that cannot be decoded become silence when later samples follow.
        """
        with suppress(FFmpegError):
            for frame in self._context.decode(packet):
                due = None if frame.pts is None else round(frame.pts * self._time_base * self.rate)
                yield from self._place(self._convert(frame), due)

    def _place(self, block: Samples, due: int | None) -> Iterator[Samples]:
        """Yield ``block``, preceded by silence if there is a gap, or without its start if it overlaps."""
        if self.start is None:
            self.start = due or 0
        gap = 0 if due is None else due - self.start - self.count
        if abs(gap) > self.rate * _GAP_SECONDS:
            yield from self._count(self._make_silence(gap))
            block = block[max(0, -gap) :]
        yield from self._count([block])

    def _count(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        for block in blocks:
            self.count += len(block)
            if len(block):
                yield block

    def _make_silence(self, samples: int) -> Iterator[Samples]:
        """Yield silence in blocks of at most a second."""
        kind = np.int32 if self.format == "s32" else np.int16
        for start in range(0, samples, self.rate):
            yield np.zeros((min(self.rate, samples - start), self._channels), kind)

    def _convert(self, frame: AudioFrame) -> Samples:
        """Return the samples of ``frame`` as integers, in the initial rate and layout of the stream."""
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if self._resampler is None or kind != self._kind:
            self._resampler = AudioResampler(format=self.format, layout=self.layout, rate=self.rate)
            self._kind = kind
        frame.pts = None  # times follow from the sample count
        blocks = [resampled.to_ndarray().reshape(-1, self._channels) for resampled in self._resampler.resample(frame)]
        samples: Samples = np.concatenate(blocks) if blocks else np.empty((0, self._channels), np.int16)
        return samples if self.format == "s16" else samples & np.int32(-256)


class AudioConverter:
    """Encodes an audio stream into a new stream of the joined video."""

    def __init__(self, source: Stream, joined: OutputContainer, encoder: str) -> None:
        self.codec = encoder
        self._decoder = AudioDecoder(source)
        self._done = 0
        decoder = self._decoder
        self.stream = cast("AudioStream", joined.add_stream(encoder, rate=decoder.rate))
        context = self.stream.codec_context
        context.layout, context.format = decoder.layout, decoder.format
        self.stream.time_base = context.time_base = Fraction(1, decoder.rate)
        context.open()

    def packets(self, packet: Packet[Any] | None) -> Iterator[Packet[Any]]:
        """Yield the encoded packets of ``packet``, whose times are those of the joined video; None ends the stream."""
        for block in self._decoder.samples(packet):
            yield from self.stream.encode(self._make_frame(block))
        if packet is None:
            yield from self.stream.encode(None)

    def _make_frame(self, block: Samples) -> AudioFrame:
        flat = np.ascontiguousarray(block).reshape(1, -1)
        frame = AudioFrame.from_ndarray(flat, format=self._decoder.format, layout=self._decoder.layout)
        frame.sample_rate, frame.time_base = self._decoder.rate, Fraction(1, self._decoder.rate)
        frame.pts = (self._decoder.start or 0) + self._done
        self._done += len(block)
        return frame


@dataclass(frozen=True)
class AudioSummary:
    """A summary of a decoded audio stream: the number of samples, the start in samples, the rate and a digest."""

    count: int
    start: int
    rate: int
    digest: str


def summarize_audio(stream: Stream, packets: Iterable[Packet[Any]]) -> AudioSummary:
    """Decode all ``packets`` of ``stream`` and return a summary."""
    decoder, digest = AudioDecoder(stream), hashlib.blake2b(digest_size=16)
    for packet in chain(packets, [None]):
        for block in decoder.samples(packet):
            digest.update(np.ascontiguousarray(block).data)
    return AudioSummary(decoder.count, decoder.start or 0, decoder.rate, digest.hexdigest())
