"""Write frames of videos as JPEG: ``python -m deployments.web.children.frames FOLDER COUNT VIDEO...``.

Writes COUNT frames of each video at the same times, evenly spread: ``FOLDER/N-V.jpg``, where V is the video's number.
Prints the times.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deployments.web.children.program import run_program

_MEMORY_BYTES, _CPU_SECONDS = 4 << 30, 1200
_MAX_SIDE, _QUALITY = 1920, 90


def write_frames(folder: str, count: str, *videos: str) -> list[float]:
    """Write the frames; return their times in seconds. Raises BadInput if a video cannot be read."""
    from contextlib import ExitStack

    from tasks.media.reading import VideoReader

    with ExitStack() as stack:
        readers = [stack.enter_context(VideoReader(Path(video))) for video in videos]
        seconds = min(reader.timeline.duration_seconds for reader in readers)
        times = [seconds * (2 * number + 1) / (2 * int(count)) for number in range(int(count))]
        for number, reader in enumerate(readers):
            _write_video(Path(folder), reader, number, times)
    return times


def _write_video(folder: Path, reader: object, number: int, times: list[float]) -> None:
    from tasks.media.reading import FrameImage, VideoReader

    assert isinstance(reader, VideoReader)
    indices = [reader.timeline.index_at(time) or 0 for time in times]
    for image in reader.read_frames_or_damage(indices):
        for place in (place for place, index in enumerate(indices) if index == image.frame_index):
            if isinstance(image, FrameImage):
                write_image(folder / f"{place}-{number}.jpg", image.image)


def write_image(path: Path, image: object) -> None:
    """Write an image (BGR) as JPEG, at most 1920 pixels wide or high."""
    import cv2
    import numpy as np

    pixels = np.asarray(image)
    scale = _MAX_SIDE / max(pixels.shape[:2])
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    path.write_bytes(bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]))


if __name__ == "__main__":
    raise SystemExit(run_program(write_frames, sys.argv[1:], _MEMORY_BYTES, _CPU_SECONDS))
