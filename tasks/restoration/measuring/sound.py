"""What the first audio stream is, and which of its channels are silent."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet

from tasks.engine.contract.errors import BadInput
from tasks.media.opening import open_container

SECONDS = 2.0
# Of full scale: -60 dB is below the hiss of a tape's linear track, and a channel that is heard is above -50 dB.
_SILENT = 1e-3
_HEARD = 10**-2.5
_MOST_PACKETS = 2000
_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Sound:
    """The first audio stream; zeros without one.

    silent_channels   the channel, from 0, of two that is silent in all that was heard while the other is not: a mono
                      recording. Of other layouts nothing is said: in surround sound a silent channel means nothing
    """

    channels: int = 0
    rate_hz: int = 0
    silent_channels: tuple[int, ...] = ()


def listen(path: Path, places_seconds: Sequence[float]) -> Sound:
    """Decode a little of the first audio stream of the video at ``path`` from each of the places on.

    What cannot be decoded is not heard; nothing is raised for it.
    """
    try:
        with open_container(path) as container:
            if not container.streams.audio or container.streams.audio[0].codec_context is None:
                return Sound()
            return _heard(container, container.streams.audio[0], places_seconds)
    except (BadInput, FFmpegError):
        return Sound()


def _heard(container: InputContainer, stream: AudioStream, places_seconds: Sequence[float]) -> Sound:
    channels, rate = stream.codec_context.channels, stream.codec_context.sample_rate
    loudest = np.zeros(channels)
    for place in places_seconds:
        loudness = _loudness(container, stream, place, channels)
        loudest = np.maximum(loudest, loudness)
    is_mono = channels == 2 and loudest.max() > _HEARD
    silent = np.flatnonzero(loudest < _SILENT) if is_mono else ()
    return Sound(channels, rate, tuple(int(channel) for channel in silent))


def _loudness(container: InputContainer, stream: AudioStream, place: float, channels: int) -> npt.NDArray[np.float64]:
    """The root mean square of each channel, of full scale 1, over some seconds from ``place`` on."""
    squares, count = np.zeros(channels), 0
    try:
        with closing(_samples(container, stream, place)) as blocks:
            for block in blocks:
                if len(block) == channels:
                    squares += np.square(block, dtype=np.float64).sum(axis=1)
                    count += block.shape[1]
                if count >= SECONDS * stream.codec_context.sample_rate:
                    break
    except FFmpegError:
        pass
    return np.sqrt(squares / max(1, count))


def _samples(container: InputContainer, stream: AudioStream, place: float) -> Generator[npt.NDArray[np.float32]]:
    """Blocks of samples from about ``place`` on, channels x samples."""
    begin = container.start_time or 0
    container.seek(begin + int(place * _MICROSECONDS))
    resampler = AudioResampler(format="fltp")
    for number, packet in enumerate(container.demux(stream)):
        if number > _MOST_PACKETS:
            return
        for frame in _decoded(packet):
            for even in resampler.resample(frame):
                yield even.to_ndarray().astype(np.float32, copy=False)


def _decoded(packet: Packet[AudioStream]) -> list[AudioFrame]:
    """The frames of ``packet``; none of a damaged one, as the first one after a seek may be."""
    try:
        return list(packet.decode())
    except FFmpegError:
        return []
