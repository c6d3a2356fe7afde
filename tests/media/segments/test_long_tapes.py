"""At the end of half an hour picture and sound are where they were in the source: to the tick, and to the sample."""

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

from .workshop import Work, work_on

RATE_HZ = 48_000
HALF_AN_HOUR = 1800
CHEAPEST = EncoderSettings("x264", crf=40, preset="ultrafast", gop_frames=100, options=(("bf", "1"),))
FIELDS = "-c:v libx264 -preset ultrafast -bf 2 -b_strategy 0 -flags +ildct+ilme -threads 1".split()

# Ten seconds of hiss that begin with a click.
HISS = np.random.default_rng(0).integers(-40, 40, 10 * RATE_HZ, dtype=np.int16)
HISS[:24] = 30_000


def tape(path: Path, rate: str, seconds: int, codec: str = "flac") -> Path:
    """Interlaced pictures of 64 x 48, and HISS again and again."""
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    picture = ["-f", "lavfi", "-i", f"testsrc2=s=64x48:r={rate}:d={seconds},setfield=tff"]
    sound = ["-f", "s16le", "-ar", str(RATE_HZ), "-ac", "1", "-i", "pipe:0"]
    command = [*program, *picture, *sound, *FIELDS, "-c:a", codec, "-compression_level", "0", "-shortest", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for _ in range(seconds // 10):
            process.stdin.write(HISS.tobytes())
        process.stdin.close()
    assert process.returncode == 0
    return path


def check_picture(work: Work, joined: Path, rate: Fraction, seconds: int) -> None:
    """Every frame is shown when it must be, by the clock of the source and by its rate."""
    with PacketSource(work.source) as source, PacketSource(joined) as made:
        before, after = source.index, made.index
        assert after.time_base == before.time_base
        np.testing.assert_array_equal(np.sort(after.pts), np.sort(before.pts))
    frames = len(after)
    assert frames == round(seconds * rate)
    assert int(np.max(after.pts)) * after.time_base == (frames - 1) / rate


def clicks(path: Path, places: list[int]) -> list[int]:
    """The samples at which a click begins after each of these places, in seconds, as the file's clock has them."""
    found = []
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
            np.testing.assert_array_equal(samples[begin : begin + RATE_HZ // 2], HISS[: RATE_HZ // 2])
            found.append(round(frames[0].pts * frames[0].time_base * RATE_HZ) + begin)
    return found


@pytest.mark.parametrize("rate", ["25/8", "30000/11011"])
def test_audio_does_not_drift_in_half_an_hour(rate: str, tmp_path: Path) -> None:
    """With an eighth and an eleventh of the pictures, to be quick."""
    work = work_on(tape(tmp_path / "tape.mp4", rate, HALF_AN_HOUR), tmp_path, 6, CHEAPEST)
    assert work.found.picture.field_order == "tff"
    joined, report = work.join([work.encode(segment) for segment in work.segments], ".mp4")
    check_picture(work, joined.path, Fraction(rate), HALF_AN_HOUR)
    sound = report.copies[0]
    assert (report.late_seconds, report.moved_seconds, sound.late_seconds) == (0, 0, 0)
    assert clicks(joined.path, [10, 900, 1790]) == [10 * RATE_HZ, 900 * RATE_HZ, 1790 * RATE_HZ]


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".mov", "pcm_s16le")])
def test_audio_does_not_drift_at_full_frame_rate(suffix: str, codec: str, tmp_path: Path) -> None:
    rate = Fraction(30_000, 1001)
    work = work_on(tape(tmp_path / f"tape{suffix}", str(rate), 60, codec), tmp_path, 4, CHEAPEST)
    joined, report = work.join([work.encode(segment) for segment in work.segments], suffix)
    check_picture(work, joined.path, rate, 60)
    assert (report.late_seconds, report.moved_seconds, report.copies[0].late_seconds) == (0, 0, 0)
    if codec != "aac":  # which loses the click's edge
        assert clicks(joined.path, [10, 30, 50]) == [10 * RATE_HZ, 30 * RATE_HZ, 50 * RATE_HZ]
