"""Manifests of samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.landmarks.samples import Collection, read_collection

ImageWriter = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, write_image: ImageWriter) -> Path:
    """Create a folder with two image samples, one in PHOENIX's layout, and a video."""
    for place in ("clips/a/1.png", "clips/a/2.png", "clips/b/1/1.png"):
        write_image(tmp_path / place)
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "c.mp4").write_bytes(b"0" * 50_000)
    return tmp_path


def write_manifest(root: Path, *rows: dict[str, Any]) -> Path:
    path = root / "manifest.json"
    path.write_text(json.dumps(rows))
    return path


def read(path: Path, **options: Any) -> Collection:
    collection, problems = read_collection(path, **options)
    assert not problems
    assert collection is not None
    return collection


def read_problems(path: Path, **options: Any) -> str:
    collection, problems = read_collection(path, **options)
    assert collection is None
    return "\n".join(map(str, problems))


def test_row_with_all_columns(root: Path) -> None:
    row = {"id": "x 1", "path": "clips/a", "split": "val", "fps": 50, "annotation": "REGEN", "signer": "S1", "age": 3}
    collection = read(write_manifest(root, row))
    (sample,) = collection.samples
    assert collection.layout == "manifest"
    assert collection.root == root
    assert sample.name.startswith("x-1-")
    assert sample.id == f"dev.{sample.name}"
    assert (sample.split, sample.path, sample.media, sample.fps, sample.cost) == ("dev", "clips/a", "frames", 50.0, 2.0)
    assert sample.annotation == "REGEN"
    assert sample.fields == {"signer": "S1", "age": 3}


def test_row_with_only_a_path(root: Path) -> None:
    first, second, third = read(
        write_manifest(root, *({"path": path} for path in ("clips/b", "films/c.mp4", "clips/a")))
    ).samples
    assert first.path == "clips/b/1"
    assert first.name.startswith("clips-b-")
    assert (second.media, second.fps, second.cost) == ("video", None, 10.0)
    assert second.name.startswith("films-c-")
    assert (third.split, third.fps, third.annotation) == ("all", 25.0, None)


def test_csv_cells_are_parsed_from_text(root: Path) -> None:
    path = root / "manifest.csv"
    path.write_text("name,path,split,fps,signer\n7,clips/a,train,29.97,\n8,films/c.mp4,,30,S2\n")
    first, second = read(path).samples
    assert (first.name, first.fps, first.fields) == ("7", 29.97, {"signer": None})
    assert (second.split, second.fps, second.fields) == ("all", None, {"fps": "30", "signer": "S2"})


def test_nan_in_parquet_is_a_problem(root: Path) -> None:
    pq.write_table(pa.table({"path": ["clips/a"], "fps": [float("nan")], "name": ["a"]}), root / "m.parquet")
    message = read_problems(root / "m.parquet")
    assert "fps: nan; allowed: a number above 0" in message


def test_fps_option_applies_to_rows_without_fps(root: Path) -> None:
    rows = [{"path": "clips/a", "fps": 50}, {"path": "clips/b"}, {"path": "films/c.mp4"}]
    assert [sample.fps for sample in read(write_manifest(root, *rows), fps=30).samples] == [50.0, 30.0, None]


def test_manifest_may_have_other_split_names(root: Path) -> None:
    path = write_manifest(root, {"path": "clips/a", "split": "fold-1"}, {"path": "clips/b", "split": "fold-2"})
    assert [sample.split for sample in read(path, split="fold-2").samples] == ["fold-2"]
    assert "allowed: all, fold-1, fold-2" in read_problems(path, split="train")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"path": "clips/none"}, "'clips/none' is missing"),
        ({"path": ""}, "path: nothing; allowed: a value in every row"),
        ({"name": "a"}, "no column 'path'"),
        ({"path": 7}, "path: 7; allowed: a relative path"),
        ({"path": "/etc"}, "a relative path inside its folder"),
        ({"path": "clips/../.."}, "a relative path inside its folder"),
        ({"path": "../c.mp4"}, "'..' in '../c.mp4'"),
        ({"path": "a" * 5000}, "cannot be read (File name too long)"),
        ({"path": "clips/a/1.png"}, "use the folder that contains it"),
        ({"path": "manifest.json"}, "the file 'manifest.json'; allowed: a folder of images, or a file ending in"),
        ({"path": "clips/a", "split": "../up"}, "split: '../up'"),
        ({"path": "clips/a", "fps": 0}, "fps: 0; allowed: a number above 0 and up to 1000"),
        ({"path": "clips/a", "fps": "fast"}, "fps: 'fast'"),
        ({"path": "clips/a", "fps": True}, "fps: True"),
        ({"path": "clips/a", "annotation": ["A", "B"]}, "annotation: ['A', 'B']; allowed: text"),
        ({"path": "clips/a", "name": ["a"]}, "name: ['a']"),
        ({"path": "clips/a", "name": "a\u001b[31m"}, "text without control or hidden characters"),
        ({"path": "clips/a", "name": "a", "id": "b"}, "the columns id and name; allowed: one of the two"),
    ],
)
def test_invalid_rows_are_problems(row: dict[str, Any], message: str, root: Path) -> None:
    assert message in read_problems(write_manifest(root, row))


def test_all_problems_are_listed(root: Path) -> None:
    path = write_manifest(root, {"path": "none"}, {"path": "clips/a", "fps": -1}, {"path": "clips/b", "split": "?"})
    assert read_problems(path).count("\n") == 2


def test_two_samples_with_one_name_are_a_problem(root: Path) -> None:
    path = write_manifest(root, {"path": "clips/a", "name": "x"}, {"path": "clips/b", "name": "x"})
    assert "x in all for both 'clips/a' and 'clips/b/1'" in read_problems(path)


def test_symlink_that_points_outside_is_a_problem(
    root: Path, write_image: ImageWriter, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_image(elsewhere / "1.png")
    (root / "out").symlink_to(elsewhere)
    assert "'out' is a symlink that points outside" in read_problems(write_manifest(root, {"path": "out"}))


def test_layout_option_with_a_manifest_is_a_problem(root: Path) -> None:
    assert "folders with the manifest manifest.json; allowed: auto" in read_problems(
        write_manifest(root, {"path": "clips/a"}), layout="folders"
    )


def test_empty_manifest_is_a_problem(root: Path) -> None:
    path = write_manifest(root)
    path.write_text("")
    assert "the file is empty; allowed: at least one row; check --input" in read_problems(path)
