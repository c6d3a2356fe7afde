"""Frames of every kind of video file equal those of a full decode."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.engine.contract.errors import BadInput
from tasks.media.kinds import HEAD_BYTES, VIDEO_SUFFIXES, is_video
from tasks.media.reading import VideoReader

from .test_identity import Reference, check

_PAL = ("-s", "720x576", "-frames:v", "4")
_CIF = ("-s", "176x144")
# By suffix: options of ffmpeg for a file of that kind.
FILES: dict[str, tuple[str, ...]] = {
    ".264": ("-c:v", "libx264", "-f", "h264"),
    ".265": ("-c:v", "libx265", "-x265-params", "log-level=none", "-f", "hevc"),
    ".3g2": (*_CIF, "-c:v", "h263", "-f", "3g2"),
    ".3gp": (*_CIF, "-c:v", "h263", "-f", "3gp"),
    ".asf": ("-c:v", "wmv2", "-f", "asf"),
    ".divx": ("-c:v", "mpeg4", "-f", "avi"),
    ".dv": (*_PAL, "-pix_fmt", "yuv420p", "-c:v", "dvvideo", "-f", "dv"),
    ".f4v": ("-c:v", "libx264", "-f", "f4v"),
    ".flv": ("-c:v", "flv1", "-f", "flv"),
    ".gif": ("-f", "gif"),
    ".gxf": (*_PAL, "-c:v", "mpeg2video", "-pix_fmt", "yuv422p", "-b:v", "20M", "-f", "gxf"),
    ".ivf": ("-c:v", "libvpx", "-f", "ivf"),
    ".m1v": ("-c:v", "mpeg1video", "-f", "mpeg1video"),
    ".m2t": ("-c:v", "mpeg2video", "-f", "mpegts"),
    ".m2ts": ("-c:v", "libx264", "-f", "mpegts", "-mpegts_m2ts_mode", "1"),
    ".m2v": ("-c:v", "mpeg2video", "-f", "mpeg2video"),
    ".m4v": ("-c:v", "mpeg4", "-f", "m4v"),
    ".mjpeg": ("-c:v", "mjpeg", "-f", "mjpeg"),
    ".mod": ("-c:v", "mpeg2video", "-f", "vob"),
    ".mxf": ("-c:v", "mpeg2video", "-f", "mxf"),
    ".nut": ("-c:v", "mpeg4", "-f", "nut"),
    ".obu": ("-c:v", "libsvtav1", "-f", "obu"),
    ".ogm": ("-c:v", "libtheora", "-f", "ogg"),
    ".qt": ("-c:v", "qtrle", "-f", "mov"),
    ".rm": (*_CIF, "-c:v", "rv20", "-f", "rm"),
    ".swf": ("-c:v", "flv1", "-f", "swf"),
    ".tod": ("-c:v", "mpeg2video", "-f", "mpegts"),
    ".vro": ("-c:v", "mpeg2video", "-f", "dvd"),
    ".webm": ("-c:v", "libvpx", "-f", "webm"),
    ".wtv": ("-c:v", "mpeg2video", "-f", "wtv"),
    ".y4m": ("-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe"),
}
_SOURCE = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=25:duration=0.8")


@pytest.fixture
def make_file(ffmpeg: Callable[..., bytes], tmp_path: Path) -> Callable[[str], Path]:
    def make(suffix: str) -> Path:
        path = tmp_path / f"a{suffix}"
        ffmpeg(*_SOURCE, *FILES[suffix], str(path))
        return path

    return make


@pytest.mark.parametrize("suffix", FILES)
def test_every_kind_of_file_equals_a_full_decode(
    suffix: str, make_file: Callable[[str], Path], reference: Reference
) -> None:
    check(make_file(suffix), reference)


@pytest.mark.parametrize(
    "suffix", [".dv", ".m2t", ".m2ts", ".mod", ".rm", ".gif", ".webm", ".wtv", ".qt", ".ivf", ".264"]
)
def test_videos_are_recognized_by_content(suffix: str, make_file: Callable[[str], Path]) -> None:
    assert is_video(make_file(suffix).read_bytes()[:HEAD_BYTES])


def test_only_mod_files_need_their_content() -> None:
    """Its suffix is shared with other kinds of files."""
    assert FILES.keys() - VIDEO_SUFFIXES == {".mod"}


@pytest.mark.parametrize("suffix", [".rm", ".swf", ".wtv", ".gxf", ".obu", ".mjpeg"])
def test_first_300_bytes_are_rejected_or_read_in_part(suffix: str, make_file: Callable[[str], Path]) -> None:
    path = make_file(suffix)
    path.write_bytes(path.read_bytes()[:300])
    with contextlib.suppress(BadInput), VideoReader(path) as reader:
        assert len(reader.timeline) < 20
