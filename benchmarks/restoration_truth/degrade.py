"""A seeded model of a VHS tape and its player, which degrades clean frames with known parameters.

The source is progressive and read at field rate: the tape keeps every second line of each frame. Two fields form an
interlaced SD frame, as from a capture card: 4:2:2, 13.5 MHz sampling.

In the order of the real chain:

camera        each line is averaged with its neighbors (1 2 1), as in interlaced cameras; otherwise interlaced frames
              flicker (FFmpeg's ``tinterlace`` has the same default)
recording     luma falls off at 3 MHz (240 lines), chroma at 0.4 MHz (its carrier at 627 or 629 kHz allows no more);
              chroma is delayed by a fraction of a microsecond, and by whole lines of its field
tape          noise with the bandwidth of luma and of chroma; chroma noise is stronger, and correlated along lines;
              dropouts: streaks without signal, which players show light gray
playback      each line starts a little early or late (time base error: a slow drift and a jitter from line to line);
              below the head switch, lines are shifted and noisier
levels        black is raised, white may be lowered

Sources: Watkinson, The Art of Digital Video; ITU-R BT.601 (sampling); SMPTE 32M (VHS).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Planes: TypeAlias = NDArray[np.float32]  # 3, lines, samples: Y, Cb, Cr in 8-bit codes
Frames: TypeAlias = NDArray[np.uint8]

SAMPLING_HZ = 13.5e6
WIDTH = 720
LINES = {"pal": 576, "ntsc": 480}
GRAY = 128.0
_MARGIN = 72  # samples on both sides against wrap-around; 864 is a fast size for the FFT
_FALL_OFF = 4  # order of the Butterworth filters


@dataclass(frozen=True)
class Tape:
    """The condition of a tape. The defaults are a tape of the nineties in fair condition, in a good player.

    luma_bandwidth_hz, chroma_bandwidth_hz  frequencies at half power
    chroma_shift_x_px     shift of chroma to the right, in samples of 720
    chroma_shift_y_px     shift of chroma down, in lines of the frame; even, since fields are shifted by whole lines
    noise_luma, noise_chroma  standard deviation, in 8-bit codes
    jitter_px             standard deviation of the start of a line, in samples
    head_switching_lines  torn lines at the bottom of the frame
    dropouts_per_field    average number
    black_level, white_level  8-bit codes at which black and white are played
    """

    standard: Literal["pal", "ntsc"] = "pal"
    field_order: Literal["tff", "bff"] = "tff"
    luma_bandwidth_hz: float = 3.0e6
    chroma_bandwidth_hz: float = 0.4e6
    chroma_shift_x_px: float = 4.0
    chroma_shift_y_px: int = 2
    noise_luma: float = 3.0
    noise_chroma: float = 5.0
    jitter_px: float = 0.4
    head_switching_lines: int = 8
    dropouts_per_field: float = 0.3
    black_level: float = 24.0
    white_level: float = 235.0
    seed: int = 0


TAPES = {
    "good": Tape(
        chroma_shift_x_px=2.0,
        chroma_shift_y_px=0,
        noise_luma=1.5,
        noise_chroma=2.5,
        jitter_px=0.2,
        head_switching_lines=6,
        dropouts_per_field=0.05,
        black_level=20.0,
        seed=1,
    ),
    "fair": Tape(),
    "worn": Tape(
        luma_bandwidth_hz=2.5e6,
        chroma_shift_x_px=6.0,
        chroma_shift_y_px=4,
        noise_luma=6.0,
        noise_chroma=9.0,
        jitter_px=0.8,
        head_switching_lines=10,
        dropouts_per_field=1.5,
        black_level=28.0,
        seed=2,
    ),
    # Presets were never tuned on this one. Its black level is nominal and must not be corrected.
    "unseen": Tape(
        field_order="bff",
        luma_bandwidth_hz=2.7e6,
        chroma_shift_x_px=-3.0,
        noise_luma=4.5,
        noise_chroma=7.0,
        jitter_px=0.6,
        dropouts_per_field=0.8,
        black_level=16.0,
        seed=7,
    ),
}


def degrade(source: Frames, tape: Tape) -> tuple[Frames, Frames, Frames]:
    """Record ``source`` (N, 3, lines, 720; Y, Cb, Cr of 4:4:4, limited range) on ``tape``, and play it.

    Two source frames become one frame; an odd last one is dropped. Returns Y (N//2, lines, 720), Cb and Cr
    (N//2, lines, 360) of interlaced frames. Raises ValueError for frames of another size.
    """
    lines = LINES[tape.standard]
    if source.ndim != 4 or source.shape[1:] != (3, lines, WIDTH):
        raise ValueError(f"frames of {tape.standard} are (N, 3, {lines}, {WIDTH}), not {source.shape}")
    frames = np.empty((len(source) // 2, 3, lines, WIDTH), np.float32)
    for number in range(2 * len(frames)):
        parity = number % 2 if tape.field_order == "tff" else 1 - number % 2
        field = _simulate_camera(source[number])[:, parity::2]
        frames[number // 2, :, parity::2] = _play(field, tape, np.random.default_rng([tape.seed, number]))
    whole = np.clip(np.rint(frames), 0, 255).astype(np.uint8)
    colour = np.clip(np.rint(_halve_chroma(frames[:, 1:])), 0, 255).astype(np.uint8)
    return whole[:, 0], colour[:, 0], colour[:, 1]


def _simulate_camera(frame: Frames) -> Planes:
    """Average each line with a quarter of each neighbor."""
    padded = np.pad(frame.astype(np.float32), ((0, 0), (1, 1), (0, 0)), "edge")
    return np.asarray((padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4, np.float32)


def _play(field: Planes, tape: Tape, random: np.random.Generator) -> Planes:
    """Return one field (3, lines of a field, 720) as played."""
    torn = tape.head_switching_lines // 2
    signal = np.pad(_lower_chroma(field, tape.chroma_shift_y_px // 2), ((0, 0), (0, 0), (_MARGIN, _MARGIN)), "edge")
    signal[0] = _limit(signal[0], tape.luma_bandwidth_hz, 0.0)
    signal[1:] = _limit(signal[1:], tape.chroma_bandwidth_hz, tape.chroma_shift_x_px)
    signal += _make_noise(signal.shape, tape, torn, random)
    _drop_out(signal, tape.dropouts_per_field, random)
    signal = _shift(signal, _simulate_line_starts(signal.shape[1], tape.jitter_px, torn, random))
    signal[0] = tape.black_level + (signal[0] - 16) * (tape.white_level - tape.black_level) / (235 - 16)
    return np.asarray(signal[..., _MARGIN:-_MARGIN])


def _lower_chroma(field: Planes, lines: int) -> Planes:
    """Shift the chroma of ``field`` down by ``lines``."""
    rows = np.clip(np.arange(field.shape[1]) - lines, 0, field.shape[1] - 1)
    return np.concatenate([field[:1], field[1:, rows]])


def _list_frequencies(samples: int) -> NDArray[np.float32]:
    return np.asarray(fft.rfftfreq(samples), np.float32)  # in cycles per sample


def _limit(signal: Planes, bandwidth_hz: float, delay_px: float) -> Planes:
    """Apply a Butterworth low-pass filter (magnitude only) and a delay along the lines of ``signal``."""
    frequencies = _list_frequencies(signal.shape[-1])
    gain = 1 / np.sqrt(1 + (frequencies * SAMPLING_HZ / bandwidth_hz) ** (2 * _FALL_OFF))
    turn = np.exp(-2j * np.pi * frequencies * delay_px)
    return np.asarray(fft.irfft(fft.rfft(signal) * (gain * turn).astype(np.complex64), signal.shape[-1]))


def _shift(signal: Planes, starts: NDArray[np.float32]) -> Planes:
    """Shift each line of ``signal`` right by the samples in ``starts``, equally in all planes."""
    turns = np.exp(-2j * np.pi * starts[:, None] * _list_frequencies(signal.shape[-1])).astype(np.complex64)
    return np.asarray(fft.irfft(fft.rfft(signal) * turns, signal.shape[-1]))


def _make_noise(shape: tuple[int, ...], tape: Tape, torn: int, random: np.random.Generator) -> Planes:
    """Return the noise of a field within its bandwidth; it is three times as strong in torn lines."""
    noise = random.standard_normal(shape, np.float32)
    noise[0] = _scale(_limit(noise[0], tape.luma_bandwidth_hz, 0.0), tape.noise_luma)
    noise[1:] = _scale(_limit(noise[1:], tape.chroma_bandwidth_hz, 0.0), tape.noise_chroma)
    noise[:, shape[1] - torn :] *= 3
    return noise


def _scale(noise: Planes, deviation: float) -> Planes:
    return np.asarray(noise * np.float32(deviation / noise.std()))


def _simulate_line_starts(lines: int, jitter_px: float, torn: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Return the start of each line in samples: half drift, half jitter; torn lines bend to the right."""
    drift = np.cumsum(random.standard_normal(lines)) / np.sqrt(lines)
    starts = jitter_px * (random.standard_normal(lines) + drift - drift.mean()) / np.sqrt(2)
    bend = 12 + 36 * np.arange(1, torn + 1) / max(torn, 1)
    starts[lines - torn :] += bend * random.uniform(0.7, 1.2)
    return np.asarray(starts, np.float32)


def _drop_out(signal: Planes, rate: float, random: np.random.Generator) -> None:
    """Add streaks without signal to the field, in place: light gray, fading out to the right."""
    for _ in range(random.poisson(rate)):
        line, length = int(random.integers(signal.shape[1])), int(random.integers(10, 80))
        start = int(random.integers(_MARGIN, signal.shape[2] - _MARGIN - length))
        fade = np.exp(-np.arange(length, dtype=np.float32) / length)
        streak = signal[:, line, start : start + length]
        streak += fade * (np.array([[220.0], [GRAY], [GRAY]], np.float32) - streak)


def _halve_chroma(colour: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert 4:4:4 to 4:2:2: chroma is at every second luma sample, filtered (1 2 1)."""
    padded = np.pad(colour, ((0, 0), (0, 0), (0, 0), (1, 1)), "edge")
    return np.asarray((padded[..., :-2:2] + 2 * padded[..., 1:-1:2] + padded[..., 2::2]) / 4, np.float32)
