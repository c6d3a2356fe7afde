"""The frames stage on real videos: right files, right rows, one decode, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tasks.engine.errors import BadInput
from tasks.frames import stage as stage_module
from tasks.media.decoding import RunDecoder
from tasks.media.reading import UnreliableIndexError, VideoReader

Stage = Callable[..., Any]


def test_files_and_rows(clip: Path, stage: Stage) -> None:
    ran = stage(clip, {"a": [0.12, 1.0, -1.0, 2.0, float("nan")], "b": []}, max_frames=4)
    assert sorted(ran.files) == [f"frames/{sample}/{number:04d}.jpg" for sample in "ab" for number in range(4)]
    rows = ran.sample("a")["frames"]
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
        assert row["sha256"] == hashlib.sha256(ran.files[row["path"]]).hexdigest()
        assert (row["width_px"], row["height_px"]) == (160, 90)
    assert ran.sample("a")["outside_seconds"] == [-1.0, 2.0, None]
    assert ran.sample("b")["video"] == "clip.mp4"
    json.dumps(ran.result.detail, allow_nan=False)


def test_columns(clip: Path, stage: Stage) -> None:
    values = stage(clip, {"a": [0.1, 0.1, 9.0], "b": [0.0, 0.5, 1.0]}, max_frames=2).result.values
    assert values == {
        "samples": 2,
        "frames": 4,
        "outside_timestamps": 1,
        "repeated_timestamps": 1,
        "dropped_timestamps": 1,
        "width_px": 160,
        "height_px": 90,
        "fps": 25.0,
        "duration_seconds": 2.0,
        "video_frames": 50,
        "video_codec": "h264",
    }


def test_png_holds_the_very_pixels(clip: Path, stage: Stage) -> None:
    ran = stage(clip, {"a": []}, image_format="png")
    rows = ran.sample("a")["frames"]
    with VideoReader(clip) as reader:
        for row, frame in zip(rows, reader.frames([row["frame_index"] for row in rows]), strict=True):
            picture = cv2.imdecode(np.frombuffer(ran.files[row["path"]], np.uint8), cv2.IMREAD_COLOR)
            np.testing.assert_array_equal(picture, frame.image)


@pytest.mark.parametrize("image_format", ["jpg", "png", "webp"])
def test_same_bytes_in_two_runs(image_format: str, clip: Path, stage: Stage) -> None:
    samples = {"a": [0.3, 1.7], "b": [1.0]}
    first, second = (stage(clip, samples, image_format=image_format, resize="80") for _ in range(2))
    assert first == second


def test_a_sample_gets_the_same_frames_alone_and_beside_others(clip: Path, stage: Stage) -> None:
    together = stage(clip, {"a": [0.3], "b": [1.0, 1.04], "c": []})
    alone = stage(clip, {"b": [1.0, 1.04]})
    assert together.sample("b") == alone.sample("b")
    assert alone.files == {path: data for path, data in together.files.items() if path.startswith("frames/b/")}


def test_a_video_that_samples_share_is_decoded_once(clip: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    feed = RunDecoder._fed

    def counting(self: RunDecoder, packet: Any, position: int) -> Any:
        if packet is not None:
            fed.append(position)
        return feed(self, packet, position)

    monkeypatch.setattr(RunDecoder, "_fed", counting)
    stage(clip, {str(number): [number / 10] for number in range(20)})
    assert fed == sorted(set(fed))


@pytest.mark.parametrize(
    ("resize", "size"), [(None, (160, 90)), ("80", (80, 45)), ("320", (160, 90)), (32, (32, 18)), ("50x60", (50, 60))]
)
def test_resize(resize: str | int | None, size: tuple[int, int], clip: Path, stage: Stage) -> None:
    ran = stage(clip, {"a": []}, max_frames=1, resize=resize)
    (row,) = ran.sample("a")["frames"]
    assert (row["width_px"], row["height_px"]) == size
    picture = cv2.imdecode(np.frombuffer(ran.files[row["path"]], np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1::-1] == size


def test_support_alone_may_find_nothing(clip: Path, stage: Stage) -> None:
    ran = stage(clip, {"a": [], "b": [99.0]}, strategy="support")
    assert ran.files == {}
    assert ran.result.values["frames"] == 0


def test_a_misleading_index_leaves_no_stray_files(clip: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = VideoReader.frames

    def misled(self: VideoReader, indices: list[int]) -> Any:
        yield from frames(self, indices)
        if type(self._listing).__name__ == "IndexedListing":
            raise UnreliableIndexError("a frame did not come")

    expected = stage(clip, {"a": [0.5]})
    monkeypatch.setattr(stage_module.VideoReader, "frames", misled)
    assert stage(clip, {"a": [0.5]}).files == expected.files


def test_a_damaged_video_is_bad_input(clip: Path, stage: Stage, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    damaged.write_bytes(data)
    with pytest.raises(BadInput, match=r"^damaged\.mp4: "):
        stage(damaged, {"a": []}, max_frames=50)
