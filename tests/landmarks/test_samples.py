"""From input to items, whatever the layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.landmarks.samples import read_collection, sample_items

Picture = Callable[..., Path]


def test_items(tmp_path: Path, picture: Picture) -> None:
    for number in range(3):
        picture(tmp_path / "train" / "a" / f"{number}.png")
    (tmp_path / "m.csv").write_text("path,name,split,annotation,signer\ntrain/a,a,train,REGEN,S1\n")
    collection, problems = read_collection(tmp_path / "m.csv")
    assert not problems
    assert collection is not None
    (item,) = sample_items(collection)
    assert item.id == "train.a"
    assert item.payload == {"split": "train", "name": "a", "media": "frames", "fps": 25.0}
    assert item.inputs == (str(tmp_path / "train" / "a"),)
    assert item.cost == 3.0
    assert item.fields == {"signer": "S1", "split": "train", "name": "a"}


def test_items_of_a_relative_input(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "in" / "a" / "1.png")
    monkeypatch.chdir(tmp_path)
    collection, _ = read_collection(Path("in"))
    assert collection is not None
    assert sample_items(collection)[0].inputs == (str(tmp_path / "in" / "a"),)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf"), 1e6])
def test_impossible_fps(fps: float, tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a" / "1.png")
    collection, problems = read_collection(tmp_path, fps=fps)
    assert collection is None
    assert "--fps" in str(problems[0])


def test_fps_of_pictures(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a" / "1.png")
    collection, _ = read_collection(tmp_path, fps=30)
    assert collection is not None
    assert sample_items(collection)[0].payload["fps"] == 30.0


def test_fps_with_videos_only(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"0")
    _, problems = read_collection(tmp_path, fps=30)
    assert "leave it out: they have their own" in str(problems[0])


@pytest.mark.parametrize(
    ("name", "said"),
    [("none", "does not exist"), ("clip.mp4", "is a video"), ("notes.txt", "a manifest ending in '.txt'")],
)
def test_inputs_that_are_neither_folder_nor_manifest(name: str, said: str, tmp_path: Path) -> None:
    for there in ("clip.mp4", "notes.txt"):
        (tmp_path / there).write_bytes(b"0")
    collection, problems = read_collection(tmp_path / name)
    assert collection is None
    assert said in str(problems[0])
