"""Extract the audio of parts of a video, exact to the sample, in one pass over the file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Self, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard

from tasks.engine.contract.errors import BadInput
from tasks.frames.params import AudioFormat
from tasks.media.opening import open_container
from tasks.media.segments.converting import AudioDecoder, Samples

_CODECS = {("flac", "s16"): "flac", ("flac", "s32"): "flac", ("wav", "s16"): "pcm_s16le", ("wav", "s32"): "pcm_s24le"}


@dataclass(frozen=True)
class AudioPart:
    """A part of a video's audio, in seconds of the file, and the file to write it to."""

    id: str
    start: Fraction
    end: Fraction
    path: Path


@dataclass(frozen=True)
class AudioFile:
    """A written audio file.

    start  time of the first sample in seconds of the file; later than the part's start if the audio starts later
    """

    start: Fraction
    duration_seconds: float
    sample_rate: int
    channels: int
    size_bytes: int
    sha256: str


def extract_audio(path: Path, parts: Sequence[AudioPart], form: AudioFormat) -> dict[str, AudioFile]:
    """Write the audio of ``parts`` and return the files by the parts' ids, without parts that have no audio.

    Samples of up to 24 bits are exact; gaps are silence. Raises BadInput if the audio cannot be decoded at all.
    """
    with open_container(path) as container, ExitStack() as files:
        stream = select_audio_stream(container)
        if stream is None or not parts:
            return {}
        decoder = AudioDecoder(stream)
        writers = {part.id: files.enter_context(_Writer(part, form, decoder)) for part in parts}
        stop = max(writer.stop for writer in writers.values())
        for first, block in read_samples(container, stream, decoder):
            for writer in writers.values():
                writer.write(first, block)
            if first >= stop:
                break
        if decoder.start is None:
            raise BadInput(f"{path.name}: its audio cannot be decoded; leave out --audio, or fetch it again")
        rate, channels = decoder.rate, stream.codec_context.channels
    return {name: writer.describe(rate, channels) for name, writer in writers.items() if writer.count}


def select_audio_stream(container: InputContainer) -> AudioStream | None:
    """Return the audio stream that a player would choose; None if there is none. All others are discarded."""
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream) or stream.codec_context is None:
        return None
    for other in container.streams:
        other.discard = Discard.default if other is stream else Discard.all
    return stream


def read_samples(
    container: InputContainer, stream: AudioStream, decoder: AudioDecoder
) -> Iterator[tuple[int, Samples]]:
    """Yield consecutive blocks of samples, each with the number of its first one since time 0 of the file."""
    packets: Iterable[Packet[Any] | None] = (packet for packet in container.demux(stream) if packet.size)
    for packet in chain(packets, [None]):
        for block in decoder.samples(packet):
            yield (decoder.start or 0) + decoder.count - len(block), block


def hash_file(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def add_lossless_stream(container: OutputContainer, codec: str, decoder: AudioDecoder) -> AudioStream:
    """Return a new stream of ``container`` for the samples of ``decoder``."""
    stream = cast("AudioStream", container.add_stream(codec, rate=decoder.rate))
    context = stream.codec_context
    context.layout, context.format = decoder.layout, decoder.format
    stream.time_base = context.time_base = Fraction(1, decoder.rate)
    context.open()
    return stream


def make_frame(block: Samples, first: int, decoder: AudioDecoder) -> AudioFrame:
    """Return samples as a frame that starts at sample ``first``."""
    flat = np.ascontiguousarray(block).reshape(1, -1)
    frame = AudioFrame.from_ndarray(flat, format=decoder.format, layout=decoder.layout)
    frame.sample_rate, frame.time_base, frame.pts = decoder.rate, Fraction(1, decoder.rate), first
    return frame


class _Writer:
    """Writes the samples of one part. ``count`` is the number of samples so far."""

    def __init__(self, part: AudioPart, form: AudioFormat, decoder: AudioDecoder) -> None:
        self._part, self._form, self._decoder = part, form, decoder
        self._first, self.stop = round(part.start * decoder.rate), round(part.end * decoder.rate)
        self._start = 0
        self.count = 0
        self._container: OutputContainer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def write(self, first: int, block: Samples) -> None:
        """Write the samples of ``block`` that are in the part; its first sample has the number ``first``."""
        block = block[max(0, self._first - first) : max(0, self.stop - first)]
        if not len(block):
            return
        if self._container is None:
            self._start = max(first, self._first)
            self._container = av.open(str(self._part.path), "w", format=self._form, options={"fflags": "+bitexact"})
            codec = _CODECS[self._form, self._decoder.format]
            self._stream = add_lossless_stream(self._container, codec, self._decoder)
        self._container.mux(self._stream.encode(make_frame(block, self.count, self._decoder)))
        self.count += len(block)

    def describe(self, rate: int, channels: int) -> AudioFile:
        """Return the figures of the file after it was closed."""
        path = self._part.path
        size, digest = path.stat().st_size, hash_file(path)
        return AudioFile(Fraction(self._start, rate), self.count / rate, rate, channels, size, digest)
