"""Test every line about an invalid manifest word by word: what was given, what is allowed, what to do."""

from __future__ import annotations

import json
import os
from datetime import time
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.contract import manifest
from tasks.engine.contract.errors import Problem
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.manifest import InputFolder, Row, Table, cap_problems, read_ids, read_table, shorten

IDS = "a whole number, or text without control or hidden characters and '..', of at most 4096 characters"
AS_LIST = "allowed: a list of objects, or {'data': [...]}"


def read_problem_lines(path: Path, content: str | bytes) -> list[str]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [str(problem).replace(str(path.parent), "DIR") for problem in read_table(path).problems]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.xlsx",
            "x",
            (
                "DIR/a.xlsx: a manifest ending in '.xlsx'; "
                "allowed: a file ending in .json, .jsonl, .ndjson, .csv, .tsv, .parquet"
            ),
        ),
        ("a.csv", " \n", "DIR/a.csv: the file is empty; allowed: at least one row; check --manifest"),
        ("a.json", "[]", "DIR/a.json: no rows; allowed: at least one row; check --manifest"),
        ("a.json", "3", f"DIR/a.json: 3; {AS_LIST}; put the rows into a list"),
        (
            "a.json",
            '{"b": 1, "a": 2}',
            f"DIR/a.json: an object with the keys ['a', 'b']; {AS_LIST}; put the rows into a list",
        ),
        (
            "a.json",
            '[{"id": 1, "id": 2}]',
            f"DIR/a.json: broken JSON: the key 'id' twice in one object; {AS_LIST}; correct the file",
        ),
        ("a.json", '[{}, "b"]', "a.json row 2: 'b'; allowed: an object with a value for each column; correct the row"),
        (
            "a.jsonl",
            '{"n": 1}\n\n{"n": 1, "m": 2, "m": 3}\n',
            (
                "a.jsonl line 3: broken JSON: the key 'm' twice in one object; "
                "allowed: one JSON object a line; correct the line"
            ),
        ),
        ("a.csv", b"\xff\xfea\0", "DIR/a.csv: UTF-16 text; allowed: UTF-8 text; save the file again as UTF-8"),
        ("a.jsonl", b"\xfe\xff\0a", "DIR/a.jsonl: UTF-16 text; allowed: UTF-8 text; save the file again as UTF-8"),
        (
            "a.tsv",
            b"a\n\n\xff",
            "DIR/a.tsv: a byte that is not UTF-8 in line 3; allowed: UTF-8 text; save the file again as UTF-8",
        ),
        (
            "a.json",
            b"\xff",
            "DIR/a.json: a byte that is not UTF-8 in line 1; allowed: UTF-8 text; save the file again as UTF-8",
        ),
        ("a.csv", "a,b\n1,2,3\n", "a.csv line 2: 3 cells; allowed: 2 cells, as in the header; correct the line"),
        (
            "a.csv",
            "b,a,b,\n1,2,3,4\n",
            (
                "a.csv line 1: columns without a name of their own: ['', 'b']; "
                "allowed: a name for each column, each once; rename the columns"
            ),
        ),
        ("a.csv", 'a,b\n1,"2\n', "a.csv line 2: unexpected end of data; allowed: CSV text; correct the line"),
        (
            "a.parquet",
            b"x" * 8 + b"PAR1",
            "DIR/a.parquet: broken Parquet: Couldn't deserialize thrift",
        ),
    ],
)
def test_message_about_an_invalid_file(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    found = read_problem_lines(tmp_path / name, content)
    assert len(found) == 1
    if name == "a.parquet":  # the rest is the library's
        assert found[0].startswith("DIR/a.parquet: broken Parquet: ")
        assert found[0].endswith("; allowed: a Parquet file; write the file again")
    else:
        assert found == [said]


def test_message_about_an_unreadable_file(tmp_path: Path) -> None:
    (problem,) = read_table(tmp_path / "a.json").problems
    said = "cannot be read (No such file or directory); allowed: a readable file; check --manifest"
    assert str(problem) == f"{tmp_path / 'a.json'}: {said}"


def test_valid_rows_among_invalid_ones_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id , n\na,1\nb\n"c\nd",\n\ne,"x"y\n')
    table = read_table(path)
    assert [(row.where, dict(row.values), row.typed) for row in table.rows] == [
        ("a.csv line 2", {"id": "a", "n": "1"}, False),
        ("a.csv line 4", {"id": "c\nd", "n": None}, False),
    ]
    assert [str(problem) for problem in table.problems] == [
        "a.csv line 3: 1 cells; allowed: 2 cells, as in the header; correct the line",
        "a.csv line 7: ',' expected after '\"'; allowed: CSV text; correct the line",
    ]


def test_json_rows_are_numbered_from_one(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"data": [{"n": 1}, {"m": 2}]}')
    table = read_table(tmp_path / "a.json")
    assert table.rows == (Row("a.json row 1", {"n": 1}), Row("a.json row 2", {"m": 2}))
    assert table.columns == ("n", "m")


def test_messages_about_ids() -> None:
    given = [{"key": "a"}, {"key": "a"}, {"key": True}, {"key": "../x"}, {"key": ""}, {}]
    ids, problems = read_ids((Row(f"t line {place}", values) for place, values in enumerate(given)), "key")
    assert ids == ["a", None, None, None, None, None]
    assert [str(problem) for problem in problems] == [
        "t line 1, key: 'a' again, as in t line 0; allowed: each id once; rename or remove one of the two",
        f"t line 2, key: True; allowed: {IDS}; rename it",
        f"t line 3, key: '../x'; allowed: {IDS}; rename it",
    ]


def test_messages_about_missing_columns() -> None:
    table = Table((Row("t line 2", {"a": "x", "c\x1b": ""}), Row("t line 3", {"a": None, "c\x1b": 0})))
    found = manifest.find_missing_columns(table, ("b", "a", "c\x1b"), "t.csv")
    assert [str(problem) for problem in found] == [
        (
            "t.csv: no column 'b'; allowed: the columns b, a, c\\x1b; "
            "its columns are a, c\\x1b; add 'b' or rename the column that holds it"
        ),
        "t line 3, a: nothing; allowed: a value in every row; fill it in or remove the row",
        "t line 2, c\\x1b: nothing; allowed: a value in every row; fill it in or remove the row",
    ]
    (problem,) = manifest.find_missing_columns(Table(), ("b",), "t.csv")
    assert problem.advice == "its columns are none; add 'b' or rename the column that holds it"


def test_messages_about_priorities() -> None:
    rows = [{"b": 1}, {"a": 2}]
    assert [str(problem) for problem in manifest.check_priority(Execution(priority="c"), rows)] == [
        "--priority: no column 'c'; allowed: a, b; name a column of the manifest"
    ]
    (problem,) = manifest.check_priority(Execution(priority="c"), [])
    said = "allowed: no value: the input has no table with extra columns; remove --priority"
    assert str(problem) == f"--priority: no column 'c'; {said}"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "a value of type bytes"),
        (bytearray(), "a value of type bytearray"),
        (float("inf"), "an infinite number"),
        ("\ud800", "text with half a character (a lone surrogate)"),
        ({"\ud800": 1}, "a name with half a character (a lone surrogate)"),
        ([[float("-inf")]], "an infinite number"),
    ],
)
def test_message_about_a_cell_that_json_cannot_represent(value: object, said: str) -> None:
    fields, problems = manifest.collect_extra_columns(Row("t line 2", {"id": 1, "x": value, "n": 2}), {"id"})
    assert fields == {"n": 2}
    allowed = "text, numbers, true, false, null, dates, and lists and objects of these"
    assert problems == [Problem("t line 2, x", said, allowed, "leave the column out or change its type")]


