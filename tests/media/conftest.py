"""Fixtures for tests of video reading.

ffmpeg      runs the shipped ffmpeg with the given arguments
defect      creates a video of DEFECTS by its name, once per session
reference   returns digests of the frames of a video from a plain full decode
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest

from tasks.media.orientation import Converter

SOURCE = "-f lavfi -i testsrc2=s=320x180:r=25:d=2,noise=alls=20:allf=t"
UNEVEN = r"-vf select=not(mod(n\,3))+lt(mod(n\,40)\,9) -fps_mode vfr"
X264_OPEN = "-c:v libx264 -g 15 -x264-params open-gop=1:bframes=3:scenecut=0"
X265_OPEN = "-c:v libx265 -g 15 -x265-params log-level=error:open-gop=1:bframes=3:scenecut=0"

# File name -> ffmpeg's arguments. {name} is replaced by the path of another file of this table.
DEFECTS = {
    "plain.mp4": f"{SOURCE} -c:v libx264 -g 15 -sc_threshold 0",
    "plain.ts": f"{SOURCE} -c:v libx264 -g 15 -sc_threshold 0",
    "fragmented.mp4": "-i {plain.mp4} -c copy -movflags frag_keyframe+empty_moov",
    "vfr.mp4": f"{SOURCE} {UNEVEN} -c:v libx264 -g 15 -sc_threshold 0",
    "vfr.mkv": f"{SOURCE} {UNEVEN} -c:v libx264 -g 15 -sc_threshold 0",
    "edit-list.mp4": "-ss 0.9 -i {open-gop-h264.mp4} -c copy",
    "non-zero-start.mkv": "-itsoffset 7 -i {plain.ts} -c copy -copyts",
    "open-gop-h264.mp4": f"{SOURCE} {X264_OPEN}",
    "open-gop-h264.ts": f"{SOURCE} {X264_OPEN}",
    "open-gop-hevc.mp4": f"{SOURCE} {X265_OPEN}",
    "open-gop-hevc.ts": f"{SOURCE} {X265_OPEN}",
    "temporal-layers.mp4": f"{SOURCE} -c:v libx265 -g 15 -x265-params log-level=error:temporal-layers=3",
    "intra-refresh.mp4": f"{SOURCE} -c:v libx264 -g 15 -x264-params intra-refresh=1:bframes=0",
    "cut-in-open-gop.ts": "-ss 0.9 -i {open-gop-h264.ts} -c copy",
    "mpeg2-b-frames.mpg": f"{SOURCE} -c:v mpeg2video -g 15 -bf 2",
    "mpeg2-without-b-frames.mpg": f"{SOURCE} -c:v mpeg2video -g 15 -bf 0",
    "mpeg2-interlaced.ts": f"{SOURCE} -c:v mpeg2video -g 15 -bf 2 -flags +ildct+ilme",
    "mpeg4-b-frames.avi": f"{SOURCE} -c:v mpeg4 -g 15 -bf 2",
    "h264-without-times.avi": f"{SOURCE} -c:v libx264 -g 15 -sc_threshold 0",
    "no-container.h264": f"{SOURCE} -c:v libx264 -g 15 -sc_threshold 0",
    "hidden-frames.webm": f"{SOURCE} -c:v libvpx -auto-alt-ref 1 -lag-in-frames 16 -b:v 500k -cpu-used 8",
    "superframes.webm": f"{SOURCE} -c:v libvpx-vp9 -auto-alt-ref 1 -lag-in-frames 16 -b:v 300k -g 40 -cpu-used 8",
    "all-keyframes.avi": f"{SOURCE} -c:v mjpeg",
    "odd-size.mp4": f"{SOURCE} -vf scale=321:181 -pix_fmt yuv444p -c:v libx264",
    "ten-bit-full-range.mkv": f"{SOURCE} -pix_fmt yuv420p10le -color_range pc -c:v libx264",
    "two-in-one.ts": "",  # plain.ts twice: the times restart in the middle
}


def run_ffmpeg(*arguments: str) -> bytes:
    """Run the shipped ffmpeg and return its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., bytes]:
    return run_ffmpeg


@pytest.fixture(scope="session")
def defect(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("defects")

    def make(name: str) -> Path:
        path = folder / name
        if path.exists():
            return path
        if name == "two-in-one.ts":
            path.write_bytes(make("plain.ts").read_bytes() * 2)
            return path
        words = DEFECTS[name].split()
        run_ffmpeg(*(str(make(word[1:-1])) if word.startswith("{") else word for word in words), str(path))
        return path

    return make


def digest(image: npt.NDArray[np.uint8]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest()


def hash_frame(frame: av.VideoFrame) -> str:
    return digest(Converter().convert(frame))


@pytest.fixture(scope="session")
def reference() -> Callable[..., list[tuple[int | None, str]]]:
    """Return a function that gives (pts, image digest) of each frame in the order of a full decode on one thread.

    To save time in long videos, only each ``step``-th frame has a digest.
    """
    cache: dict[Path, list[tuple[int | None, str]]] = {}

    def decode(path: Path, step: int = 1) -> list[tuple[int | None, str]]:
        if path not in cache:
            with av.open(str(path)) as container:
                stream = container.streams.best("video")
                stream.thread_type = "NONE"
                frames = enumerate(container.decode(stream))
                cache[path] = [(frame.pts, "" if index % step else hash_frame(frame)) for index, frame in frames]
        return cache[path]

    return decode
