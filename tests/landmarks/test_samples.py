"""Items from any input and layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.engine.contract.items import is_safe_id
from tasks.landmarks.samples import plan_samples, read_collection

ImageWriter = Callable[..., Path]


def test_item_of_a_manifest_row(tmp_path: Path, write_image: ImageWriter) -> None:
    for number in range(3):
        write_image(tmp_path / "train" / "a" / f"{number}.png")
    (tmp_path / "m.csv").write_text("path,name,split,annotation,signer\ntrain/a,a,train,REGEN,S1\n")
    collection, problems = read_collection(tmp_path / "m.csv")
    assert not problems
    assert collection is not None
    (item,) = plan_samples(collection)
    assert item.id == "train.a"
    assert item.payload == {"split": "train", "name": "a", "media": "frames", "fps": 25.0}
    assert item.inputs == (str(tmp_path / "train" / "a"),)
    assert item.cost == 3.0
    assert item.fields == {"signer": "S1", "split": "train", "name": "a"}


def test_relative_input_gives_absolute_paths(
    tmp_path: Path, write_image: ImageWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "in" / "a" / "1.png")
    monkeypatch.chdir(tmp_path)
    collection, _ = read_collection(Path("in"))
    assert collection is not None
    assert plan_samples(collection)[0].inputs == (str(tmp_path / "in" / "a"),)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf"), 1e6])
def test_invalid_fps_is_a_problem(fps: float, tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
    collection, problems = read_collection(tmp_path, fps=fps)
    assert collection is None
    assert "--fps" in str(problems[0])


def test_fps_applies_to_image_folders(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
    collection, _ = read_collection(tmp_path, fps=30)
    assert collection is not None
    assert plan_samples(collection)[0].payload["fps"] == 30.0


def test_fps_with_only_videos_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"0")
    _, problems = read_collection(tmp_path, fps=30)
    assert "remove it: videos have their own frame rate" in str(problems[0])


@pytest.mark.parametrize(
    ("name", "message"),
    [("none", "does not exist"), ("clip.mp4", "is a video"), ("notes.txt", "a manifest ending in '.txt'")],
)
def test_input_that_is_neither_folder_nor_manifest_is_a_problem(name: str, message: str, tmp_path: Path) -> None:
    for file_name in ("clip.mp4", "notes.txt"):
        (tmp_path / file_name).write_bytes(b"0")
    collection, problems = read_collection(tmp_path / name)
    assert collection is None
    assert message in str(problems[0])


def test_similar_names_get_distinct_ids(tmp_path: Path, write_image: ImageWriter) -> None:
    names = ["SAME", "same", "a b", "ab", "a/b", "-5nEBVFY0nk", "_abC", "中文", "한국어", "x" * 200, "safe"]
    write_image(tmp_path / "p" / "1.png")
    rows = "".join(f"p,{name}\n" for name in names)
    (tmp_path / "m.csv").write_text(f"path,name\n{rows}", encoding="utf-8")
    collection, problems = read_collection(tmp_path / "m.csv")
    assert not problems
    assert collection is not None
    samples = collection.samples
    assert [sample.shown_name for sample in samples] == names
    assert [(item.name, item.path) for item in plan_samples(collection)] == [(name, "p") for name in names]
    for generated in ([sample.name for sample in samples], [sample.id for sample in samples]):
        assert all(map(is_safe_id, generated))
        assert len({text.lower() for text in generated}) == len(names)
    assert [sample.name for sample in samples if not sample.title] == ["ab", "safe"]


def test_dots_in_splits_and_names_give_distinct_ids(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "p" / "1.png")
    (tmp_path / "m.csv").write_text("path,name,split\np,b.c,a\np,c,a.b\n")
    collection, problems = read_collection(tmp_path / "m.csv")
    assert not problems
    assert collection is not None
    assert len({sample.id for sample in collection.samples}) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [("p,a,x\np,a,x\n", "a in x for both"), ("p,a,x\np,b,X\n", "x and X, which differ only in case")],
)
def test_names_with_the_same_files_are_problems(
    tmp_path: Path, write_image: ImageWriter, rows: str, message: str
) -> None:
    write_image(tmp_path / "p" / "1.png")
    (tmp_path / "m.csv").write_text(f"path,name,split\n{rows}")
    collection, problems = read_collection(tmp_path / "m.csv")
    assert collection is None
    assert [message in str(problem) for problem in problems] == [True]


def write_videos(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"0")


def test_input_one_level_above_the_splits_is_a_problem(tmp_path: Path) -> None:
    """All samples would be in one split."""
    write_videos(tmp_path, "corpus/train/1.mp4", "corpus/test/2.mp4")
    collection, problems = read_collection(tmp_path)
    assert collection is None
    (problem,) = problems
    assert "the splits test, train are in its folder corpus" in str(problem)
    assert "use corpus as --input" in str(problem)


def test_class_named_like_a_split_is_no_problem(tmp_path: Path) -> None:
    write_videos(tmp_path, "S1/train/1.mp4", "S1/bus/2.mp4")
    collection, problems = read_collection(tmp_path)
    assert not problems
    assert collection is not None


def test_folder_in_a_split_is_the_class_of_its_samples(tmp_path: Path, write_image: ImageWriter) -> None:
    write_videos(tmp_path / "videos", "train/hello/1.mp4", "train/thank you/day/1.mp4", "train/2.mp4")
    collection, problems = read_collection(tmp_path / "videos")
    assert not problems
    assert collection is not None
    classes = {sample.path: sample.fields.get("class") for sample in collection.samples}
    assert classes == {"train/hello/1.mp4": "hello", "train/thank you/day/1.mp4": "thank you/day", "train/2.mp4": None}
    write_image(tmp_path / "images" / "hello" / "1" / "0.png")
    write_image(tmp_path / "images" / "hello" / "2" / "0.png")
    collection, problems = read_collection(tmp_path / "images")
    assert not problems
    assert collection is not None
    assert [(sample.shown_name, sample.fields["class"]) for sample in collection.samples] == [
        ("hello/1", "hello"),
        ("hello/2", "hello"),
    ]


def read_rows(folder: Path, text: str):
    write_videos(folder, "a.mp4", "b.mp4")
    (folder / "m.csv").write_text(text)
    return read_collection(folder / "m.csv")


def test_rows_of_parts_of_one_video_give_different_items(tmp_path: Path) -> None:
    collection, problems = read_rows(tmp_path, "path,start,end\na.mp4,1.5,3\na.mp4,0:03,1:02.5\na.mp4,63,\na.mp4,,1\n")
    assert not problems
    assert collection is not None
    assert not collection.notes
    items = plan_samples(collection)
    assert [(item.payload.get("start"), item.payload.get("end")) for item in items] == [
        (1.5, 3.0),
        (3.0, 62.5),
        (63.0, None),
        (None, 1.0),
    ]
    assert len({item.id for item in items}) == 4
    assert items[0].name == "a_1.5-3"
    assert items[0].fields["start"] == "1.5"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("x,2", "start: 'x'; allowed: seconds"),
        ("-1,2", "start"),
        ("1:2:3:4,", "start"),
        ("inf,", "start"),
        ("3,3", "end"),
        ("3,2", "a time after start"),
    ],
)
def test_invalid_part_is_a_problem(tmp_path: Path, cells: str, message: str) -> None:
    collection, problems = read_rows(tmp_path, f"path,start,end\nb.mp4,0,1\na.mp4,{cells}\n")
    assert collection is None
    (problem,) = problems
    assert "m.csv line 3, " in str(problem)
    assert message in str(problem)


def test_part_of_an_image_folder_is_a_problem(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "images" / "1.png")
    _, (problem,) = read_rows(tmp_path, "path,start,end\nimages,0,1\n")
    assert "a part of an image folder" in str(problem)


def test_rows_that_name_one_whole_video_are_noted(tmp_path: Path) -> None:
    collection, problems = read_rows(tmp_path, "path,name\na.mp4,x\na.mp4,y\nb.mp4,z\n")
    assert not problems
    assert collection is not None
    (note,) = collection.notes
    assert "2 rows name the video 'a.mp4': each row gets all of its frames" in note
