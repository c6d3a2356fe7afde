"""Real clips with synthetic tape defects of known size, for tests of measurements."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from tasks.media.segments.source import survey_video
from tasks.restoration.diagnosis import Diagnosis
from tasks.restoration.measuring.measure import diagnose

Plane = npt.NDArray[np.uint8]
WIDTH, HEIGHT = 480, 384
SIZE = f"scale={WIDTH}:{HEIGHT}:flags=area"
# Raw samples, so that encoding does not affect the measurements.
STORED = ("-c:v", "rawvideo")


@dataclass(frozen=True)
class Clip:
    """Frames in yuv420p; each plane is frames x height x width."""

    luma: Plane
    blue: Plane
    red: Plane

    def __add__(self, other: Clip) -> Clip:
        pairs = ((self.luma, other.luma), (self.blue, other.blue), (self.red, other.red))
        return Clip(*(np.concatenate(pair) for pair in pairs))

    def cut(self, start: int, stop: int) -> Clip:
        return Clip(self.luma[start:stop], self.blue[start:stop], self.red[start:stop])


Wear = Callable[[Clip], Clip]


@functools.cache
def read_clip(path: Path, filters: str = SIZE, frames: int = 60) -> Clip:
    """Return the first frames of a real clip, filtered to WIDTH x HEIGHT."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-vf", filters, "-an"]
    form = ["-frames:v", str(frames), "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
    data = np.frombuffer(subprocess.run([*command, *form], check=True, capture_output=True).stdout, np.uint8)
    whole, part = WIDTH * HEIGHT, WIDTH * HEIGHT // 4
    rows = data.reshape(-1, whole + 2 * part)
    half = (-1, HEIGHT // 2, WIDTH // 2)
    blue, red = rows[:, whole : whole + part].reshape(half), rows[:, whole + part :].reshape(half)
    return Clip(rows[:, :whole].reshape(-1, HEIGHT, WIDTH), blue, red)


def record(frames: Clip, path: Path, rate: str = "30000/1001", extra: tuple[str, ...] = ()) -> Path:
    """Write ``frames`` losslessly to a file; ``extra`` is another input and options of ffmpeg."""
    size = f"{frames.luma.shape[2]}x{frames.luma.shape[1]}"
    source = ["-f", "rawvideo", "-s", size, "-pix_fmt", "yuv420p", "-r", rate, "-i", "pipe:0"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, *extra]
    command += [*([] if "-c:v" in extra else STORED), str(path)]
    planes = zip(frames.luma, frames.blue, frames.red, strict=True)
    data = b"".join(plane.tobytes() for frame in planes for plane in frame)
    subprocess.run(command, input=data, check=True, capture_output=True)
    return path


def diagnose_file(path: Path, tolerant: bool = False) -> Diagnosis:
    return diagnose(path, survey_video(path, tolerant=tolerant))


def add_noise(luma_sigma: float, chroma_sigma: float = 0.0) -> Wear:
    def apply(frames: Clip) -> Clip:
        rng = np.random.default_rng(7)
        sigmas = (luma_sigma, chroma_sigma, chroma_sigma)
        planes = (frames.luma, frames.blue, frames.red)
        return Clip(*(_add_noise(plane, sigma, rng) for plane, sigma in zip(planes, sigmas, strict=True)))

    return apply


def _add_noise(plane: Plane, sigma: float, rng: np.random.Generator) -> Plane:
    if not sigma:
        return plane
    added = plane + sigma * rng.standard_normal(plane.shape, dtype=np.float32)
    return np.clip(np.rint(added), 0, 255).astype(np.uint8)


def shift_chroma(right_px: int, down_px: int) -> Wear:
    """Shift chroma by multiples of 2 luma pixels."""

    def apply(frames: Clip) -> Clip:
        moves = (down_px // 2, right_px // 2)
        blue, red = (np.roll(plane, moves, axis=(1, 2)) for plane in (frames.blue, frames.red))
        return replace(frames, blue=blue, red=red)

    return apply


def tear_lines(lines: int, noise: bool = False) -> Wear:
    """Shift the last lines sideways, by another distance in each frame, or replace them by noise."""

    def apply(frames: Clip) -> Clip:
        rng = np.random.default_rng(3)
        luma = frames.luma.copy()
        for frame in luma:
            bottom = frame[-lines:]
            snow = rng.integers(16, 235, bottom.shape, dtype=np.uint8)
            frame[-lines:] = snow if noise else np.roll(bottom, int(rng.integers(10, 30)), axis=1)
        return replace(frames, luma=luma)

    return apply


def add_borders(left: int, right: int, top: int, bottom: int, level: int = 16) -> Wear:
    def apply(frames: Clip) -> Clip:
        luma = np.full_like(frames.luma, level)
        inner = (slice(None), slice(top, HEIGHT - bottom), slice(left, WIDTH - right))
        luma[inner] = frames.luma[inner]
        return replace(frames, luma=luma)

    return apply


def change_levels(black: float, white: float) -> Wear:
    """Scale luma linearly from 16..235 to these codes."""

    def apply(frames: Clip) -> Clip:
        table = np.clip(black + (np.arange(256) - 16) * (white - black) / 219, 0, 255)
        return replace(frames, luma=np.rint(table).astype(np.uint8)[frames.luma])

    return apply
