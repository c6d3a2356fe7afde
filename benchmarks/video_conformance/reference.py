"""Full decodes to compare with: PyAV's, checked against the ffmpeg program's."""

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
# Frames are compared in this size.
THUMB = (88, 72)
# Converting colors another way may change an image by this much, in levels of 255 on average. Other frames differ more.
TOLERANCE = 12.0


@dataclass(frozen=True)
class Reference:
    """The frames of a video, as a full decode from its first packet to its last gives them.

    thumbs       RGB, one per frame, of size THUMB
    images       RGB in full, for the frames at ``chosen``
    chosen       indices of the frames that the readers are asked for
    seconds      for each of ``chosen``: when it is shown, since the first frame
    same         the ffmpeg program gives as many frames, and they look like PyAV's
    """

    thumbs: list[Image]
    images: dict[int, Image]
    chosen: list[int]
    seconds: list[float]
    same: bool


def decode_all(path: Path) -> Iterator[Any]:
    """Yield every frame of a video on one thread, with nothing skipped and no seek."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.thread_type = "NONE"
        for packet in container.demux(stream):
            with suppress(av.error.InvalidDataError, EOFError):
                yield from packet.decode()


def read_reference(path: Path, frames: int) -> Reference:
    """Decode all of ``path`` twice and choose ``frames`` of its frames."""
    total = sum(1 for _ in decode_all(path))
    chosen = choose(total, frames)
    converter = Converter()
    program = ffmpeg_frames(path)
    thumbs, images, times, same = [], {}, [], True
    for index, frame in enumerate(decode_all(path)):
        image = converter.convert(frame)[..., ::-1]
        times.append(None if frame.pts is None else frame.pts * frame.time_base)
        thumbs.append(shrink(image))
        other = next(program, None)
        same &= other is not None and distance(thumbs[-1], shrink(other)) < TOLERANCE
        if index in chosen:
            images[index] = np.ascontiguousarray(image)
    same &= next(program, None) is None
    return Reference(thumbs, images, chosen, _seconds(path, times, chosen), same)


def choose(total: int, frames: int) -> list[int]:
    """Return ``frames`` indices: the ends, and others spread unevenly between them."""
    spread = np.linspace(0, 1, min(frames, total)) ** 1.1 * (total - 1)
    return sorted({int(index) for index in spread})


def ffmpeg_frames(path: Path) -> Iterator[Image]:
    """Yield every frame that the ffmpeg program gives, as RGB."""
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
    """Return the image in the size in which frames are compared."""
    small: Image = cv2.resize(np.ascontiguousarray(image), THUMB, interpolation=cv2.INTER_AREA)
    return small


def distance(one: Image, other: Image) -> float:
    """Return the mean difference of two images of one size, in levels of 255."""
    return float(np.abs(one.astype(np.int16) - other).mean())


def _seconds(path: Path, times: list[Any], chosen: list[int]) -> list[float]:
    """When the frames are shown since the first one: by their times, or by the stream's rate if there are none."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        rate = stream.guessed_rate or stream.average_rate or 25
    known = sorted(time for time in times if time is not None)
    if len(known) < len(times):
        return [float(index / rate) for index in chosen]
    return [float(known[index] - known[0]) for index in chosen]
