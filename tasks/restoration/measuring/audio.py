"""The first audio stream of a tape, and its silent channels."""

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
# Relative to full scale: -60 dB is below the hiss of a linear track; an audible channel is above -50 dB.
_MAX_SILENT_RMS = 1e-3
_MIN_AUDIBLE_RMS = 10**-2.5
_MAX_PACKETS = 2000
_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class AudioInfo:
    """The first audio stream; zeros without one.

    silent_channels   the channel, from 0, of two that is silent while the other one is not: a mono recording. Always
                      empty for other layouts, since surround audio may have silent channels
    """

    channels: int = 0
    rate_hz: int = 0
    silent_channels: tuple[int, ...] = ()


def measure_audio(path: Path, positions_seconds: Sequence[float]) -> AudioInfo:
    """Measure the first audio stream of the video at ``path``, a few seconds from each of the positions on.

    Audio that cannot be decoded is skipped without an error.
    """
    try:
        with open_container(path) as container:
            if not container.streams.audio or container.streams.audio[0].codec_context is None:
                return AudioInfo()
            return _measure_channels(container, container.streams.audio[0], positions_seconds)
    except (BadInput, FFmpegError):
        return AudioInfo()


def _measure_channels(container: InputContainer, stream: AudioStream, positions_seconds: Sequence[float]) -> AudioInfo:
    channels, rate = stream.codec_context.channels, stream.codec_context.sample_rate
    loudest = np.zeros(channels)
    for position in positions_seconds:
        loudness = _measure_loudness(container, stream, position, channels)
        loudest = np.maximum(loudest, loudness)
    is_mono = channels == 2 and loudest.max() > _MIN_AUDIBLE_RMS
    silent = np.flatnonzero(loudest < _MAX_SILENT_RMS) if is_mono else ()
    return AudioInfo(channels, rate, tuple(int(channel) for channel in silent))


def _measure_loudness(
    container: InputContainer, stream: AudioStream, position: float, channels: int
) -> npt.NDArray[np.float64]:
    """Return the RMS per channel (full scale 1) over some seconds from ``position`` on."""
    squares, count = np.zeros(channels), 0
    try:
        with closing(_read_samples(container, stream, position)) as blocks:
            for block in blocks:
                if len(block) == channels:
                    squares += np.square(block, dtype=np.float64).sum(axis=1)
                    count += block.shape[1]
                if count >= SECONDS * stream.codec_context.sample_rate:
                    break
    except FFmpegError:
        pass
    return np.sqrt(squares / max(1, count))


def _read_samples(
    container: InputContainer, stream: AudioStream, position: float
) -> Generator[npt.NDArray[np.float32]]:
    """Yield blocks of samples from about ``position`` on, channels x samples."""
    start = container.start_time or 0
    container.seek(start + int(position * _MICROSECONDS))
    resampler = AudioResampler(format="fltp")
    for number, packet in enumerate(container.demux(stream)):
        if number > _MAX_PACKETS:
            return
        for frame in _decode(packet):
            for resampled in resampler.resample(frame):
                yield resampled.to_ndarray().astype(np.float32, copy=False)


def _decode(packet: Packet[AudioStream]) -> list[AudioFrame]:
    """Return the frames of ``packet``; empty if it is damaged, as the first one after a seek may be."""
    try:
        return list(packet.decode())
    except FFmpegError:
        return []
