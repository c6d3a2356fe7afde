"""Sound that no container takes as it is comes without loss, and to the sample when it is due."""

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

from .workshop import QUICK, Work, work_on

PICTURE = "-f lavfi -i testsrc2=s=64x48:r=25:d=1.6"
SOUND = "-f lavfi -i aevalsrc=0.5*sin(2*PI*440*t)|0.3*sin(2*PI*660*t):s=48000:d=1.7"

# File name -> how its sound is encoded, and the bits a sample that come of it.
SOUNDS = {
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
def sounding(tmp_path_factory: pytest.TempPathFactory, ffmpeg: Callable[..., bytes]) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("sounds")

    def make(name: str) -> Path:
        path = folder / name
        picture = "mpeg2video" if name.endswith(".mpg") else "mpeg4"
        if not path.exists():
            encoders = ["-c:v", picture, "-c:a", SOUNDS[name][0], "-metadata:s:a", "language=deu"]
            ffmpeg(*PICTURE.split(), *SOUND.split(), *encoders, str(path))
        return path

    return make


def decoded_by_ffmpeg(path: Path, bits: int) -> np.ndarray:
    """All samples of the first sound, samples x 2, as the shipped ffmpeg decodes them."""
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-map", "0:a:0"]
    kind = "s16le" if bits == 16 else "s32le"
    raw = subprocess.run([*program, "-f", kind, "-c:a", f"pcm_{kind}", "-"], check=True, capture_output=True).stdout
    samples = np.frombuffer(raw, np.int16 if bits == 16 else np.int32).reshape(-1, 2)
    return samples if bits == 16 else samples & np.int32(-256)


def joined_work(source: Path, folder: Path, suffix: str = "") -> tuple[Work, Joined, JoinedReport]:
    work = work_on(source, folder, 2, QUICK["x264"])
    joined, report = work.join([work.encode(segment) for segment in work.segments], suffix)
    return work, joined, report


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("name", SOUNDS)
def test_converted_audio_keeps_all_samples(
    name: str, suffix: str, sounding: Callable[[str], Path], tmp_path: Path
) -> None:
    codec, bits = SOUNDS[name]
    _, joined, report = joined_work(sounding(name), tmp_path, suffix)
    assert not [line for line in joined.lost if "audio" in line]
    if joined.copied:  # this one the container knows
        assert codec.startswith("pcm_")
        return
    became = {".mov": f"PCM_S{bits}"}.get(suffix, "FLAC")
    assert [conversion.what for conversion in report.conversions] == [f"audio stream 1: {codec} became {became}"]
    before, after = decoded_by_ffmpeg(sounding(name), bits), decoded_by_ffmpeg(joined.path, bits)
    assert report.conversions[0].samples == len(after) > 70_000
    np.testing.assert_array_equal(after, before)


def start_seconds(path: Path, kind: str) -> float:
    """When the first frame of the first such stream is due."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return float(next(container.decode(stream)).pts * stream.time_base)


@pytest.mark.parametrize(("offset", "suffix"), [("0.37", ".mp4"), ("0.37", ".mkv"), ("1.2", ".mov")])
def test_late_audio_start_is_preserved(offset: str, suffix: str, ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    source = tmp_path / "late.asf"
    ffmpeg(*PICTURE.split(), "-itsoffset", offset, *SOUND.split(), "-c:v", "mpeg4", "-c:a", "adpcm_ms", str(source))
    _, joined, report = joined_work(source, tmp_path, suffix)
    due = start_seconds(source, "audio") - start_seconds(source, "video")
    late = start_seconds(joined.path, "audio") - start_seconds(joined.path, "video") - due
    assert due == pytest.approx(float(offset), abs=0.03)
    assert abs(late) <= (0.0011 if suffix == ".mkv" else 1 / 48_000)
    assert report.conversions[0].late_seconds <= (0.00051 if suffix == ".mkv" else 1e-9)


def test_audio_gap_becomes_silence_of_equal_length(ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    """Four tenths of a second of sound is gone from the middle: the click after it comes when it did."""
    whole, source = tmp_path / "whole.asf", tmp_path / "gap.asf"
    click = "-f lavfi -i aevalsrc=0.1*sin(2*PI*440*t)+0.8*between(t\\,1.3\\,1.301):s=48000:d=1.6"
    ffmpeg(*PICTURE.split(), *click.split(), "-c:v", "mpeg4", "-c:a", "adpcm_ms", str(whole))
    ffmpeg("-i", str(whole), "-c", "copy", "-bsf:a", "noise=drop=between(n\\,20\\,29)", str(source))
    _, joined, report = joined_work(source, tmp_path, ".mp4")
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
    ffmpeg(*PICTURE.split(), *sound, "-c:v", "mpeg4", "-c:a", "pcm_s16le", str(source))
    _, joined, _ = joined_work(source, tmp_path, ".mp4")
    arrays = []
    for path in (source, joined.path):
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            arrays.append(np.concatenate([f.to_ndarray().reshape(-1, 6) for f in container.decode(stream)]))
            assert stream.codec_context.layout.name.startswith("5.1")  # FLAC knows one kind of it
    np.testing.assert_array_equal(arrays[0], arrays[1])


def test_converted_audio_keeps_its_language(sounding: Callable[[str], Path], tmp_path: Path) -> None:
    choice = choose_container(sounding("wmav2.asf"), "x264")
    assert (choice.suffix, choice.lost, choice.converted) == (".mp4", (), ("stream 1 (audio, wmav2, ger)",))
    assert choose_container(sounding("pcm_alaw.avi"), "x264").suffix == ".mov"  # which takes it as it is
    _, joined, _ = joined_work(sounding("wmav2.asf"), tmp_path)
    assert [str(conversion) for conversion in joined.converted] == ["audio stream 1: wmav2 became FLAC"]
    with av.open(str(joined.path)) as container:
        assert container.streams.audio[0].language == "ger"


def test_different_samples_are_detected(
    sounding: Callable[[str], Path], ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    work, joined, _ = joined_work(sounding("adpcm_ms.avi"), tmp_path, ".mp4")
    reports = [work.encode(segment) for segment in work.segments]
    for change, words in (
        ("volume=0.9", r"adpcm_ms became FLAC: has \d+ samples, which differ from the source's \d+"),
        ("adelay=20:all=1", r"has \d+ samples, which differ"),
    ):
        altered = tmp_path / "altered.mp4"
        ffmpeg("-i", str(joined.path), "-c:v", "copy", "-c:a", "flac", "-af", change, str(altered))
        with pytest.raises(SegmentError, match=words):
            verify_joined(dataclasses.replace(joined, path=altered), work.plan, reports)
    later = ["-itsoffset", "0.04", "-i", str(joined.path), "-map", "0:v", "-map", "1:a", "-c", "copy"]
    ffmpeg("-i", str(joined.path), *later, str(altered))
    with pytest.raises(SegmentError, match=r"starts \+0\.04\d* s away from its time in the source"):
        verify_joined(dataclasses.replace(joined, path=altered), work.plan, reports)
