"""An external ffmpeg that is fed frames through a pipe is as exact as PyAV."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from tasks.media.segments.codecs import Codec
from tasks.media.segments.source import survey_video

from .conftest import decoded
from .workshop import LOSSLESS, QUICK, work_on


@pytest.mark.parametrize(
    "name",
    ["vfr.mp4", "sound.ts", "ten-bit-hevc.mp4", "ntsc-dv-like.avi", "sound.avi", "mpeg2-interlaced.ts"],
)
def test_piped_segments_equal_the_source(name: str, kind: Callable[[str], Path], tmp_path: Path) -> None:
    source = kind(name)
    work = work_on(source, tmp_path, 3, LOSSLESS)
    joined, report = work.join([work.pipe(segment) for segment in work.segments], ".mp4")
    assert [digest for _, digest in decoded(joined.path)] == [digest for _, digest in decoded(source)]
    assert report.late_seconds < 1e-9


@pytest.mark.parametrize("name", ["wide-pixels.mp4", "sound.mp4", "bob.mp4", "sound.avi"])
def test_piped_frames_keep_their_metadata(name: str, kind: Callable[[str], Path], tmp_path: Path) -> None:
    """Field order, colour, range and sample aspect, which the pipe itself does not hold."""
    work = work_on(kind(name), tmp_path, 2, QUICK["x264"])
    joined, _ = work.join([work.pipe(segment) for segment in work.segments], ".mov")
    before, after = work.found.picture, survey_video(joined.path).picture
    assert after == dataclasses.replace(before, field_order=before.field_order or "progressive")


@pytest.mark.parametrize("codec", QUICK)
def test_headers_do_not_depend_on_content(codec: Codec, kind: Callable[[str], Path], tmp_path: Path) -> None:
    work = work_on(kind("vfr.mkv"), tmp_path, 3, QUICK[codec])
    joined, report = work.join([work.pipe(segment) for segment in work.segments])
    assert report.frames == 29
    with av.open(str(joined.path)) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    assert times == work.clock.pts.tolist()


@pytest.mark.parametrize("codec", QUICK)
def test_headers_contain_the_frame_rate(codec: Codec, kind: Callable[[str], Path], tmp_path: Path) -> None:
    """Matroska without a rate of its own believes them."""
    work = work_on(kind("ntsc.mp4"), tmp_path, 2, QUICK[codec])
    for encode in (work.encode, work.pipe):
        joined, _ = work.join([encode(segment) for segment in work.segments], ".mkv")
        with av.open(str(joined.path)) as container:
            assert container.streams.video[0].average_rate == pytest.approx(30_000 / 1001, rel=0.01)


@pytest.mark.parametrize("name", ["bob.mp4", "vfr.mp4"])
def test_bobbed_segments_equal_the_bobbed_video(name: str, kind: Callable[[str], Path], tmp_path: Path) -> None:
    """The deinterlacer looks at the frames before and after: context makes the cuts invisible."""
    whole = work_on(kind(name), tmp_path / "one", 1, LOSSLESS, 2, field_order="progressive")
    cut = work_on(kind(name), tmp_path / "three", 3, LOSSLESS, 2, field_order="progressive")
    videos = []
    for work in (whole, cut):
        work.folder.mkdir()
        reports = [work.pipe(segment, "bwdif=mode=send_field:parity=tff") for segment in work.segments]
        joined, _ = work.join(reports, ".mp4")
        videos.append(decoded(joined.path))
    assert videos[0] == videos[1]
    assert len(videos[0]) == 2 * len(decoded(kind(name)))
    assert [pts for pts, _ in videos[1]] == cut.clock.pts.tolist()
