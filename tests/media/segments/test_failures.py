"""Test that every known failure of segments is detected, with a message that locates it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tasks.engine.contract.errors import BadInput
from tasks.media.segments.clock import build_clock
from tasks.media.segments.containers import choose_container
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.joining import join_segments
from tasks.media.segments.piping import FramePipe, pipe_command
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.settings import EncoderSettings, get_encoder_options
from tasks.media.segments.verify import SegmentReport, verify_joined, verify_segment
from tasks.media.timeline import Timeline

from .pipeline import LOSSLESS, QUICK, Pipeline, make_pipeline

MakeVideo = Callable[[str], Path]
RunFFmpeg = Callable[..., bytes]


@pytest.fixture
def encoded(make_video: MakeVideo, tmp_path: Path) -> tuple[Pipeline, list[SegmentReport]]:
    """Return a video in three encoded segments, and their reports."""
    pipeline = make_pipeline(make_video("sound.mp4"), tmp_path, 3, QUICK["x264"])
    return pipeline, [pipeline.encode(segment) for segment in pipeline.segments]


def rewrite(path: Path, ffmpeg: RunFFmpeg, *arguments: str) -> None:
    """Rewrite ``path`` by ffmpeg with these arguments."""
    before = path.with_suffix(".before.mp4")
    path.rename(before)
    ffmpeg("-i", str(before), *arguments, str(path))


def test_missing_segment_is_an_error(encoded: tuple[Pipeline, list[SegmentReport]]) -> None:
    pipeline, _ = encoded
    pipeline.files[1].unlink()
    with pytest.raises(SegmentError, match=r"segment sound\.mp4\.1\.mp4: no such file"):
        join_segments(pipeline.plan, pipeline.folder / "out.mp4")


def test_omitted_segment_is_an_error(encoded: tuple[Pipeline, list[SegmentReport]]) -> None:
    pipeline, _ = encoded
    first, _, last = pipeline.segments
    without = dataclasses.replace(pipeline.plan, files=pipeline.files[::2], segments=(first, last))
    with pytest.raises(SegmentError, match=r"2\.mp4: starts with frame 26 instead of 13"):
        join_segments(without, pipeline.folder / "out.mp4")
    with pytest.raises(SegmentError, match="the segments end at frame 26 of 40"):
        join_segments(
            dataclasses.replace(pipeline.plan, files=pipeline.files[:2], segments=pipeline.segments[:2]),
            pipeline.folder / "out.mp4",
        )


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_segment_is_an_error(share: float, encoded: tuple[Pipeline, list[SegmentReport]]) -> None:
    pipeline, _ = encoded
    data = pipeline.files[1].read_bytes()
    pipeline.files[1].write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SegmentError, match=r"segment sound\.mp4\.1\.mp4: is "):
        verify_segment(pipeline.files[1], pipeline.get_clock(pipeline.segments[1]))
    with pytest.raises(SegmentError, match=r"segment sound\.mp4\.1\.mp4: is "):
        join_segments(pipeline.plan, pipeline.folder / "out.mp4")


def test_segment_of_a_killed_encoder_is_an_error(make_video: MakeVideo, tmp_path: Path) -> None:
    pipeline = make_pipeline(make_video("sound.mp4"), tmp_path, 3, QUICK["x264"])

    def interrupt(index: int, frame: av.VideoFrame) -> list[av.VideoFrame]:
        if index == 20:
            raise KeyboardInterrupt
        return [frame]

    with pytest.raises(KeyboardInterrupt):
        pipeline.encode(pipeline.segments[1], interrupt)
    with pytest.raises(SegmentError, match=r"1\.mp4: has \d+ frames instead of 13"):
        verify_segment(pipeline.files[1], pipeline.get_clock(pipeline.segments[1]))


def test_lost_or_duplicate_frames_are_detected(make_video: MakeVideo, tmp_path: Path) -> None:
    pipeline = make_pipeline(make_video("sound.mp4"), tmp_path, 3, QUICK["x264"])
    with pytest.raises(SegmentError, match=r"1\.mp4: got 12 frames instead of 13"):
        pipeline.encode(pipeline.segments[1], lambda index, frame: [] if index == 20 else [frame])
    with pytest.raises(SegmentError, match=r"1\.mp4: got more than its 13 frames"):
        pipeline.encode(pipeline.segments[1], lambda index, frame: [frame, frame] if index == 20 else [frame])


def test_segment_with_wrong_frames_is_detected(encoded: tuple[Pipeline, list[SegmentReport]]) -> None:
    pipeline, reports = encoded
    shutil.copy(pipeline.files[0], pipeline.files[1])  # the same number of frames, at the same times
    joined = join_segments(pipeline.plan, pipeline.folder / "out.mp4")
    with pytest.raises(SegmentError, match=r"out\.mp4: frame 13 differs from that of its segment"):
        verify_joined(joined, pipeline.plan, reports)


def test_forced_constant_frame_rate_is_detected(make_video: MakeVideo, ffmpeg: RunFFmpeg, tmp_path: Path) -> None:
    pipeline = make_pipeline(make_video("vfr.mp4"), tmp_path, 2, QUICK["x264"])
    for segment in pipeline.segments:
        pipeline.encode(segment)
    rate = str(pipeline.clock.rate)
    rewrite(pipeline.files[0], ffmpeg, "-vf", f"setpts=N/({rate})/TB", "-fps_mode", "passthrough", "-c:v", "libx264")
    with pytest.raises(SegmentError, match=r"0\.mp4: frame \d+ is shown at .* s instead of "):
        join_segments(pipeline.plan, pipeline.folder / "out.mp4")


def test_segments_with_different_settings_are_detected(encoded: tuple[Pipeline, list[SegmentReport]]) -> None:
    pipeline, _ = encoded
    other = EncoderSettings("x264", crf=20, preset="medium", gop_frames=9)
    dataclasses.replace(pipeline, settings=other).encode(pipeline.segments[2])
    with pytest.raises(SegmentError, match=r"2\.mp4: has other parameter_sets as .*0\.mp4; encode all segments with"):
        join_segments(pipeline.plan, pipeline.folder / "out.mp4")
    dataclasses.replace(pipeline, settings=QUICK["x265"]).encode(pipeline.segments[2])
    with pytest.raises(SegmentError, match=r"2\.mp4: has codec hevc and not h264 as "):
        join_segments(pipeline.plan, pipeline.folder / "out.mp4")


def test_segment_without_initial_keyframe_is_an_error(
    encoded: tuple[Pipeline, list[SegmentReport]], ffmpeg: RunFFmpeg
) -> None:
    pipeline, _ = encoded
    rewrite(pipeline.files[0], ffmpeg, "-c", "copy", "-bsf:v", "noise=drop=lt(n\\,1)")
    with pytest.raises(SegmentError, match=r"0\.mp4: "):
        verify_segment(pipeline.files[0], pipeline.get_clock(pipeline.segments[0]))


def test_replaced_source_is_an_error(encoded: tuple[Pipeline, list[SegmentReport]], tmp_path: Path) -> None:
    pipeline, _ = encoded
    other = tmp_path / "other.mp4"
    other.write_bytes(pipeline.source.read_bytes() + b"\0")
    with pytest.raises(BadInput, match="has changed since"):
        join_segments(dataclasses.replace(pipeline.plan, source=other), pipeline.folder / "out.mp4")


def test_unknown_extension_is_an_error(encoded: tuple[Pipeline, list[SegmentReport]]) -> None:
    pipeline, _ = encoded
    with pytest.raises(ValueError, match=r"is one of \.mp4, \.mov, \.mkv, \.webm"):
        join_segments(pipeline.plan, pipeline.folder / "out.avi")


# Name -> ffmpeg arguments that modify the joined video, and the expected message.
ALTERED = {
    "lost frame": ("-c copy -bsf:v noise=drop=eq(n\\,39)", r"has 39 frames instead of 40"),
    "late audio": ("-itsoffset 0.04 -i {joined} -map 0:v -map 1:a -c copy", r"stream 1, audio .* \+0\.04.* s away"),
    "lost audio packet": ("-c copy -bsf:a noise=drop=eq(n\\,7)", r"stream 1, audio \(aac\): packet 7 of 81"),
    "re-encoded audio": ("-c:v copy -c:a aac -b:a 64k", r"stream 1, audio \(aac\): packet \d+ of 81 differs"),
    "constant rate": ("-c:v libx264 -r 24 -c:a copy", r"frame 1 is shown at 0.041667 s instead of 0.04"),
    "late frame": ("-c copy -bsf:v setts=pts=PTS+eq(PTS\\,10240)*100:dts=DTS", r"frame 20 is shown at"),
    "hidden first frame": ("-c copy -bsf:v setts=ts=TS", r"frame 0 is not shown: an edit list"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_modified_joined_video_is_detected(
    name: str, encoded: tuple[Pipeline, list[SegmentReport]], ffmpeg: RunFFmpeg
) -> None:
    pipeline, reports = encoded
    joined, _ = pipeline.join(reports)
    arguments, message = ALTERED[name]
    altered = pipeline.folder / "altered.mp4"
    ffmpeg("-i", str(joined.path), *arguments.replace("{joined}", str(joined.path)).split(), str(altered))
    with pytest.raises(SegmentError, match=message):
        verify_joined(dataclasses.replace(joined, path=altered), pipeline.plan, reports)


def test_joined_video_with_wrong_frames_is_detected(encoded: tuple[Pipeline, list[SegmentReport]]) -> None:
    pipeline, reports = encoded
    joined, _ = pipeline.join(reports)
    wrong_reports = [dataclasses.replace(report, last_digest=reports[0].first_digest) for report in reports]
    with pytest.raises(SegmentError, match=r"frame 12 differs from that of its segment"):
        verify_joined(joined, pipeline.plan, wrong_reports)


def test_unsupported_pixel_format_is_an_error(make_video: MakeVideo, tmp_path: Path) -> None:
    pipeline = make_pipeline(make_video("ntsc-dv-like.avi"), tmp_path, 1, QUICK["x264"])
    with pytest.raises(ValueError, match="x264 takes no yuv411p; it takes yuv420p"):
        pipeline.encode(pipeline.segments[0])
    fields = make_pipeline(make_video("bob.mp4"), tmp_path, 1, QUICK["svtav1"])
    with pytest.raises(ValueError, match="svtav1 cannot keep fields; deinterlace"):
        fields.encode(fields.segments[0])


def test_frames_of_wrong_size_are_an_error(make_video: MakeVideo, tmp_path: Path) -> None:
    pipeline = make_pipeline(make_video("sound.mp4"), tmp_path, 1, LOSSLESS, width_px=96)
    with pytest.raises(SegmentError, match=r"frame 0 is 192x108 yuv420p, not 96x108 yuv420p"):
        pipeline.encode(pipeline.segments[0])


def test_additional_encoder_options_keep_the_headers(make_video: MakeVideo, tmp_path: Path) -> None:
    settings = dataclasses.replace(QUICK["x264"], options=(("x264-params", "aq-mode=0"),))
    pipeline = make_pipeline(make_video("sound.mp4"), tmp_path, 3, settings)
    assert "stitchable=1" in get_encoder_options(settings, pipeline.picture, pipeline.clock)["x264-params"]
    _, report = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments])
    assert report.frames == 40


def test_frames_of_wrong_format_are_not_piped(make_video: MakeVideo, tmp_path: Path) -> None:
    pipeline = make_pipeline(make_video("sound.mp4"), tmp_path, 2)
    other = make_pipeline(make_video("ten-bit-hevc.mp4"), tmp_path, 2)
    pipeline.survey = dataclasses.replace(other.survey, picture=pipeline.survey.picture)
    pipeline.source = other.source
    with pytest.raises(SegmentError, match="frame 0 for ffmpeg is 192x108 yuv422p10le, not 192x108 yuv420p"):
        pipeline.pipe(pipeline.segments[0])


def test_too_large_times_are_an_error() -> None:
    times = np.array([0, 2**62], dtype=np.int64)
    with pytest.raises(BadInput, match="are damaged"):
        build_clock(Timeline(times, times, 2**62 + 1, Fraction(1, 90_000)), 2)


def test_container_is_chosen_by_source_and_codec(make_video: MakeVideo) -> None:
    fitting = {
        ("sound.mp4", "x264"): ".mp4",
        ("sound.mp4", "ffv1"): ".mp4",
        ("sound.mkv", "x265"): ".mkv",
        ("sound.webm", "svtav1"): ".webm",
        ("sound.webm", "x264"): ".mkv",
        ("sound.ts", "x264"): ".mp4",
        ("sound.mpg", "ffv1"): ".mkv",
        ("sound.avi", "x264"): ".mov",  # raw samples
    }
    assert {key: choose_container(make_video(key[0]), key[1]).suffix for key in fitting} == fitting
    assert all(choose_container(make_video(name), codec).lost == () for name, codec in fitting)


def test_delay_of_half_a_frame_is_detected(make_video: MakeVideo, tmp_path: Path) -> None:
    """Accept a segment's times in Matroska's milliseconds, but no shift."""
    pipeline = make_pipeline(make_video("sound.mp4"), tmp_path, 1, QUICK["x264"])
    report = pipeline.encode(pipeline.segments[0])
    late = dataclasses.replace(pipeline.clock, pts=pipeline.clock.pts + np.arange(40) * 8)
    with pytest.raises(SegmentError, match=r"frame 33 is shown at 1\.32"):
        verify_segment(pipeline.files[0], late.part(0, 40))
    assert report.frames == 40


def test_failure_of_external_ffmpeg_is_reported(make_video: MakeVideo, tmp_path: Path) -> None:
    pipeline = make_pipeline(make_video("sound.mp4"), tmp_path, 2, QUICK["x264"])
    with pytest.raises(SegmentError, match=r"ffmpeg ended with exit status [1-9]"):
        pipeline.pipe(pipeline.segments[0], "nonsense")
    command = pipe_command("", "-", {"format": "null"})
    clock = pipeline.get_clock(pipeline.segments[0])
    with (
        pytest.raises(SegmentError, match="ffmpeg got 0 frames instead of 20"),
        FramePipe(command, pipeline.picture, clock, tmp_path / "log"),
    ):
        pass


def test_ffmpeg_process_ends_after_an_error(make_video: MakeVideo, tmp_path: Path) -> None:
    pipeline = make_pipeline(make_video("sound.mp4"), tmp_path, 2)
    command = pipe_command("", "-", {"format": "null"})
    pipe = FramePipe(command, pipeline.picture, pipeline.get_clock(pipeline.segments[0]), tmp_path / "log")
    with pytest.raises(KeyboardInterrupt), pipe:
        raise KeyboardInterrupt
    assert pipe._process.returncode is not None


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_error_of_the_source_hides_the_broken_pipe(share: float, make_video: MakeVideo, tmp_path: Path) -> None:
    """Raise the error of the reader while ffmpeg waits for data and the pipe is partly full."""
    data = bytearray(make_video("plain.ts").read_bytes())
    middle = int(len(data) * share) // 188 * 188 + 188 * 4
    data[middle + 40 : middle + 188] = bytes(148)
    source = tmp_path / "hurt.ts"
    source.write_bytes(data)
    pipeline = make_pipeline(source, tmp_path, 1)
    with pytest.raises(BadInput, match=r"hurt\.ts: frame \d+ at .* is damaged") as caught:
        pipeline.pipe(pipeline.segments[0])
    assert caught.value.__context__ is None


def test_tolerated_damage_is_in_the_report(make_video: MakeVideo, tmp_path: Path) -> None:
    data = bytearray(make_video("plain.ts").read_bytes())
    middle = len(data) // 2 // 188 * 188
    data[middle + 40 : middle + 188] = bytes(148)
    source = tmp_path / "hurt.ts"
    source.write_bytes(data)
    pipeline = make_pipeline(source, tmp_path, 3, tolerant=True)
    reports = [pipeline.encode(segment) for segment in pipeline.segments]
    with SegmentReader(source, pipeline.survey) as reader:
        list(reader.range(0, 50))
        counts = [report.damaged_frames for report in reports]
        assert sum(counts) == len(reader.damaged) > 5
    assert counts[0] == 0
    hurt = next(report for report in reports if report.damaged_frames)
    first = min(reader.damaged)
    assert hurt.damage[0] == f"frame {first}: {reader.damaged[first]}"
    assert len(hurt.damage) <= 5
    assert SegmentReport(**json.loads(json.dumps(dataclasses.asdict(hurt)))) == hurt


def test_full_disk_is_attributed_to_the_output(encoded: tuple[Pipeline, list[SegmentReport]]) -> None:
    pipeline, _ = encoded
    output = pipeline.folder / "full.mp4"
    output.symlink_to("/dev/full")
    with pytest.raises(SegmentError, match=r"full\.mp4: cannot be written: No space left on device"):
        join_segments(pipeline.plan, output)
