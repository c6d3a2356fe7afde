"""Reference frames: a full decode by PyAV, checked against the ffmpeg program."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from tasks.media.orientation import Converter

Image = npt.NDArray[np.uint8]
# Frames are compared at this size.
THUMBNAIL_SIZE = (88, 72)
# Maximum mean difference caused by another color conversion, in levels of 255. Different frames differ more.
TOLERANCE = 12.0


@dataclass(frozen=True)
class Reference:
    """The frames of a video from a full decode of all its packets.

    thumbs              RGB, one per frame, of size THUMBNAIL_SIZE
    images              RGB at full size, for the frames at ``chosen``
    chosen              indices of the frames that the readers are asked for
    seconds             times of the ``chosen`` frames since the first frame
    agrees_with_ffmpeg  the ffmpeg program returns the same number of frames, and they look like PyAV's
    """

    thumbs: list[Image]
    images: dict[int, Image]
    chosen: list[int]
    seconds: list[float]
    agrees_with_ffmpeg: bool


def decode_all(path: Path) -> Iterator[Any]:
    """Yield every frame of a video, decoded on one thread without seeks or skipped frames."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.thread_type = "NONE"
        for packet in container.demux(stream):
            with suppress(av.error.InvalidDataError, EOFError):
                yield from packet.decode()


def read_reference(path: Path, frames: int) -> Reference:
    """Decode all of ``path`` twice and choose ``frames`` of its frames."""
    total = sum(1 for _ in decode_all(path))
    chosen = choose_indices(total, frames)
    converter = Converter()
    program = decode_with_ffmpeg(path)
    thumbs, images, times, same = [], {}, [], True
    for index, frame in enumerate(decode_all(path)):
        image = converter.convert(frame)[..., ::-1]
        times.append(None if frame.pts is None else frame.pts * frame.time_base)
        thumbs.append(shrink(image))
        other = next(program, None)
        same &= other is not None and measure_distance(thumbs[-1], shrink(other)) < TOLERANCE
        if index in chosen:
            images[index] = np.ascontiguousarray(image)
    same &= next(program, None) is None
    return Reference(thumbs, images, chosen, _compute_seconds(path, times, chosen), same)


def choose_indices(total: int, frames: int) -> list[int]:
    """Return ``frames`` indices: first, last, and others spread unevenly between them."""
    spread = np.linspace(0, 1, min(frames, total)) ** 1.1 * (total - 1)
    return sorted({int(index) for index in spread})


def decode_with_ffmpeg(path: Path) -> Iterator[Image]:
    """Yield every frame of the ffmpeg program's full decode, as RGB."""
    first = next(decode_all(path))
    height, width, _ = Converter().convert(first).shape
    with av.open(str(path)) as container:
        number = container.streams.best("video").index
    output = ["-map", f"0:{number}", "-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", "-nostdin", "-threads", "1", "-i", str(path), *output]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        while len(data := program.stdout.read(width * height * 3)) == width * height * 3:
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)


def shrink(image: Any) -> Image:
    """Return the image at the size at which frames are compared."""
    small: Image = cv2.resize(np.ascontiguousarray(image), THUMBNAIL_SIZE, interpolation=cv2.INTER_AREA)
    return small


def measure_distance(image: Image, other: Image) -> float:
    """Return the mean difference of two images of the same size, in levels of 255."""
    return float(np.abs(image.astype(np.int16) - other).mean())


def _compute_seconds(path: Path, times: list[Any], chosen: list[int]) -> list[float]:
    """Return times of frames since the first one, from their pts, or from the stream's rate if any pts is missing."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        rate = stream.guessed_rate or stream.average_rate or 25
    stated = sorted(time for time in times if time is not None)
    if len(stated) < len(times):
        return [float(index / rate) for index in chosen]
    return [float(stated[index] - stated[0]) for index in chosen]
