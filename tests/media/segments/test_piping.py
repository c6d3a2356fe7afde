"""Test that an external ffmpeg that reads frames from a pipe is as exact as PyAV."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from tasks.media.segments.codecs import Codec
from tasks.media.segments.source import survey_video

from .conftest import decode_video
from .pipeline import LOSSLESS, QUICK, make_pipeline


@pytest.mark.parametrize(
    "name",
    ["vfr.mp4", "sound.ts", "ten-bit-hevc.mp4", "ntsc-dv-like.avi", "sound.avi", "mpeg2-interlaced.ts"],
)
def test_piped_segments_equal_the_source(name: str, make_video: Callable[[str], Path], tmp_path: Path) -> None:
    source = make_video(name)
    pipeline = make_pipeline(source, tmp_path, 3, LOSSLESS)
    joined, report = pipeline.join([pipeline.pipe(segment) for segment in pipeline.segments], ".mp4")
    assert [digest for _, digest in decode_video(joined.path)] == [digest for _, digest in decode_video(source)]
    assert report.late_seconds < 1e-9


@pytest.mark.parametrize("name", ["wide-pixels.mp4", "sound.mp4", "bob.mp4", "sound.avi"])
def test_piped_frames_keep_their_metadata(name: str, make_video: Callable[[str], Path], tmp_path: Path) -> None:
    """Compare field order, color, range and sample aspect, which the pipe does not carry."""
    pipeline = make_pipeline(make_video(name), tmp_path, 2, QUICK["x264"])
    joined, _ = pipeline.join([pipeline.pipe(segment) for segment in pipeline.segments], ".mov")
    before, after = pipeline.survey.picture, survey_video(joined.path).picture
    assert after == dataclasses.replace(before, field_order=before.field_order or "progressive")


@pytest.mark.parametrize("codec", QUICK)
def test_headers_do_not_depend_on_content(codec: Codec, make_video: Callable[[str], Path], tmp_path: Path) -> None:
    pipeline = make_pipeline(make_video("vfr.mkv"), tmp_path, 3, QUICK[codec])
    joined, report = pipeline.join([pipeline.pipe(segment) for segment in pipeline.segments])
    assert report.frames == 29
    with av.open(str(joined.path)) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    assert times == pipeline.clock.pts.tolist()


@pytest.mark.parametrize("codec", QUICK)
def test_headers_contain_the_frame_rate(codec: Codec, make_video: Callable[[str], Path], tmp_path: Path) -> None:
    """Read the rate in Matroska, which without its own uses the one in the headers."""
    pipeline = make_pipeline(make_video("ntsc.mp4"), tmp_path, 2, QUICK[codec])
    for encode in (pipeline.encode, pipeline.pipe):
        joined, _ = pipeline.join([encode(segment) for segment in pipeline.segments], ".mkv")
        with av.open(str(joined.path)) as container:
            assert container.streams.video[0].average_rate == pytest.approx(30_000 / 1001, rel=0.01)


@pytest.mark.parametrize("name", ["bob.mp4", "vfr.mp4"])
def test_bobbed_segments_equal_the_bobbed_video(name: str, make_video: Callable[[str], Path], tmp_path: Path) -> None:
    """Deinterlace with context frames, so that cuts are invisible."""
    whole = make_pipeline(make_video(name), tmp_path / "one", 1, LOSSLESS, 2, field_order="progressive")
    cut = make_pipeline(make_video(name), tmp_path / "three", 3, LOSSLESS, 2, field_order="progressive")
    videos = []
    for pipeline in (whole, cut):
        pipeline.folder.mkdir()
        reports = [pipeline.pipe(segment, "bwdif=mode=send_field:parity=tff") for segment in pipeline.segments]
        joined, _ = pipeline.join(reports, ".mp4")
        videos.append(decode_video(joined.path))
    assert videos[0] == videos[1]
    assert len(videos[0]) == 2 * len(decode_video(make_video(name)))
    assert [pts for pts, _ in videos[1]] == cut.clock.pts.tolist()
