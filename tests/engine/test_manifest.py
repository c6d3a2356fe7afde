"""Read valid and damaged tables of every kind: all problems are reported together, each with its place."""

import json
import os
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.manifest import (
    InputFolder,
    Row,
    cap_problems,
    check_priority,
    collect_extra_columns,
    find_missing_columns,
    read_ids,
    read_table,
)

ROWS = [{"id": "a", "video_path": "x.mp4", "n": 1}, {"id": "b", "video_path": "y.mp4", "n": 2}]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def join_problems(problems):
    return "\n".join(map(str, problems))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.json", json.dumps(ROWS)),
        ("question_set.json", json.dumps({"data": ROWS, "info": "made up"})),
        ("bom.json", "\ufeff" + json.dumps(ROWS)),
        ("lines.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("blank_lines.jsonl", "\n\n".join(json.dumps(row) for row in ROWS)),
        ("crlf.ndjson", "\r\n".join(json.dumps(row) for row in ROWS)),
        ("UPPER.JSON", json.dumps(ROWS)),
    ],
)
def test_json_in_every_shape_gives_the_same_rows(tmp_path, name, content):
    table = read_table(write(tmp_path / name, content))
    assert table.problems == ()
    assert [row.values for row in table.rows] == ROWS
    assert table.columns == ("id", "video_path", "n")


def test_parquet_keeps_types_and_numbers_rows_from_1(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.problems == ()
    assert [row.values for row in table.rows] == ROWS
    assert [row.where for row in table.rows] == ["t.parquet row 1", "t.parquet row 2"]
    assert all(row.typed for row in table.rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", "id,video_path,n\na,x.mp4,1\nb,y.mp4,\n"),
        ("excel.csv", b"\xef\xbb\xbfid,video_path,n\r\na,x.mp4,1\r\nb,y.mp4,\r\n"),
        ("tabs.tsv", "id\tvideo_path\tn\na\tx.mp4\t1\nb\ty.mp4\t\n"),
        ("blank_line_at_end.csv", "id,video_path,n\na,x.mp4,1\nb,y.mp4,\n\n\n"),
    ],
)
def test_separated_text_is_untyped_and_empty_cells_are_none(tmp_path, name, content):
    table = read_table(write(tmp_path / name, content))
    assert table.problems == ()
    assert [dict(row.values) for row in table.rows] == [
        {"id": "a", "video_path": "x.mp4", "n": "1"},
        {"id": "b", "video_path": "y.mp4", "n": None},
    ]
    assert not any(row.typed for row in table.rows)


def test_csv_rows_are_numbered_by_their_first_line(tmp_path):
    table = read_table(write(tmp_path / "t.csv", 'id,q\na,"two\nlines"\n\nb,one\n'))
    assert [row.where for row in table.rows] == ["t.csv line 2", "t.csv line 5"]


def test_jsonl_may_hold_unicode_line_separators(tmp_path):
    table = read_table(write(tmp_path / "t.jsonl", '{"id": "a", "q": "one\u2028two"}\n'))
    assert [row.values["q"] for row in table.rows] == ["one\u2028two"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.json", b"", "empty"),
        ("spaces.csv", b" \n ", "empty"),
        ("no_rows.json", b"[]", "no rows"),
        ("header_only.csv", b"id,video_path\n", "no rows"),
        ("truncated.json", b'[{"id": "a"', "broken JSON"),
        ("deep.json", b"[" * 100_000, "broken JSON"),
        ("scalar.json", b"3", "a list of objects"),
        ("other_object.json", b'{"rows": []}', "an object with the keys ['rows']"),
        ("row_of_text.json", b'[{"id": "a"}, "b"]', "row_of_text.json row 2: 'b'"),
        ("broken_line.jsonl", b'{"id": "a"}\n{"id"\n', "broken_line.jsonl line 2: broken JSON"),
        ("ragged.csv", b"id,v\na,x\nb,y,z\nc\n", "ragged.csv line 3: 3 cells; allowed: 2 cells"),
        ("open_quote.csv", b'id,v\na,"x\n', "open_quote.csv line"),
        ("twice.csv", b"id,id\na,b\n", "columns without a name of their own: ['id']"),
        ("latin1.csv", "id,q\na,x\nb,\xe9t\xe9\n".encode("latin-1"), "a byte that is not UTF-8 in line 3"),
        ("utf16.csv", "id,q\na,x\n".encode("utf-16"), "UTF-16 text"),
        ("zeros.json", bytes(100), "broken JSON"),
        ("text.parquet", b"not parquet at all", "broken Parquet"),
        ("text.xlsx", b"whatever", "allowed: a file ending in .json, .jsonl"),
    ],
)
def test_damaged_file_is_a_problem_with_its_place(tmp_path, name, content, said):
    table = read_table(write(tmp_path / name, content))
    assert said in join_problems(table.problems)
    assert all("\n" not in str(problem) for problem in table.problems)


