"""The frames stage on real videos: files, rows, a single decode, and identical bytes in every run."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from tasks.engine.contract.errors import BadInput
from tasks.frames import stage as stage_module
from tasks.frames.verification import FrameMismatchError, choose_frames
from tasks.media.decoding import RunDecoder
from tasks.media.reading import FrameImage, UnreliableIndexError, VideoReader

Stage = Callable[..., Any]
VIDEO = Path(__file__).resolve().parents[1] / "data" / "video"


def test_stage_writes_files_and_matching_rows(clip: Path, stage: Stage) -> None:
    run = stage(clip, {"a": [0.12, 1.0, -1.0, 2.0, float("nan")], "b": []}, max_frames=4)
    assert sorted(run.files) == [f"frames/{sample}/{number:04d}.jpg" for sample in "ab" for number in range(4)]
    rows = run.get_sample("a")["frames"]
    assert [row["path"] for row in rows] == [f"frames/a/{number:04d}.jpg" for number in range(4)]
    assert [(row["frame_index"], row["source"]) for row in rows] == [
        (3, "support"),
        (12, "uniform"),
        (25, "support"),
        (37, "uniform"),
    ]
    assert [row["actual_seconds"] for row in rows] == [0.12, 0.48, 1.0, 1.48]
    assert rows[2]["keyframe_distance_frames"] == 0
    for row in rows:
        assert row["sha256"] == hashlib.sha256(run.files[row["path"]]).hexdigest()
        assert (row["width_px"], row["height_px"]) == (160, 90)
        assert row["size_bytes"] == len(run.files[row["path"]])
    assert run.get_sample("a")["outside_seconds"] == [-1.0, 2.0, None]
    assert run.get_sample("b")["video"] == "clip.mp4"
    json.dumps(run.result.detail, allow_nan=False)


def test_stage_returns_all_columns(clip: Path, stage: Stage) -> None:
    values = stage(clip, {"a": [0.1, 0.1, 9.0], "b": [0.0, 0.5, 1.0]}, max_frames=2).result.values
    assert values == {
        "samples": 2,
        "frames": 4,
        "bad_frames": 0,
        "verified_frames": 0,
        "outside_timestamps": 1,
        "repeated_timestamps": 1,
        "dropped_timestamps": 1,
        "left_out_frames": 0,
        "clips": 0,
        "audio_files": 0,
        "width_px": 160,
        "height_px": 90,
        "offset_seconds": 0.0,
        "fps": 25.0,
        "duration_seconds": 2.0,
        "video_frames": 50,
        "video_codec": "h264",
        "truncated": False,
        "missing": None,
        "stated_seconds": None,
    }


def test_png_is_lossless(clip: Path, stage: Stage) -> None:
    run = stage(clip, {"a": []}, image_format="png")
    rows = run.get_sample("a")["frames"]
    with VideoReader(clip) as reader:
        for row, frame in zip(rows, reader.read_frames([row["frame_index"] for row in rows]), strict=True):
            image = cv2.imdecode(np.frombuffer(run.files[row["path"]], np.uint8), cv2.IMREAD_COLOR)
            np.testing.assert_array_equal(image, frame.image)


@pytest.mark.parametrize("image_format", ["jpg", "png", "webp"])
def test_two_runs_write_the_same_bytes(image_format: str, clip: Path, stage: Stage) -> None:
    samples = {"a": [0.3, 1.7], "b": [1.0]}
    first, second = (stage(clip, samples, image_format=image_format, resize="80") for _ in range(2))
    assert first == second


def test_sample_gets_the_same_frames_alone_and_with_others(clip: Path, stage: Stage) -> None:
    together = stage(clip, {"a": [0.3], "b": [1.0, 1.04], "c": []})
    alone = stage(clip, {"b": [1.0, 1.04]})
    assert together.get_sample("b") == alone.get_sample("b")
    assert alone.files == {path: data for path, data in together.files.items() if path.startswith("frames/b/")}


def test_shared_video_is_decoded_once(clip: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    feed = RunDecoder._decode_packet

    def count_packets(self: RunDecoder, packet: Any, position: int) -> Any:
        if packet is not None:
            fed.append(position)
        return feed(self, packet, position)

    monkeypatch.setattr(RunDecoder, "_decode_packet", count_packets)
    stage(clip, {str(number): [number / 10] for number in range(20)})
    assert fed == sorted(set(fed))


@pytest.mark.parametrize(
    ("resize", "size"), [(None, (160, 90)), ("80", (80, 45)), ("320", (160, 90)), (32, (32, 18)), ("50x60", (50, 60))]
)
def test_resize_sets_the_image_size(resize: str | int | None, size: tuple[int, int], clip: Path, stage: Stage) -> None:
    run = stage(clip, {"a": []}, max_frames=1, resize=resize)
    (row,) = run.get_sample("a")["frames"]
    assert (row["width_px"], row["height_px"]) == size
    image = cv2.imdecode(np.frombuffer(run.files[row["path"]], np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[1::-1] == size


def test_support_strategy_may_select_no_frames(clip: Path, stage: Stage) -> None:
    run = stage(clip, {"a": [], "b": [99.0]}, strategy="support")
    assert run.files == {}
    assert run.result.values["frames"] == 0


def test_unreliable_index_leaves_no_extra_files(clip: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = VideoReader.read_frames_or_damage

    def raise_after_frames(self: VideoReader, indices: list[int]) -> Any:
        yield from frames(self, indices)
        if self.listing.by_index:
            raise UnreliableIndexError("a frame did not come")

    expected = stage(clip, {"a": [0.5]})
    monkeypatch.setattr(stage_module.VideoReader, "read_frames_or_damage", raise_after_frames)
    assert stage(clip, {"a": [0.5]}).files == expected.files


def write_damaged_clip(clip: Path, path: Path) -> Path:
    """Write a copy of the clip with zeros in the middle, which damages frames after frame 25."""
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    return path


def write_truncated_clip(clip: Path, path: Path) -> Path:
    """Write a copy of the clip with its index at the front, without the last 40 % of its bytes."""
    whole = path.with_name(f"whole-{path.name}")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(clip), "-c", "copy"]
    subprocess.run([*command, "-movflags", "+faststart", str(whole)], check=True)
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    return path


def test_damaged_frames_are_reported_and_the_others_kept(clip: Path, stage: Stage, tmp_path: Path) -> None:
    wanted = {"a": [number / 25 for number in range(50)], "b": [0.0, 0.04]}
    whole = stage(clip, wanted, max_frames=50, strategy="support")
    run = stage(write_damaged_clip(clip, tmp_path / "clip.mp4"), wanted, max_frames=50, strategy="support")
    bad = run.get_sample("a")["bad_frames"]
    good = run.get_sample("a")["frames"]
    assert bad
    assert good
    assert sorted([*(row["frame_index"] for row in bad), *(row["frame_index"] for row in good)]) == list(range(50))
    assert [row["path"] for row in good] == [f"frames/a/{number:04d}.jpg" for number in range(len(good))]
    right = {row["frame_index"]: row["sha256"] for row in whole.get_sample("a")["frames"]}
    assert all(row["sha256"] == right[row["frame_index"]] for row in good)
    assert {"source": "support", "requested_seconds": bad[0]["frame_index"] / 25}.items() <= bad[0].items()
    assert "damaged" in bad[0]["reason"]
    assert run.get_sample("b") == whole.get_sample("b")
    assert run.result.values["bad_frames"] == len(bad)
    assert run.result.values["truncated"] is False


def test_on_damage_fail_rejects_a_damaged_video(clip: Path, stage: Stage, tmp_path: Path) -> None:
    path = write_damaged_clip(clip, tmp_path / "damaged.mp4")
    with pytest.raises(
        BadInput, match=r"^damaged\.mp4: frames \d+, \d+.* cannot be read; the first .*--on-damage skip"
    ):
        stage(path, {"a": []}, max_frames=50, on_damage="fail")
    assert stage(path, {"a": [0.0]}, strategy="support", on_damage="fail").result.values["frames"] == 1


def test_video_without_readable_frames_fails(clip: Path, stage: Stage, tmp_path: Path) -> None:
    path = write_damaged_clip(clip, tmp_path / "damaged.mp4")
    bad = stage(path, {"a": []}, max_frames=50).get_sample("a")["bad_frames"][0]["frame_index"]
    with pytest.raises(BadInput, match=rf"^damaged\.mp4: frame {bad} cannot be read"):
        stage(path, {"a": [bad / 25]}, strategy="support")


def test_truncated_video_gives_its_remaining_frames(clip: Path, stage: Stage, tmp_path: Path) -> None:
    run = stage(write_truncated_clip(clip, tmp_path / "short.mp4"), {"a": [0.4, 1.9, 5.0]}, max_frames=4)
    values, sample = run.result.values, run.get_sample("a")
    assert values["truncated"] is True
    assert "of at least" in values["missing"]
    assert values["stated_seconds"] == 2.0
    assert values["duration_seconds"] < 1.6
    assert values["bad_frames"] == 1
    assert sample["bad_frames"] == [
        {
            "source": "support",
            "requested_seconds": 1.9,
            "frame_index": None,
            "reason": "is missing: the file is truncated before this time",
        }
    ]
    assert sample["outside_seconds"] == [5.0]
    whole = stage(clip, {"a": [row["actual_seconds"] for row in sample["frames"]]}, strategy="support")
    assert [row["sha256"] for row in sample["frames"]] == [row["sha256"] for row in whole.get_sample("a")["frames"]]


def test_on_damage_fail_rejects_a_truncated_video(clip: Path, stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^short\.mp4: is truncated: .*--on-damage skip"):
        stage(write_truncated_clip(clip, tmp_path / "short.mp4"), {"a": []}, on_damage="fail")


@pytest.mark.parametrize(("share", "verified"), [(0.0, 0), (0.01, 1), (0.5, 4), (1.0, 8)])
def test_verification_counts_the_verified_frames(share: float, verified: int, clip: Path, stage: Stage) -> None:
    run = stage(clip, {"a": [], "b": []}, verify_frames=share)
    assert run.result.values["verified_frames"] == verified


def test_verification_accepts_damaged_and_truncated_videos(clip: Path, stage: Stage, tmp_path: Path) -> None:
    for path in (
        write_damaged_clip(clip, tmp_path / "damaged.mp4"),
        write_truncated_clip(clip, tmp_path / "short.mp4"),
    ):
        values = stage(path, {"a": []}, max_frames=50, verify_frames=1.0).result.values
        assert values["verified_frames"] == values["frames"] > 10


@pytest.mark.parametrize("change", ["pixels", "index", "time"])
def test_verification_catches_a_wrong_frame(
    change: str, clip: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replace a frame by the neighbor's image, a changed pixel, or a changed time."""
    read = VideoReader.read_frames_or_damage

    def alter_last_frame(self: VideoReader, indices: list[int]) -> Any:
        for frame in read(self, indices):
            assert isinstance(frame, FrameImage)
            if frame.frame_index != indices[-1]:
                yield frame
            elif change == "pixels":
                image = frame.image.copy()
                image[0, 0, 0] ^= 1
                yield replace(frame, image=image)
            elif change == "time":
                yield replace(frame, pts=frame.pts + 1)
            else:
                [other] = list(read(self, [frame.frame_index - 1]))
                assert isinstance(other, FrameImage)
                yield replace(frame, image=other.image)

    monkeypatch.setattr(VideoReader, "read_frames_or_damage", alter_last_frame)
    with pytest.raises(FrameMismatchError, match=r"^clip\.mp4: 1 of 8 verified frames differ .*frames 46;"):
        stage(clip, {"a": []}, verify_frames=1.0)


