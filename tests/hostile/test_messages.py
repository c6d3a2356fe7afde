"""Messages about files that are refused because of their type or declared size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import Item
from tasks.engine.contract.manifest import read_table
from tasks.engine.contract.stage import Workspace
from tasks.frames.manifest import read_samples
from tasks.frames.params import FramesParams
from tasks.frames.stage import FramesStage
from tasks.media.reading import VideoReader
from tests.hostile.corpus import create_gif


def get_refusal(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        VideoReader(path)
    return str(caught.value)


def test_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    assert get_refusal(tmp_path / "a.mp4") == "a.mp4: is a pipe or a device, not a video file"


def test_frame_of_256_million_pixels_is_refused(tmp_path: Path) -> None:
    y4m = tmp_path / "a.y4m"
    y4m.write_bytes(b"YUV4MPEG2 W16000 H16000 F10:1 C420\nFRAME\n" + bytes(1000))
    assert get_refusal(y4m) == "a.y4m: its frames are 16000 x 16000; at most 67,108,864 pixels per frame are read"


def test_frame_too_large_for_its_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(create_gif(20_000, 16))
    item = Item("a", {"video": "a.gif", "samples": [{"id": "a", "support_seconds": []}]}, (str(tmp_path / "a.gif"),))
    work = Workspace(tmp_path / "outputs", tmp_path / "scratch", tmp_path)
    stage = FramesStage(FramesParams(image_format="webp"))
    with pytest.raises(BadInput, match=r"20000x16 is too large for webp \(at most 16383 px\); use --resize"):
        stage.run(item, work)
    stage = FramesStage(FramesParams(image_format="webp", resize="1000"))
    assert stage.run(item, work).values["frames"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"id": "a", "id": "b"}]', "the key 'id' twice in one object"),
        ("[" * 100_000, "broken JSON"),
    ],
    ids=["key-twice", "deep"],
)
def test_invalid_json_is_a_problem(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    (problem,) = read_table(tmp_path / "a.json").problems
    assert message in str(problem)


def test_scan_refuses_names_with_control_characters(tmp_path: Path) -> None:
    (tmp_path / "clear\x1b[2J.mp4").touch()
    (tmp_path / "good.mp4").touch()
    samples, problems = read_samples(None, tmp_path)
    assert problems == []
    assert {sample.video: sample.refusal for sample in samples} == {
        "good.mp4": "",
        r"clear\x1b[2J.mp4": r"clear\x1b[2J.mp4: its name has control or hidden characters; rename it",
    }