def test_truncated_parquet_file_is_a_problem(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    for size in (8, len(content) // 2, len(content) - 4):
        assert "broken Parquet" in join_problems(read_table(write(tmp_path / "cut.parquet", content[:size])).problems)


def test_missing_file_and_folder_are_problems(tmp_path):
    (tmp_path / "folder.json").mkdir()
    for name in ("missing.json", "folder.json"):
        assert "cannot be read" in join_problems(read_table(tmp_path / name).problems)


def test_every_invalid_line_is_reported(tmp_path):
    table = read_table(write(tmp_path / "t.jsonl", '{"id": 1}\n{\n[]\n{"id": 2}\nnull\n'))
    assert [row.values["id"] for row in table.rows] == [1, 2]
    assert sorted(problem.where for problem in table.problems) == ["t.jsonl line 2", "t.jsonl line 3", "t.jsonl line 5"]


def test_missing_column_names_the_existing_columns(tmp_path):
    table = read_table(write(tmp_path / "t.csv", "key,video_path\na,x\nb,\n"))
    said = join_problems(find_missing_columns(table, ("id", "video_path"), "t.csv"))
    assert "no column 'id'" in said
    assert "its columns are key, video_path" in said
    assert "t.csv line 3, video_path: nothing" in said


def test_ids_may_be_text_or_whole_numbers():
    given = [
        "a",
        7,
        "-5nEBVFY0nk",
        "_abC",
        "sp ace",
        " sp ace",
        "a/b",
        "\u4e2d\u6587",
        "x" * 4096,
        ".hidden",
        "SAME",
        "same",
    ]
    ids, problems = read_ids(Row(f"t row {n}", {"id": value}) for n, value in enumerate(given, start=1))
    assert (ids, problems) == ([str(value) for value in given], [])


def test_invalid_or_repeated_ids_are_problems():
    bad = [
        "../up",
        "..",
        "a/./b",
        "a\\..",
        " ",
        True,
        1.5,
        "x" * 4097,
        {"a": 1},
        "nul\0",
        "e\x1b[2J",
        "\ud800",
        "\u202ea",
    ]
    given = ["a", 7, "a", 7, "7", "", None, *bad]
    ids, problems = read_ids(Row(f"t row {n}", {"id": value}) for n, value in enumerate(given, start=1))
    assert ids == ["a", "7", *[None] * (len(given) - 2)]
    assert [problem.where for problem in problems] == [f"t row {n}, id" for n in (3, 4, 5, *range(8, 8 + len(bad)))]
    assert "'a' again, as in t row 1" in problems[0].given
    assert all(len(str(problem)) < 300 for problem in problems)


def test_similar_problems_are_limited_to_twenty_and_a_count():
    flood = [Problem(f"t row {n}, id", f"'../{n}'", "safe ids") for n in range(1, 501)]
    rare = Problem("t row 7, video_path", "'x' is missing", "a file")
    capped = cap_problems([*flood[:250], rare, *flood[250:]])
    assert len(capped) == 22
    assert rare in capped
    assert capped[:20] == flood[:20]
    assert str(capped[20]) == "and 480 more like it: the last is t row 500, id; allowed: safe ids"
    assert cap_problems(flood[:21]) == flood[:21]


def test_extra_cells_become_json_values():
    values = {
        "id": 1,
        "n": 2,
        "x": float("nan"),
        "d": date(2024, 5, 6),
        "t": datetime(2024, 5, 6, 7),
        "l": ({"a": [1]},),
    }
    fields, problems = collect_extra_columns(Row("t row 1", values), without={"id"})
    assert problems == []
    assert fields == {"n": 2, "x": None, "d": "2024-05-06", "t": "2024-05-06T07:00:00", "l": [{"a": [1]}]}
    json.dumps(fields, allow_nan=False)


@pytest.mark.parametrize("value", [b"bytes", float("inf"), [float("-inf")], {"a": b""}, {1, 2}, "\ud800"])
def test_cell_that_json_cannot_represent_is_a_problem(value):
    fields, problems = collect_extra_columns(Row("t row 1", {"x": value}), without=())
    assert fields == {}
    assert [problem.where for problem in problems] == ["t row 1, x"]


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "videos"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    for path in (root / "a.mp4", root / "sub" / "b.mp4", tmp_path / "outside" / "c.mp4"):
        path.write_bytes(b"x")
    (root / "link_in.mp4").symlink_to(root / "a.mp4")
    (root / "link_out.mp4").symlink_to(tmp_path / "outside" / "c.mp4")
    (root / "folder_out").symlink_to(tmp_path / "outside")
    (root / "dangling.mp4").symlink_to(root / "nothing.mp4")
    (root / "ring.mp4").symlink_to(root / "ring.mp4")
    os.mkfifo(root / "pipe.mp4")
    return InputFolder(root, "--videos-dir")


@pytest.mark.parametrize(
    ("given", "normal"),
    [("a.mp4", "a.mp4"), ("sub/b.mp4", "sub/b.mp4"), ("./sub//b.mp4", "sub/b.mp4"), ("link_in.mp4", "link_in.mp4")],
)
def test_path_inside_the_folder_is_normalized(folder, given, normal):
    assert folder.relative(given, "t row 1, video_path") == normal


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("/etc/passwd", "the absolute path"),
        ("C:\\videos\\a.mp4", "the absolute path"),
        ("../outside/c.mp4", "'..' in"),
        ("sub/../a.mp4", "'..' in"),
        ("link_out.mp4", "is a symlink that points outside"),
        ("folder_out/c.mp4", "is a symlink that points outside"),
        ("dangling.mp4", "is missing"),
        ("ring.mp4", "cannot be read"),
        ("missing.mp4", "is missing"),
        ("a.mp4/x", "cannot be read"),
        ("sub", "is not a file"),
        ("pipe.mp4", "is not a file"),
        ("x" * 5000, "cannot be read"),
        ("nul\0.mp4", "a relative path"),
        ("\ud800.mp4", "a relative path"),
        (" ", "a relative path"),
        (None, "a relative path"),
        (3, "a relative path"),
        (["a.mp4"], "a relative path"),
    ],
)
def test_unsafe_or_missing_path_is_a_problem(folder, given, said):
    found = folder.relative(given, "t row 1, video_path")
    assert isinstance(found, Problem)
    assert said in str(found)
    assert len(str(found)) < 500


