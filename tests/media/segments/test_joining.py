"""Test that a cut, encoded and joined video equals its source: frames, times and audio packets."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tasks.media.segments.codecs import Codec
from tasks.media.segments.copies import FrameCopier
from tasks.media.segments.joining import join_segments
from tasks.media.segments.settings import EncoderSettings, choose_lossless_settings
from tasks.media.segments.verify import ConversionReport, CopyReport, JoinedReport, verify_joined

from .conftest import KINDS, TRIED_DEFECTS
from .pipeline import LOSSLESS, QUICK, draw_barcode, make_pipeline, read_barcode

DecodeFrames = Callable[[Path], list[tuple[int | None, str]]]
COUNTS = itertools.cycle((2, 3, 7))
# Files without presentation times, or with equal ones; they get new times from 0.
TIMELESS = {"h264-without-times.avi", "two-in-one.ts"}
CREATED = ("-metadata", "creation_time=2001-02-03T04:05:06Z")


def decode_audio(path: Path) -> list[tuple[Any, bytes]]:
    """Return the start in seconds and all samples of each audio stream."""
    streams = []
    with av.open(str(path)) as container:
        indices = [stream.index for stream in container.streams.audio]
    for index in indices:
        with av.open(str(path)) as container:
            frames = list(container.decode(container.streams[index]))
            samples = b"".join(np.ascontiguousarray(frame.to_ndarray()).tobytes() for frame in frames)
            streams.append((frames[0].pts * frames[0].time_base, samples))
    return streams


def check(
    source: Path, folder: Path, count: int, decode_frames: DecodeFrames, settings: EncoderSettings = LOSSLESS
) -> None:
    pipeline = make_pipeline(source, folder, count, settings)
    joined, report = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments])
    expected, got = decode_frames(source), decode_frames(joined.path)
    assert [digest for _, digest in got] == [digest for _, digest in expected]
    assert report.frames == len(expected)
    before, after = decode_audio(source), decode_audio(joined.path)
    assert [samples for _, samples in after] == [samples for _, samples in before]
    assert report.moved_seconds == 0
    with av.open(str(joined.path)) as container:
        tick = float(container.streams[joined.video].time_base)
    allowed = 0.51 * tick if joined.path.suffix == ".mkv" else 0
    assert report.late_seconds <= allowed + 1e-9
    if source.name not in TIMELESS:
        due = [float(pts * pipeline.survey.timeline.time_base - joined.begin_seconds) for pts, _ in expected]
        times = [float(pts * Fraction(tick).limit_denominator(10**6)) for pts, _ in got]
        np.testing.assert_allclose(times, due, rtol=0, atol=allowed + 1e-9)


@pytest.mark.parametrize("name", KINDS)
def test_joined_video_equals_source_for_two_three_and_seven_segments(
    name: str, make_video: Callable[[str], Path], decode_frames: DecodeFrames, tmp_path: Path
) -> None:
    for count in (2, 3, 7):
        check(make_video(name), tmp_path, count, decode_frames)


@pytest.mark.parametrize(("name", "count"), list(zip(TRIED_DEFECTS, COUNTS, strict=False)))
def test_joined_special_videos_equal_their_sources(
    name: str, count: int, make_video: Callable[[str], Path], decode_frames: DecodeFrames, tmp_path: Path
) -> None:
    check(make_video(name), tmp_path, count, decode_frames)


@pytest.mark.parametrize(
    "name",
    [
        "av1_video.mkv",
        "discard_first_keyframe.mp4",
        "nasa_13013_rotated.mp4",
        "test_non_zero_start.mp4",
        "testsrc2_odd_height_and_width_mpeg2.mp4",
        "testsrc2_odd_height_and_width_vp9.mp4",
    ],
)
def test_real_videos(name: str, shared_data: Path, decode_frames: DecodeFrames, tmp_path: Path) -> None:
    check(shared_data / "video" / name, tmp_path, 3, decode_frames)


UNTOUCHED = "sound.ts open-gop-hevc-sound.mp4 vfr-sound.mp4 vfr-sound.mkv late-sound.mkv late-sound.mp4".split()


@pytest.mark.parametrize("name", UNTOUCHED)
def test_lossless_h264_round_trip_is_exact(
    name: str, make_video: Callable[[str], Path], decode_frames: DecodeFrames, tmp_path: Path
) -> None:
    """Use lossless H.264, which reorders frames; FFV1 does not."""
    settings = choose_lossless_settings(make_pipeline(make_video(name), tmp_path, 1).survey.picture)
    assert settings.codec == "x264"
    reordering = dataclasses.replace(settings, gop_frames=9, options=(*settings.options, ("bf", "3")))
    check(make_video(name), tmp_path, 3, decode_frames, reordering)


@pytest.mark.parametrize("name", ["sound.mp4", "sound.mkv", "sound.ts", "vfr-sound.mp4"])
def test_video_with_damaged_end_is_exact_up_to_the_damage(
    name: str,
    make_video: Callable[[str], Path],
    decode_frames: DecodeFrames,
    ffmpeg: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    whole, source = tmp_path / f"whole-{name}", tmp_path / name
    ffmpeg("-i", str(make_video(name)), "-c", "copy", "-movflags", "+faststart", str(whole))
    data = bytearray(whole.read_bytes())
    lost = len(data) // 8
    data[-lost:] = np.random.default_rng(0).bytes(lost)
    source.write_bytes(data)
    pipeline = make_pipeline(source, tmp_path, 3, tolerant=True)
    reports = [pipeline.encode(segment) for segment in pipeline.segments]
    joined, report = pipeline.join(reports)
    before, after = [digest for _, digest in decode_frames(whole)], decode_frames(joined.path)
    differing = [place for place, (_, digest) in enumerate(after) if digest != before[place]]
    assert len(before) // 2 < (differing[0] if differing else len(after)) <= len(after) < len(before)
    assert pipeline.survey.damage or sum(report.damaged_frames for report in reports)
    shown = pipeline.clock.pts - round(joined.begin_seconds / pipeline.clock.time_base)
    with av.open(str(joined.path)) as container:
        tick = container.streams[joined.video].time_base
    times = np.array([float(pts * tick) for pts, _ in after])
    np.testing.assert_allclose(
        times - report.moved_seconds, shown * float(pipeline.clock.time_base), rtol=0, atol=0.00051
    )
    assert report.copies[0].late_seconds < 0.0011


@pytest.mark.parametrize("codec", QUICK)
@pytest.mark.parametrize("ratio", [1, 2])
def test_frame_numbers_stay_in_order(
    codec: Codec, ratio: int, make_video: Callable[[str], Path], tmp_path: Path
) -> None:
    """Use a variable frame rate, and one or two output frames per frame."""
    pipeline = make_pipeline(make_video("vfr.mp4"), tmp_path, 3, QUICK[codec], ratio)
    copier = FrameCopier()

    def add_barcodes(index: int, frame: av.VideoFrame) -> list[av.VideoFrame]:
        return [draw_barcode(copier.copy(frame), index * ratio + half) for half in range(ratio)]

    joined, report = pipeline.join([pipeline.encode(segment, add_barcodes) for segment in pipeline.segments])
    with av.open(str(joined.path)) as container:
        stream = container.streams.video[0]
        shown = [(frame.pts, read_barcode(frame)) for frame in container.decode(stream)]
        assert stream.time_base == pipeline.clock.time_base
    assert [number for _, number in shown] == list(range(ratio * 29))
    assert [pts for pts, _ in shown] == pipeline.clock.pts.tolist()
    assert report.late_seconds == 0


def test_segments_in_matroska_get_exact_times(
    make_video: Callable[[str], Path], ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    """Restore the exact times of the clock after rounding by Matroska."""
    pipeline = make_pipeline(make_video("ntsc.mp4"), tmp_path, 3, QUICK["x264"])
    reports = [pipeline.encode(segment) for segment in pipeline.segments]
    files = []
    for path in pipeline.files:
        files.append(path.with_suffix(".mkv"))
        ffmpeg("-i", str(path), "-c", "copy", str(files[-1]))
    plan = dataclasses.replace(pipeline.plan, files=tuple(files))
    joined = join_segments(plan, tmp_path / "joined.mp4")
    assert verify_joined(joined, plan, reports).late_seconds == 0


def test_tags_and_chapters_are_carried(
    make_video: Callable[[str], Path], ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    chapters = tmp_path / "chapters.txt"
    chapters.write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=700\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=700\nEND=1600\ntitle=Two\n"
    )
    source = tmp_path / "tagged.mp4"
    turned = ["-display_rotation", "90", "-i", str(make_video("sound.mp4")), "-i", str(chapters)]
    ffmpeg(*turned, "-map", "0", "-map_chapters", "1", "-c", "copy", *CREATED, str(source))
    pipeline = make_pipeline(source, tmp_path, 2, QUICK["x264"])
    joined, _ = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments])
    assert joined.lost == ()
    with av.open(str(joined.path)) as container:
        assert container.metadata["title"] == "Two"
        assert container.metadata["creation_time"].startswith("2001-02-03T04:05:06")
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["One", "Two"]
        assert container.streams.audio[0].language == "deu"
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (5, 5, 5)
        assert next(container.decode(video=0)).rotation == 90
    assert make_pipeline(joined.path, tmp_path, 1).survey.display_matrix == pipeline.survey.display_matrix


def test_sample_aspect_and_fields_are_carried(make_video: Callable[[str], Path], tmp_path: Path) -> None:
    for name, suffix in (("wide-pixels.mp4", ".mp4"), ("wide-pixels.mp4", ".mkv"), ("bob.mp4", ".mp4")):
        pipeline = make_pipeline(make_video(name), tmp_path, 2, QUICK["x264"])
        joined, _ = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments], suffix)
        again = make_pipeline(joined.path, tmp_path, 1).survey.picture
        assert again == pipeline.survey.picture
    assert again.field_order == "tff"


def test_audio_tracks_subtitles_and_attachments_are_carried(
    make_video: Callable[[str], Path], ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    words = tmp_path / "words.srt"
    words.write_text("1\n00:00:00,200 --> 00:00:00,900\nhello\n\n2\n00:00:01,000 --> 00:00:01,500\nyou\n")
    source = tmp_path / "all.mkv"
    more = ["-map", "0", "-map", "1", "-c", "copy", "-metadata:s:s", "language=eng", "-attach", str(words)]
    ffmpeg(
        "-i",
        str(make_video("two-sounds.mkv")),
        "-i",
        str(words),
        *more,
        "-metadata:s:t",
        "mimetype=text/plain",
        str(source),
    )
    pipeline = make_pipeline(source, tmp_path, 2)
    reports = [pipeline.encode(segment) for segment in pipeline.segments]
    joined, report = pipeline.join(reports)
    assert joined.lost == ()
    assert [(copy.type, copy.codec) for copy in report.copies] == [
        ("audio", "flac"),
        ("audio", "ac3"),
        ("subtitle", "subrip"),
    ]
    with av.open(str(joined.path)) as container:
        assert [stream.language for stream in container.streams.audio] == ["eng", "fra"]
        assert container.streams.audio[1].disposition == av.stream.Disposition.comment
        assert container.streams.attachments[0].data == words.read_bytes()
    joined, report = pipeline.join(reports, ".mp4")
    assert joined.lost[:2] == ("stream 3 (subtitle, subrip, eng)", "stream 4 (attachment, words.srt)")
    assert [(copy.type, copy.codec) for copy in report.copies] == [("audio", "flac"), ("audio", "ac3")]


@pytest.mark.parametrize(
    ("name", "suffix", "codec", "max_seconds"),
    [
        ("sound.mp4", ".mkv", "aac", 0.0011),
        ("sound-before.mp4", ".mkv", "aac", 0.0011),
        ("sound.avi", ".mov", "pcm_s16le", 0),
    ],
)
def test_audio_rounded_by_the_container_is_reported_as_late(
    name: str, suffix: str, codec: str, max_seconds: float, make_video: Callable[[str], Path], tmp_path: Path
) -> None:
    """Use Matroska, which rounds 1024 samples at 48 kHz to 21 ms, and QuickTime, which stores exact times of PCM."""
    pipeline = make_pipeline(make_video(name), tmp_path, 2, QUICK["x264"])
    _, report = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments], suffix)
    (copy,) = report.copies
    assert (copy.type, copy.codec) == ("audio", codec)
    assert report.audio_late_seconds == copy.late_seconds <= max_seconds
    assert bool(report.audio_late_seconds) == bool(max_seconds)


def test_late_audio_is_the_maximum_of_all_audio_streams() -> None:
    report = JoinedReport(
        1, 1.0, 0.0, 0.0, 2, (CopyReport(1, "audio", "aac", 1, 9, 0.1), CopyReport(2, "subtitle", "ass", 1, 9, 0.3))
    )
    assert report.audio_late_seconds == 0.1
    converted = dataclasses.replace(report, conversions=(ConversionReport(3, "wmav2 became FLAC", 9, 0.2),))
    assert converted.audio_late_seconds == 0.2


def test_edit_list_lost_in_matroska_is_reported(make_video: Callable[[str], Path], tmp_path: Path) -> None:
    """Join into Matroska, which has no edit lists: priming samples are played and delay all streams."""
    pipeline = make_pipeline(make_video("sound.mp4"), tmp_path, 2)
    joined, report = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments], ".mkv")
    assert [line for line in joined.lost if line.startswith("stream 1: its edit list")]
    assert report.moved_seconds == pytest.approx(1024 / 48_000, abs=0.001)
    assert report.copies[0].late_seconds < 0.0011


def test_time_code_lost_in_quicktime_is_reported(
    make_video: Callable[[str], Path], ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    source = tmp_path / "code.mov"
    ffmpeg("-i", str(make_video("sound.mp4")), "-c", "copy", "-timecode", "01:00:00:00", str(source))
    pipeline = make_pipeline(source, tmp_path, 2, QUICK["x264"])
    joined, _ = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments])
    assert joined.path.suffix == ".mov"
    assert "stream 0: tag timecode" in joined.lost


@pytest.mark.parametrize("share", [0.7, 0.72, 0.74])
def test_truncated_video_keeps_its_audio(
    share: float, make_video: Callable[[str], Path], decode_frames: DecodeFrames, tmp_path: Path
) -> None:
    short = tmp_path / "short.ts"
    data = make_video("sound.ts").read_bytes()
    short.write_bytes(data[: int(len(data) * share)])
    pipeline = make_pipeline(short, tmp_path, 3, LOSSLESS, tolerant=True)
    joined, report = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments])
    expected = [digest for _, digest in decode_frames(make_video("sound.ts"))]
    got = [digest for _, digest in decode_frames(joined.path)]
    assert 15 < len(got) < 40
    assert got == expected[: len(got)]
    assert report.copies[0].packets > 30


def test_audio_stays_in_sync_when_times_restart(
    make_video: Callable[[str], Path], decode_frames: DecodeFrames, tmp_path: Path
) -> None:
    """Join a source whose times restart: the audio stays with its frames."""
    double = tmp_path / "double.ts"
    double.write_bytes(make_video("sound.ts").read_bytes() * 2)
    pipeline = make_pipeline(double, tmp_path, 3)
    joined, _ = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments])
    assert len(decode_frames(joined.path)) == 80
    with av.open(str(joined.path)) as container:
        packets = [packet for packet in container.demux(container.streams.audio[0]) if packet.size]
        times = [float(packet.pts * packet.time_base) for packet in packets]
    half = len(packets) // 2
    assert bytes(packets[0]) == bytes(packets[half])
    assert times[half] - times[0] == pytest.approx(1.6, abs=0.15)
    assert all(before < after for before, after in itertools.pairwise(times))
