"""Test the lossless conversion of audio that the container cannot hold, exact to the sample."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from tasks.media.segments.containers import choose_container
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.joining import Joined
from tasks.media.segments.verify import JoinedReport, verify_joined

from .pipeline import QUICK, Pipeline, make_pipeline

VIDEO = "-f lavfi -i testsrc2=s=64x48:r=25:d=1.6"
AUDIO = "-f lavfi -i aevalsrc=0.5*sin(2*PI*440*t)|0.3*sin(2*PI*660*t):s=48000:d=1.7"

# File name -> codec of its audio, and bits per decoded sample.
AUDIO_CODECS = {
    "wmav2.avi": ("wmav2", 24),
    "wmav2.asf": ("wmav2", 24),
    "wmav1.asf": ("wmav1", 24),
    "adpcm_ms.avi": ("adpcm_ms", 16),
    "adpcm_ima_wav.avi": ("adpcm_ima_wav", 16),
    "pcm_alaw.avi": ("pcm_alaw", 16),
    "pcm_s24le.avi": ("pcm_s24le", 24),
    "pcm_dvd.mpg": ("pcm_dvd", 24),
}


@pytest.fixture(scope="module")
def make_audio_video(tmp_path_factory: pytest.TempPathFactory, ffmpeg: Callable[..., bytes]) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("sounds")

    def make(name: str) -> Path:
        path = folder / name
        picture = "mpeg2video" if name.endswith(".mpg") else "mpeg4"
        if not path.exists():
            encoders = ["-c:v", picture, "-c:a", AUDIO_CODECS[name][0], "-metadata:s:a", "language=deu"]
            ffmpeg(*VIDEO.split(), *AUDIO.split(), *encoders, str(path))
        return path

    return make


def decode_by_ffmpeg(path: Path, bits: int) -> np.ndarray:
    """Return all samples of the first audio stream, samples x 2, decoded by the shipped ffmpeg."""
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-map", "0:a:0"]
    kind = "s16le" if bits == 16 else "s32le"
    raw = subprocess.run([*program, "-f", kind, "-c:a", f"pcm_{kind}", "-"], check=True, capture_output=True).stdout
    samples = np.frombuffer(raw, np.int16 if bits == 16 else np.int32).reshape(-1, 2)
    return samples if bits == 16 else samples & np.int32(-256)


def join_video(source: Path, folder: Path, suffix: str = "") -> tuple[Pipeline, Joined, JoinedReport]:
    pipeline = make_pipeline(source, folder, 2, QUICK["x264"])
    joined, report = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments], suffix)
    return pipeline, joined, report


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("name", AUDIO_CODECS)
def test_converted_audio_keeps_all_samples(
    name: str, suffix: str, make_audio_video: Callable[[str], Path], tmp_path: Path
) -> None:
    codec, bits = AUDIO_CODECS[name]
    _, joined, report = join_video(make_audio_video(name), tmp_path, suffix)
    assert not [line for line in joined.lost if "audio" in line]
    if joined.copied:  # the container can hold this one
        assert codec.startswith("pcm_")
        return
    became = {".mov": f"PCM_S{bits}"}.get(suffix, "FLAC")
    assert [conversion.what for conversion in report.conversions] == [f"audio stream 1: {codec} became {became}"]
    before, after = decode_by_ffmpeg(make_audio_video(name), bits), decode_by_ffmpeg(joined.path, bits)
    assert report.conversions[0].samples == len(after) > 70_000
    np.testing.assert_array_equal(after, before)


def read_start_seconds(path: Path, kind: str) -> float:
    """Return the time of the first frame of the first stream of this kind."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return float(next(container.decode(stream)).pts * stream.time_base)


