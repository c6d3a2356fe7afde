"""From input to items, whatever the layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.engine.contract.items import is_safe_id
from tasks.landmarks.samples import read_collection, sample_items

ImageWriter = Callable[..., Path]


def test_items(tmp_path: Path, write_image: ImageWriter) -> None:
    for number in range(3):
        write_image(tmp_path / "train" / "a" / f"{number}.png")
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


def test_items_of_a_relative_input(tmp_path: Path, write_image: ImageWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "in" / "a" / "1.png")
    monkeypatch.chdir(tmp_path)
    collection, _ = read_collection(Path("in"))
    assert collection is not None
    assert sample_items(collection)[0].inputs == (str(tmp_path / "in" / "a"),)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf"), 1e6])
def test_impossible_fps(fps: float, tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
    collection, problems = read_collection(tmp_path, fps=fps)
    assert collection is None
    assert "--fps" in str(problems[0])


def test_fps_of_pictures(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
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


def test_samples_whose_names_look_alike_stay_apart(tmp_path: Path, write_image: ImageWriter) -> None:
    names = ["SAME", "same", "a b", "ab", "a/b", "-5nEBVFY0nk", "_abC", "中文", "한국어", "x" * 200, "safe"]
    write_image(tmp_path / "p" / "1.png")
    rows = "".join(f"p,{name}\n" for name in names)
    (tmp_path / "m.csv").write_text(f"path,name\n{rows}", encoding="utf-8")
    collection, problems = read_collection(tmp_path / "m.csv")
    assert not problems
    assert collection is not None
    samples = collection.samples
    assert [sample.shown_name for sample in samples] == names
    assert [(item.name, item.path) for item in sample_items(collection)] == [(name, "p") for name in names]
    for made in ([sample.name for sample in samples], [sample.id for sample in samples]):
        assert all(map(is_safe_id, made))
        assert len({text.lower() for text in made}) == len(names)
    assert [sample.name for sample in samples if not sample.title] == ["ab", "safe"]


def test_a_dot_in_a_split_does_not_mix_samples_up(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "p" / "1.png")
    (tmp_path / "m.csv").write_text("path,name,split\np,b.c,a\np,c,a.b\n")
    collection, problems = read_collection(tmp_path / "m.csv")
    assert not problems
    assert collection is not None
    assert len({sample.id for sample in collection.samples}) == 2


@pytest.mark.parametrize(
    ("rows", "told"),
    [("p,a,x\np,a,x\n", "a in x for both"), ("p,a,x\np,b,X\n", "x and X, which differ in case alone")],
)
def test_names_that_would_share_files_are_problems(
    tmp_path: Path, write_image: ImageWriter, rows: str, told: str
) -> None:
    write_image(tmp_path / "p" / "1.png")
    (tmp_path / "m.csv").write_text(f"path,name,split\n{rows}")
    collection, problems = read_collection(tmp_path / "m.csv")
    assert collection is None
    assert [told in str(problem) for problem in problems] == [True]