def test_verification_chooses_the_same_frames_in_every_run() -> None:
    chosen = choose_frames("video-1", range(100), 0.1)
    assert len(chosen) == 10
    assert chosen == choose_frames("video-1", list(reversed(range(100))), 0.1)
    assert chosen != choose_frames("video-2", range(100), 0.1)
    assert choose_frames("video-1", range(100), 1.0) == set(range(100))


@pytest.fixture(scope="module")
def late_clip(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the clip with audio that starts 1.5 s before the video."""
    path = tmp_path_factory.mktemp("late") / "late.mkv"
    audio = ["-f", "lavfi", "-i", "sine=d=3.5", "-itsoffset", "1.5", "-i", str(clip), "-map", "1:v", "-map", "0:a"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *audio, "-c:v", "copy", str(path)]
    subprocess.run(command, check=True)
    return path


def decode_at(path: Path, seconds: float) -> Any:
    """Return the image that the ffmpeg program shows at ``seconds``."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-ss", str(seconds), "-i", str(path), "-frames:v", "1"]
    data = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "bgr24", "-"], check=True, capture_output=True)
    return np.frombuffer(data.stdout, np.uint8).reshape(90, 160, 3)


def test_times_count_from_the_start_of_the_file_as_in_ffmpeg(late_clip: Path, stage: Stage) -> None:
    run = stage(late_clip, {"a": [2.02, 1.4]}, strategy="support", image_format="png")
    (row,) = run.get_sample("a")["frames"]
    image = cv2.imdecode(np.frombuffer(run.files[row["path"]], np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(image, decode_at(late_clip, 2.02))
    assert (row["frame_index"], row["actual_seconds"]) == (13, pytest.approx(2.02))
    assert run.get_sample("a")["outside_seconds"] == [1.4]
    assert run.get_sample("a")["offset_seconds"] == run.result.values["offset_seconds"] == 1.5


def test_times_can_count_from_the_first_frame(late_clip: Path, stage: Stage) -> None:
    run = stage(late_clip, {"a": [0.5]}, strategy="support", time_origin="first")
    (row,) = run.get_sample("a")["frames"]
    assert (row["frame_index"], row["actual_seconds"]) == (12, 0.48)
    assert run.result.values["offset_seconds"] == 1.5


@pytest.mark.parametrize("name", ["kivy_cityCC0.mpg", "test_non_zero_start.mp4"])
def test_file_whose_only_stream_starts_late_has_no_offset(name: str, stage: Stage) -> None:
    with av.open(str(VIDEO / name)) as container:
        assert container.start_time > 0
    run = stage(VIDEO / name, {"a": [0.0]}, strategy="support", resize="32")
    assert [row["frame_index"] for row in run.get_sample("a")["frames"]] == [0]
    assert run.result.values["offset_seconds"] == 0


@pytest.mark.parametrize("name", ["nasa_13013.mp4", "test_non_zero_start.mp4", "kivy_cityCC0.mpg"])
def test_keyframes_are_those_of_a_full_decode(name: str, stage: Stage) -> None:
    path = VIDEO / name
    with av.open(str(path)) as container:
        flags = [frame.key_frame for frame in container.decode(container.streams.best("video"))]
    run = stage(path, {"a": []}, max_frames=None, strategy="rule", keyframes=True, resize="32")
    rows = run.get_sample("a")["frames"]
    assert [row["frame_index"] for row in rows] == [index for index, flag in enumerate(flags) if flag]
    assert {row["keyframe_distance_frames"] for row in rows} == {0}


def test_all_frames_have_numbers_of_one_length(clip: Path, stage: Stage) -> None:
    run = stage(clip, {"a": []}, max_frames=None, all=True, resize="16")
    assert [row["path"] for row in run.get_sample("a")["frames"]] == [
        f"frames/a/{number:04d}.jpg" for number in range(50)
    ]


@pytest.fixture(scope="module")
def shots_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three real scenes of 25 frames each, one after the other."""
    path = tmp_path_factory.mktemp("shots") / "shots.mp4"
    names = ["mpy_chaplin.mp4", "nasa_13013.mp4", "dash_solidWhiteRight.mp4"]
    inputs = [word for name in names for word in ("-i", str(VIDEO / name))]
    scale = "trim=end_frame=25,scale=320:180,setsar=1,fps=25,setpts=N/25/TB"
    chains = ";".join(f"[{number}:v]{scale}[s{number}]" for number in range(3)) + ";[s0][s1][s2]concat=n=3"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *inputs, "-filter_complex", chains]
    subprocess.run([*command, "-c:v", "libx264", str(path)], check=True)
    return path


def test_shots_are_those_of_pyscenedetect(shots_clip: Path, stage: Stage) -> None:
    import scenedetect

    scenes = scenedetect.detect(str(shots_clip), scenedetect.AdaptiveDetector())
    run = stage(shots_clip, {"a": [], "b": []}, max_frames=None, shots=2, resize="32")
    sample = run.get_sample("a")
    assert [first.frame_num for first, _ in scenes] == [0, 25, 50]
    assert sample["shot_seconds"] == [0.0, 1.0, 2.0]
    assert [row["frame_index"] for row in sample["frames"]] == [6, 18, 31, 43, 56, 68]
    assert {row["source"] for row in sample["frames"]} == {"shots"}