@pytest.mark.parametrize(("offset", "suffix"), [("0.37", ".mp4"), ("0.37", ".mkv"), ("1.2", ".mov")])
def test_late_audio_start_is_preserved(offset: str, suffix: str, ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    source = tmp_path / "late.asf"
    ffmpeg(*VIDEO.split(), "-itsoffset", offset, *AUDIO.split(), "-c:v", "mpeg4", "-c:a", "adpcm_ms", str(source))
    _, joined, report = join_video(source, tmp_path, suffix)
    due = read_start_seconds(source, "audio") - read_start_seconds(source, "video")
    late = read_start_seconds(joined.path, "audio") - read_start_seconds(joined.path, "video") - due
    assert due == pytest.approx(float(offset), abs=0.03)
    assert abs(late) <= (0.0011 if suffix == ".mkv" else 1 / 48_000)
    assert report.conversions[0].late_seconds <= (0.00051 if suffix == ".mkv" else 1e-9)


def test_audio_gap_becomes_silence_of_equal_length(ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    """Remove 0.4 s of audio in the middle: the click after it keeps its time."""
    whole, source = tmp_path / "whole.asf", tmp_path / "gap.asf"
    click = "-f lavfi -i aevalsrc=0.1*sin(2*PI*440*t)+0.8*between(t\\,1.3\\,1.301):s=48000:d=1.6"
    ffmpeg(*VIDEO.split(), *click.split(), "-c:v", "mpeg4", "-c:a", "adpcm_ms", str(whole))
    ffmpeg("-i", str(whole), "-c", "copy", "-bsf:a", "noise=drop=between(n\\,20\\,29)", str(source))
    _, joined, report = join_video(source, tmp_path, ".mp4")
    samples = []
    for path in (whole, joined.path):
        with av.open(str(path)) as container:
            blocks = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
        samples.append(np.concatenate(blocks).astype(int))
    assert abs(len(samples[0]) - report.conversions[0].samples) < 48
    assert abs(int(samples[0].argmax()) - int(samples[1].argmax())) < 48  # the source counts in milliseconds
    silent = np.flatnonzero(np.convolve(np.abs(samples[1]), np.ones(500), "valid") == 0)
    assert 0.3 < len(silent) / 48_000 < 0.5


def test_surround_channels_are_preserved(ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    source = tmp_path / "surround.avi"
    channels = "|".join(f"0.2*sin(2*PI*{100 * number}*t)" for number in range(1, 7))
    sound = f"-f lavfi -i aevalsrc={channels}:s=48000:d=1.6:c=5.1".split()
    ffmpeg(*VIDEO.split(), *sound, "-c:v", "mpeg4", "-c:a", "pcm_s16le", str(source))
    _, joined, _ = join_video(source, tmp_path, ".mp4")
    arrays = []
    for path in (source, joined.path):
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            arrays.append(np.concatenate([f.to_ndarray().reshape(-1, 6) for f in container.decode(stream)]))
            assert stream.codec_context.layout.name.startswith("5.1")  # FLAC has only one 5.1 layout
    np.testing.assert_array_equal(arrays[0], arrays[1])


def test_converted_audio_keeps_its_language(make_audio_video: Callable[[str], Path], tmp_path: Path) -> None:
    choice = choose_container(make_audio_video("wmav2.asf"), "x264")
    assert (choice.suffix, choice.lost, choice.converted) == (".mp4", (), ("stream 1 (audio, wmav2, ger)",))
    assert choose_container(make_audio_video("pcm_alaw.avi"), "x264").suffix == ".mov"  # holds it without conversion
    _, joined, _ = join_video(make_audio_video("wmav2.asf"), tmp_path)
    assert [str(conversion) for conversion in joined.converted] == ["audio stream 1: wmav2 became FLAC"]
    with av.open(str(joined.path)) as container:
        assert container.streams.audio[0].language == "ger"


def test_different_samples_are_detected(
    make_audio_video: Callable[[str], Path], ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    pipeline, joined, _ = join_video(make_audio_video("adpcm_ms.avi"), tmp_path, ".mp4")
    reports = [pipeline.encode(segment) for segment in pipeline.segments]
    for change, words in (
        ("volume=0.9", r"adpcm_ms became FLAC: has \d+ samples, which differ from the source's \d+"),
        ("adelay=20:all=1", r"has \d+ samples, which differ"),
    ):
        altered = tmp_path / "altered.mp4"
        ffmpeg("-i", str(joined.path), "-c:v", "copy", "-c:a", "flac", "-af", change, str(altered))
        with pytest.raises(SegmentError, match=words):
            verify_joined(dataclasses.replace(joined, path=altered), pipeline.plan, reports)
    later = ["-itsoffset", "0.04", "-i", str(joined.path), "-map", "0:v", "-map", "1:a", "-c", "copy"]
    ffmpeg("-i", str(joined.path), *later, str(altered))
    with pytest.raises(SegmentError, match=r"starts \+0\.04\d* s away from its time in the source"):
        verify_joined(dataclasses.replace(joined, path=altered), pipeline.plan, reports)
