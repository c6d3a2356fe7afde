"""Test that video and audio do not drift within half an hour: exact to the tick and to the sample."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from tasks.media.demuxing import PacketSource
from tasks.media.segments.settings import EncoderSettings

from .pipeline import Pipeline, make_pipeline

RATE_HZ = 48_000
HALF_AN_HOUR = 1800
CHEAPEST = EncoderSettings("x264", crf=40, preset="ultrafast", gop_frames=100, options=(("bf", "1"),))
FIELDS = "-c:v libx264 -preset ultrafast -bf 2 -b_strategy 0 -flags +ildct+ilme -threads 1".split()

# Ten seconds of noise that start with a click.
NOISE = np.random.default_rng(0).integers(-40, 40, 10 * RATE_HZ, dtype=np.int16)
NOISE[:24] = 30_000


def make_tape(path: Path, rate: str, seconds: int, codec: str = "flac") -> Path:
    """Make a tape with interlaced frames of 64 x 48 and repeated NOISE."""
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    picture = ["-f", "lavfi", "-i", f"testsrc2=s=64x48:r={rate}:d={seconds},setfield=tff"]
    sound = ["-f", "s16le", "-ar", str(RATE_HZ), "-ac", "1", "-i", "pipe:0"]
    command = [*program, *picture, *sound, *FIELDS, "-c:a", codec, "-compression_level", "0", "-shortest", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for _ in range(seconds // 10):
            process.stdin.write(NOISE.tobytes())
        process.stdin.close()
    assert process.returncode == 0
    return path


def check_times(pipeline: Pipeline, joined: Path, rate: Fraction, seconds: int) -> None:
    """Check the time of every frame against the source and the frame rate."""
    with PacketSource(pipeline.source) as source, PacketSource(joined) as joined_source:
        before, after = source.index, joined_source.index
        assert after.time_base == before.time_base
        np.testing.assert_array_equal(np.sort(after.pts), np.sort(before.pts))
    frames = len(after)
    assert frames == round(seconds * rate)
    assert int(np.max(after.pts)) * after.time_base == (frames - 1) / rate


def find_clicks(path: Path, places: list[int]) -> list[int]:
    """Return the position in samples, by the file's clock, of the first click after each place in seconds."""
    starts = []
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        for place in places:
            container.seek(round((place - 1) / stream.time_base), stream=stream)
            frames = []
            for frame in container.decode(stream):
                frames.append(frame)
                if frame.pts * frame.time_base > place + 1:
                    break
            samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
            loud = np.flatnonzero(samples == 30_000)
            begin = int(loud[0])
            np.testing.assert_array_equal(samples[begin : begin + RATE_HZ // 2], NOISE[: RATE_HZ // 2])
            starts.append(round(frames[0].pts * frames[0].time_base * RATE_HZ) + begin)
    return starts


@pytest.mark.parametrize("rate", ["25/8", "30000/11011"])
def test_audio_does_not_drift_in_half_an_hour(rate: str, tmp_path: Path) -> None:
    """Use an eighth and an eleventh of the frame rate, to be quick."""
    pipeline = make_pipeline(make_tape(tmp_path / "tape.mp4", rate, HALF_AN_HOUR), tmp_path, 6, CHEAPEST)
    assert pipeline.survey.picture.field_order == "tff"
    joined, report = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments], ".mp4")
    check_times(pipeline, joined.path, Fraction(rate), HALF_AN_HOUR)
    sound = report.copies[0]
    assert (report.late_seconds, report.moved_seconds, sound.late_seconds) == (0, 0, 0)
    assert find_clicks(joined.path, [10, 900, 1790]) == [10 * RATE_HZ, 900 * RATE_HZ, 1790 * RATE_HZ]


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".mov", "pcm_s16le")])
def test_audio_does_not_drift_at_full_frame_rate(suffix: str, codec: str, tmp_path: Path) -> None:
    rate = Fraction(30_000, 1001)
    pipeline = make_pipeline(make_tape(tmp_path / f"tape{suffix}", str(rate), 60, codec), tmp_path, 4, CHEAPEST)
    joined, report = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments], suffix)
    check_times(pipeline, joined.path, rate, 60)
    assert (report.late_seconds, report.moved_seconds, report.copies[0].late_seconds) == (0, 0, 0)
    if codec != "aac":  # AAC blurs the click's edge
        assert find_clicks(joined.path, [10, 30, 50]) == [10 * RATE_HZ, 30 * RATE_HZ, 50 * RATE_HZ]