def nest(depth: int, as_list: bool) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if as_list else {"a": value}
    return value


@pytest.mark.parametrize("as_list", [True, False])
def test_cells_may_have_fifty_levels(as_list: bool) -> None:
    value = nest(50, as_list)
    assert manifest.convert_to_json(value) == value
    with pytest.raises(ValueError, match=r"^lists and objects nested more than 50 deep$"):
        manifest.convert_to_json(nest(51, as_list))


def test_names_and_times_become_text() -> None:
    assert manifest.convert_to_json({1: time(1, 2), "n": [float("nan"), 1.5]}) == {"1": "01:02:00", "n": [None, 1.5]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 80, repr("x" * 80)),
        ("x" * 81, repr("x" * 77 + "...")),
        (["x" * 76], str(["x" * 76])),
        (["x" * 77], "['" + "x" * 75 + "..."),
        ("e\x1b", "'e\\x1b'"),
        (3, "3"),
    ],
)
def test_given_values_are_shortened_to_eighty_characters(value: object, text: str) -> None:
    assert shorten(value) == text


def test_too_deeply_nested_values_are_shown_by_type() -> None:
    value: Any = nest(100_000, as_list=True)
    assert shorten(value) == "a list nested too deep to show"
    while value != 1:  # level by level, because deleting all at a time overflows the stack
        (value,) = value