def test_input_folder_may_be_a_symlink(folder, tmp_path):
    (tmp_path / "alias").symlink_to(folder.root)
    assert InputFolder(tmp_path / "alias", "--videos-dir").relative("sub/b.mp4", "") == "sub/b.mp4"


def test_missing_input_folder_is_one_problem(tmp_path):
    assert "does not exist" in join_problems(InputFolder(tmp_path / "none", "--videos-dir").problems())
    assert "is not a folder" in join_problems(InputFolder(write(tmp_path / "file", "x"), "--videos-dir").problems())


def test_unknown_priority_column_lists_the_existing_columns() -> None:
    rows = [{"weight": 3, "question": "?"}, {"weight": 1}]
    (problem,) = check_priority(Execution(priority="wieght"), rows)
    assert str(problem).startswith("--priority: no column")
    assert "allowed: question, weight" in str(problem)
    assert check_priority(Execution(priority="weight"), rows) == []
    assert check_priority(Execution(), rows) == []


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".tsv", ".parquet"])
def test_too_large_manifests_and_pipes_are_refused(tmp_path: Path, suffix: str) -> None:
    """Refuse a sparse file over the limit and a pipe immediately, in one line."""
    large, pipe = tmp_path / f"large{suffix}", tmp_path / f"pipe{suffix}"
    large.touch()
    os.truncate(large, 1 << 40)
    os.mkfifo(pipe)
    for path, given in ((large, "larger than 256 MiB"), (pipe, "not a plain file")):
        [problem] = read_table(path).problems
        assert given in str(problem)
        assert "a plain file of at most 256 MiB" in str(problem)
