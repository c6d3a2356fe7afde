"""Clips and audio of samples, compared with full decodes by PyAV and with the samples that a file was made of."""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest

from tasks.media.reading import VideoReader

VIDEO = Path(__file__).resolve().parents[1] / "data" / "video"
RATE = 8000
Stage = Callable[..., Any]


def decode(path: Path, name: str = "rgb24") -> list[Any]:
    with av.open(str(path)) as container:
        frames = container.decode(container.streams.best("video"))
        return [frame.to_ndarray(format=name) for frame in frames]


def decode_audio(path: Path) -> Any:
    with av.open(str(path)) as container:
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.concatenate([block.reshape(-1) for block in blocks])


def cut(stage: Stage, tmp_path: Path, path: Path, limits: tuple[float | None, float | None], **options: Any) -> Any:
    """Return the sample's detail and the folder of the files that the stage wrote."""
    run = stage(path, {"a": []}, limits={"a": limits}, **{"frames": False, **options})
    for name, content in run.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return run.get_sample("a")


@pytest.fixture(scope="module")
def noise() -> Any:
    return np.random.default_rng(1).integers(-20_000, 20_000, RATE * 4, dtype=np.int16)


@pytest.fixture(scope="module")
def talk(clip: Path, noise: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the clip with noise as audio, which starts 0.5 s before the video."""
    folder = tmp_path_factory.mktemp("talk")
    with wave.open(str(folder / "noise.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(noise.tobytes())
    inputs = ["-itsoffset", "0.5", "-i", str(clip), "-i", str(folder / "noise.wav"), "-map", "0:v", "-map", "1:a"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *inputs, "-c", "copy"]
    subprocess.run([*command, str(folder / "talk.mkv")], check=True)
    return folder / "talk.mkv"


@pytest.mark.parametrize(
    "name",
    [
        "nasa_13013.mp4",
        "h265_video.mp4",
        "av1_video.mkv",
        "kivy_cityCC0.mpg",
        "nasa_13013_rotated.mp4",
        "test_non_zero_start.mp4",
    ],
)
def test_copied_clip_has_the_frames_of_whole_groups(name: str, stage: Stage, tmp_path: Path) -> None:
    source = decode(VIDEO / name)
    with VideoReader(VIDEO / name) as reader:
        limits = reader.timeline.seconds(len(source) // 3), reader.timeline.seconds(len(source) // 2)
    row = cut(stage, tmp_path, VIDEO / name, limits, clips="copy", time_origin="first")["clip_file"]
    copied = decode(tmp_path / row["path"])
    first, frames = row["first_frame"], row["frames"]
    assert len(copied) == frames
    assert row["start_seconds"] <= limits[0]
    assert row["end_seconds"] >= limits[1]
    for left, right in zip(source[first : first + frames], copied, strict=True):
        np.testing.assert_array_equal(left, right)
    if "rotated" in name:
        with av.open(str(tmp_path / row["path"])) as container:
            assert next(container.decode(video=0)).rotation != 0


def test_copied_clip_begins_and_ends_at_keyframes(talk: Path, stage: Stage, tmp_path: Path) -> None:
    row = cut(stage, tmp_path, talk, (1.6, 1.8), clips="copy")["clip_file"]
    assert (row["first_frame"], row["frames"]) == (25, 25)
    assert (row["start_seconds"], row["end_seconds"]) == (1.5, 2.5)
    assert row["path"] == "clips/a.mkv"  # MP4 with PCM is not widely supported


def test_exact_clip_has_the_frames_and_samples_of_its_part(
    talk: Path, noise: Any, stage: Stage, tmp_path: Path
) -> None:
    row = cut(stage, tmp_path, talk, (1.1, 1.9), clips="exact")["clip_file"]
    assert (row["first_frame"], row["frames"]) == (15, 20)
    assert (row["start_seconds"], row["end_seconds"]) == (1.1, 1.9)
    source, encoded = decode(talk), decode(tmp_path / row["path"])
    assert len(encoded) == 20
    for left, right in zip(source[15:35], encoded, strict=True):
        assert np.mean((left.astype(float) - right) ** 2) < 20
    other = np.mean((source[14].astype(float) - encoded[0]) ** 2)
    assert other > 2 * np.mean((source[15].astype(float) - encoded[0]) ** 2)
    np.testing.assert_array_equal(decode_audio(tmp_path / row["path"]), noise[round(1.1 * RATE) : round(1.9 * RATE)])


@pytest.mark.parametrize("form", ["flac", "wav"])
def test_audio_is_exact_to_the_sample(form: str, talk: Path, noise: Any, stage: Stage, tmp_path: Path) -> None:
    row = cut(stage, tmp_path, talk, (1.1, 1.9), audio=form)["audio_file"]
    assert row["path"] == f"audio/a.{form}"
    np.testing.assert_array_equal(decode_audio(tmp_path / row["path"]), noise[round(1.1 * RATE) : round(1.9 * RATE)])
    assert (row["start_seconds"], row["duration_seconds"], row["sample_rate"], row["channels"]) == (1.1, 0.8, RATE, 1)


def test_audio_of_the_whole_video_begins_and_ends_with_its_frames(
    talk: Path, noise: Any, stage: Stage, tmp_path: Path
) -> None:
    row = cut(stage, tmp_path, talk, (None, None), audio="wav")["audio_file"]
    np.testing.assert_array_equal(decode_audio(tmp_path / row["path"]), noise[RATE // 2 : RATE // 2 + 2 * RATE])


def test_frames_clips_and_audio_come_from_one_run(talk: Path, stage: Stage) -> None:
    run = stage(talk, {"a": [], "b": []}, clips="copy", audio="flac", max_frames=2, limits={"b": (9.0, None)})
    files = ["audio/a.flac", "clips/a.mkv", "frames/a/0000.jpg", "frames/a/0001.jpg"]
    assert sorted(run.files) == files
    assert (run.get_sample("b")["clip_file"], run.get_sample("b")["audio_file"]) == (None, None)
    assert (run.result.values["clips"], run.result.values["audio_files"]) == (1, 1)


def test_video_without_audio_has_no_audio_file(clip: Path, stage: Stage) -> None:
    run = stage(clip, {"a": []}, audio="flac", frames=False)
    assert run.files == {}
    assert run.get_sample("a")["audio_file"] is None


def test_damaged_clip_is_reported_and_the_rest_continues(clip: Path, stage: Stage, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    (tmp_path / "damaged.mp4").write_bytes(data)
    run = stage(tmp_path / "damaged.mp4", {"a": []}, clips="exact", frames=False)
    row = run.get_sample("a")["clip_file"]
    assert row["path"] is None
    assert "damaged" in row["problem"]
    assert run.files == {}


def test_clip_of_packets_without_reliable_times_is_only_encoded_again(stage: Stage, tmp_path: Path) -> None:
    row = cut(stage, tmp_path, VIDEO / "cv_box.mp4", (0.5, 0.7), clips="copy")["clip_file"]
    assert row["problem"].endswith("its packets have no reliable times, so none can be copied; use --clips exact")
    row = cut(stage, tmp_path, VIDEO / "cv_box.mp4", (0.5, 0.7), clips="exact")["clip_file"]
    source, encoded = decode(VIDEO / "cv_box.mp4"), decode(tmp_path / row["path"])
    assert len(encoded) == row["frames"]
    distances = [np.mean((frame.astype(float) - encoded[0]) ** 2) for frame in source]
    assert int(np.argmin(distances)) == row["first_frame"]


def test_copied_clip_leaves_out_leading_frames_of_its_first_group(clip: Path, stage: Stage, tmp_path: Path) -> None:
    """Leading frames of an open GOP come after its keyframe, are shown before it, and need the group before."""
    path = tmp_path / "open.mkv"
    options = ["-c:v", "libx264", "-x264opts", "open_gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(clip), *options, str(path)]
    subprocess.run(command, check=True)
    source = decode(path)
    for first in (20, 30, 45):
        row = cut(stage, tmp_path, path, (first / 25, (first + 1) / 25), clips="copy")["clip_file"]
        copied = decode(tmp_path / row["path"])
        assert len(copied) == row["frames"] < len(source)
        assert row["first_frame"] <= first < row["first_frame"] + row["frames"]
        for left, right in zip(source[row["first_frame"] :], copied, strict=False):
            np.testing.assert_array_equal(left, right)
