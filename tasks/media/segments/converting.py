"""Sound that the container cannot take as it is: decoded once, and encoded again without loss.

Its samples are counted from its start, which is kept to the sample; where the source's times have a gap there is
silence, so that nothing after it comes early.
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

# What a container takes without loss: FFmpeg's encoders for samples of at most 16 bits, and of more.
_ENCODERS = {".mp4": ("flac", "flac"), ".mkv": ("flac", "flac"), ".mov": ("pcm_s16le", "pcm_s24le")}
_MOST_CHANNELS = 8  # of FLAC
# Times of packets that differ by less from those that the samples before them give are rounded, and not a gap.
_GAP_SECONDS = Fraction(1, 25)

# Samples x channels, int16 or int32; of the latter the lowest 8 bits are 0.
Samples: TypeAlias = "npt.NDArray[Any]"


@dataclass(frozen=True)
class Conversion:
    """A stream of sound that was encoded again: its index in the source and in the joined video, and both codecs."""

    stream: int
    joined: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"sound stream {self.stream}: {self.before} became {self.after.removesuffix('le').upper()}"


def lossless_encoder(stream: Stream, suffix: str) -> str | None:
    """The encoder with which a file with this extension can have the sound of ``stream``; ``None`` where there is none.

    Samples of up to 24 bits are kept as they are; of floating-point ones the first 24 bits.
    """
    if not isinstance(stream, AudioStream) or stream.codec_context is None or suffix not in _ENCODERS:
        return None
    context = stream.codec_context
    if not 1 <= context.channels <= _MOST_CHANNELS or context.sample_rate < 1:
        return None
    return _ENCODERS[suffix][_is_deep(stream)]


def _is_deep(stream: AudioStream) -> bool:
    return stream.codec_context.format.bytes > 2


class PlacedSound:
    """The samples of a stream one after another, each at its time.

    rate    samples a second
    start   when the first one is heard, in samples; ``None`` before there is one
    count   how many samples there have been
    """

    def __init__(self, stream: Stream) -> None:
        if not isinstance(stream, AudioStream):
            raise TypeError(f"stream {stream.index} is no sound but {stream.type}")
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
        """What is heard next when ``packet`` is decoded; with ``None``, what the decoder holds back.

        What cannot be decoded is silent, as soon as something comes after it.
        """
        with suppress(FFmpegError):
            for frame in self._context.decode(packet):
                due = None if frame.pts is None else round(frame.pts * self._time_base * self.rate)
                yield from self._placed(self._converted(frame), due)

    def _placed(self, block: Samples, due: int | None) -> Iterator[Samples]:
        """``block``, after silence where it is due later than the samples before it end, or without its beginning."""
        if self.start is None:
            self.start = due or 0
        late = 0 if due is None else due - self.start - self.count
        if abs(late) > self.rate * _GAP_SECONDS:
            yield from self._counted(self._silence(late))
            block = block[max(0, -late) :]
        yield from self._counted([block])

    def _counted(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        for block in blocks:
            self.count += len(block)
            if len(block):
                yield block

    def _silence(self, samples: int) -> Iterator[Samples]:
        """A second at a time."""
        kind = np.int32 if self.format == "s32" else np.int16
        for begin in range(0, samples, self.rate):
            yield np.zeros((min(self.rate, samples - begin), self._channels), kind)

    def _converted(self, frame: AudioFrame) -> Samples:
        """The samples of ``frame`` as integers, in the rate and the layout that the stream began with."""
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if self._resampler is None or kind != self._kind:
            self._resampler = AudioResampler(format=self.format, layout=self.layout, rate=self.rate)
            self._kind = kind
        frame.pts = None  # times are counted here
        blocks = [made.to_ndarray().reshape(-1, self._channels) for made in self._resampler.resample(frame)]
        together: Samples = np.concatenate(blocks) if blocks else np.empty((0, self._channels), np.int16)
        return together if self.format == "s16" else together & np.int32(-256)


class SoundConverter:
    """Encodes the sound of one stream into a stream of its own of the joined video."""

    def __init__(self, source: Stream, joined: OutputContainer, encoder: str) -> None:
        self.codec = encoder
        self._sound = PlacedSound(source)
        self._done = 0
        sound = self._sound
        self.stream = cast("AudioStream", joined.add_stream(encoder, rate=sound.rate))
        context = self.stream.codec_context
        context.layout, context.format = sound.layout, sound.format
        self.stream.time_base = context.time_base = Fraction(1, sound.rate)
        context.open()

    def packets(self, packet: Packet[Any] | None) -> Iterator[Packet[Any]]:
        """What comes of ``packet``, whose times are those of the joined video; ``None`` ends the stream."""
        for block in self._sound.samples(packet):
            yield from self.stream.encode(self._frame(block))
        if packet is None:
            yield from self.stream.encode(None)

    def _frame(self, block: Samples) -> AudioFrame:
        flat = np.ascontiguousarray(block).reshape(1, -1)
        frame = AudioFrame.from_ndarray(flat, format=self._sound.format, layout=self._sound.layout)
        frame.sample_rate, frame.time_base = self._sound.rate, Fraction(1, self._sound.rate)
        frame.pts = (self._sound.start or 0) + self._done
        self._done += len(block)
        return frame


@dataclass(frozen=True)
class Heard:
    """All that is heard of a stream: how many samples, when the first one is, in samples, and a digest of them."""

    count: int
    start: int
    rate: int
    digest: str


def heard(stream: Stream, packets: Iterable[Packet[Any]]) -> Heard:
    """What is heard of ``stream``, of which ``packets`` are all."""
    sound, digest = PlacedSound(stream), hashlib.blake2b(digest_size=16)
    for packet in chain(packets, [None]):
        for block in sound.samples(packet):
            digest.update(np.ascontiguousarray(block).data)
    return Heard(sound.count, sound.start or 0, sound.rate, digest.hexdigest())