def test_similar_problems_are_capped() -> None:
    alike = [Problem(f"t line {place}", str(place), "texts", "rename it") for place in range(1, 6)]
    other = [Problem("t line 1", "x", "numbers"), Problem("u line 1", "x", "texts")]
    assert cap_problems([*alike, *other], 4) == [*alike, *other]
    assert [str(problem) for problem in cap_problems([*alike, *other], 3)] == [
        *(f"t line {place}: {place}; allowed: texts; rename it" for place in (1, 2, 3)),
        "and 2 more like it: the last is t line 5; allowed: texts",
        "t line 1: x; allowed: numbers",
        "u line 1: x; allowed: texts",
    ]


@pytest.fixture
def folder(tmp_path: Path) -> InputFolder:
    """Create a folder with a file, a folder, and symlinks that point outside."""
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    (root / "a.mp4").touch()
    (tmp_path / "out.mp4").touch()
    (root / "out.mp4").symlink_to(tmp_path / "out.mp4")
    (root / "ring.mp4").symlink_to(root / "ring.mp4")
    (root / "s3:").mkdir()
    (root / "s3:" / "b.mp4").touch()
    return InputFolder(root, "--videos-dir")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "3; allowed: a relative path in UTF-8; give the path relative to --videos-dir ROOT"),
        ("a\n", "'a\\n'; allowed: a name without control or hidden characters; rename the file"),
        (
            "s3://x/b.mp4",
            (
                "the URL 's3://x/b.mp4'; allowed: a relative path; "
                "download the file into ROOT, and give the path relative to --videos-dir ROOT"
            ),
        ),
        ("/a", "the absolute path '/a'; allowed: a relative path; give the path relative to --videos-dir ROOT"),
        ("C:a", "the absolute path 'C:a'; allowed: a relative path; give the path relative to --videos-dir ROOT"),
        (
            "sub/../a.mp4",
            (
                "'..' in 'sub/../a.mp4'; allowed: a path that stays in its folder; "
                "give the path relative to --videos-dir ROOT"
            ),
        ),
        ("b.mp4", "'b.mp4' is missing; allowed: a file in ROOT; check it and --videos-dir"),
        (
            "ring.mp4",
            (
                "'ring.mp4' cannot be read (Too many levels of symbolic links); allowed: a file in ROOT; "
                "check it and --videos-dir"
            ),
        ),
        (
            "out.mp4",
            (
                "'out.mp4' is a symlink that points outside; allowed: files inside ROOT; "
                "copy the file there, or point --videos-dir at the folder that holds it"
            ),
        ),
        ("sub", "'sub' is not a file; allowed: a file in ROOT; check it and --videos-dir"),
    ],
)
def test_message_about_an_invalid_path(folder: InputFolder, given: object, said: str) -> None:
    found = folder.relative(given, "row 1\x1b, path")
    assert str(found) == f"row 1\\x1b, path: {said.replace('ROOT', str(folder.root))}"


def test_file_may_be_named_like_a_url(folder: InputFolder) -> None:
    assert folder.relative("s3://b.mp4", "row 1, path") == "s3:/b.mp4"


def test_messages_about_the_input_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    said = "; allowed: a folder that exists; check --videos-dir"
    for name, given in (("none", "does not exist"), ("file", "is not a folder")):
        (problem,) = InputFolder(Path(name), "--videos-dir").problems()
        assert str(problem) == f"--videos-dir {tmp_path / name}: {given}{said}"
    assert InputFolder(tmp_path, "--videos-dir").problems() == []


def test_symlinks_of_a_folder_are_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in range(5):
        (tmp_path / f"{place}.mp4").touch()
    folder = InputFolder(tmp_path, "--videos-dir")
    followed: list[str] = []
    realpath = os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path: followed.append(str(path)) or realpath(path))
    assert [folder.relative(f"{place}.mp4", "") for place in range(5)] == [f"{place}.mp4" for place in range(5)]
    assert followed == [str(tmp_path)]


def test_json_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    for name in ("a.json", "a.jsonl"):
        rows = [{"n": 1}] if name == "a.json" else {"n": 1}
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + json.dumps(rows).encode())
        assert read_table(tmp_path / name).problems == ()
