"""Truncated files of every container are detected and read; complete files are not reported as truncated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tasks.media.reading import VideoReader
from tasks.media.truncation import count_certain_frames

from .conftest import DEFECTS, SOURCE, digest

Reference = Callable[[Path], list[tuple[int | None, str]]]
X264 = "-c:v libx264 -g 15 -sc_threshold 0"
# File name -> ffmpeg's arguments, in addition to DEFECTS.
OTHERS = {
    "h264.flv": f"{SOURCE} {X264}",
    "sorenson.flv": f"{SOURCE} -c:v flv -g 15",
    "h264.m2ts": f"{SOURCE} {X264} -mpegts_m2ts_mode 1",
    "mpeg4.avi": f"{SOURCE} -c:v mpeg4 -g 15",
    "wmv2.wmv": f"{SOURCE} -c:v wmv2 -g 15",
    "mpeg2.mxf": f"{SOURCE} -c:v mpeg2video -g 15 -bf 2",
    "theora.ogv": f"{SOURCE} -c:v libtheora -g 15",
    "vp9.ivf": f"{SOURCE} -c:v libvpx-vp9 -g 15 -cpu-used 8 -b:v 300k",
    "live.webm": f"{SOURCE} -c:v libvpx -g 15 -cpu-used 8 -b:v 300k -live 1",
    "animation.gif": f"{SOURCE} -t 1",
    "raw.y4m": f"{SOURCE} -t 0.4 -pix_fmt yuv420p",
}
WHOLE = sorted({*DEFECTS, *OTHERS})
# One of each container and each order of frames. Their encoders are quick.
TRUNCATED = ["plain.mp4", "fragmented.mp4", "open-gop-h264.mp4", "vfr.mkv", "hidden-frames.webm", "plain.ts"]
TRUNCATED += ["open-gop-hevc.ts", "mpeg2-b-frames.mpg", "mpeg4-b-frames.avi", "h264-without-times.avi", *OTHERS]


@pytest.fixture
def video(
    defect: Callable[[str], Path], ffmpeg: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        if name in DEFECTS:
            return defect(name)
        path = tmp_path_factory.getbasetemp() / f"truncation-{name}"
        if not path.exists():
            ffmpeg(*OTHERS[name].split(), str(path))
        return path

    return make


@pytest.mark.parametrize("name", WHOLE)
def test_whole_file_is_not_truncated(name: str, video: Callable[[str], Path]) -> None:
    with VideoReader(video(name)) as reader:
        assert reader.truncation is None


@pytest.mark.parametrize("name", TRUNCATED)
def test_truncated_file_gives_its_frames_and_is_reported(
    name: str, video: Callable[[str], Path], reference: Reference, ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    """Check index, time and pixels of every frame."""
    whole = video(name)
    if name.endswith(".mp4") and name != "fragmented.mp4":
        whole = tmp_path / f"front-{name}"
        ffmpeg("-i", str(video(name)), "-c", "copy", "-movflags", "+faststart", str(whole))
    data = whole.read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: len(data) * 6 // 10 + 1])
    right = [picture for _, picture in reference(whole)]
    with VideoReader(whole) as reader:
        seconds = [reader.timeline.seconds(index) for index in range(len(reader.timeline))]
        duration = reader.timeline.duration_seconds
    with VideoReader(path) as reader:
        assert reader.truncation is not None
        assert reader.truncation.stated_seconds is None or abs(reader.truncation.stated_seconds - duration) < 0.1
        frames = [
            (digest(frame.image), frame.actual_seconds) for frame in reader.read_frames(range(len(reader.timeline)))
        ]
    assert 3 <= len(frames) < 0.85 * len(right)
    assert frames == list(zip(right, seconds, strict=True))[: len(frames)]


def test_frame_after_a_possible_missing_frame_is_left_out() -> None:
    """Frame 4 was decoded, but frames 3 to 1 after it were not: it would get index 1."""
    assert count_certain_frames(np.array([0, 4]), last_dts=0, frame_ticks=1) == 1
    assert count_certain_frames(np.array([0, 1, 2, 3, 7]), last_dts=None, frame_ticks=1) == 4
    assert count_certain_frames(np.array([0, 1, 2, 3, 7]), last_dts=2, frame_ticks=1) == 4


def test_frames_without_large_gaps_are_kept() -> None:
    assert count_certain_frames(np.array([0, 40, 80, 120]), last_dts=40, frame_ticks=40) == 4
    assert count_certain_frames(np.array([0, 33, 67, 100]), last_dts=None, frame_ticks=33) == 4


def test_variable_rate_keeps_frames_up_to_the_last_decoding_time() -> None:
    assert count_certain_frames(np.array([0, 40, 200, 320, 440]), last_dts=200, frame_ticks=60) == 3
