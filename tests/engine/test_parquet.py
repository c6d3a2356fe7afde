"""Test Parquet manifests: limits of the unpacked size, and the process that checks them first."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.engine.contract import parquet
from tasks.engine.contract.parquet import read_rows

ROWS = [{"id": "a", "n": 1}, {"id": "b", "n": 2}]


def write_parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


CONTENT = write_parquet(pa.Table.from_pylist(ROWS))


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replace the process that checks the file; return the arguments of its start."""
    seen: dict[str, Any] = {"code": 0, "stdout": b""}

    def run(command: list[str], **options: Any) -> SimpleNamespace:
        seen.update(options, command=command)
        return SimpleNamespace(returncode=seen["code"], stdout=seen["stdout"])

    monkeypatch.setattr(subprocess, "run", run)
    return seen


def test_rows_of_all_or_chosen_columns_are_read() -> None:
    assert read_rows(CONTENT) == ROWS
    assert read_rows(CONTENT, ("id",)) == [{"id": "a"}, {"id": "b"}]


def test_chosen_columns_must_exist_and_be_text() -> None:
    with pytest.raises(ValueError, match=r"^it has no column of text named n, x$"):
        read_rows(CONTENT, ("x", "id", "n"))


def test_check_process_gets_the_file_and_finds_the_engine(
    unchecked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/more")
    assert read_rows(CONTENT, ("id",)) == [{"id": "a"}, {"id": "b"}]
    assert unchecked["command"] == [sys.executable, "-P", "-m", "tasks.engine.contract.parquet", "id"]
    assert unchecked["input"] == CONTENT
    root = str(Path(parquet.__file__).resolve().parents[3])
    assert unchecked["env"]["PYTHONPATH"] == f"{root}:/more"
    assert (unchecked["capture_output"], unchecked["timeout"]) == (True, 300.0)
    monkeypatch.delenv("PYTHONPATH")
    read_rows(CONTENT)
    assert unchecked["env"]["PYTHONPATH"] == root
    assert "PATH" in unchecked["env"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (3, "r\ufffdefused"),
        (1, "reading it ends the process that does (exit code 1)"),
        (-signal.SIGSEGV, "reading it ends the process that does (SIGSEGV)"),
        (-1, "reading it ends the process that does (SIGHUP)"),
    ],
)
def test_failed_check_process_is_the_reason(unchecked: dict[str, Any], code: int, said: str) -> None:
    unchecked.update(code=code, stdout=b"r\xffefused")
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        read_rows(CONTENT)


def test_file_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_CHECK_SECONDS", 0.001)
    with pytest.raises(ValueError, match=r"^reading it takes longer than 0\.001 s$"):
        read_rows(CONTENT)


def run_main(content: bytes, monkeypatch: pytest.MonkeyPatch, *columns: str) -> tuple[int, str]:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    monkeypatch.setattr(sys, "stdout", said)
    monkeypatch.setattr(sys, "argv", ["parquet", *columns])
    code = parquet.main()
    monkeypatch.undo()
    return code, said.getvalue()


def test_check_process_reports_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_main(CONTENT, monkeypatch) == (0, "")
    assert run_main(CONTENT, monkeypatch, "id") == (0, "")
    assert run_main(CONTENT, monkeypatch, "parquet") == (3, "it has no column of text named parquet")
    code, said = run_main(b"no parquet at all", monkeypatch)
    assert (code, "\n" in said) == (3, False)
    assert said.startswith("Parquet magic bytes not found in footer")


def test_two_columns_of_one_name_are_refused(unchecked: dict[str, Any]) -> None:
    assert unchecked["code"] == 0
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["id", "id"])
    with pytest.raises(ValueError, match=r"^it has two columns of one name$"):
        read_rows(write_parquet(table))


@pytest.mark.parametrize(("limit", "is_refused"), [(1, True), (2, False)])
def test_rows_are_limited(
    unchecked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, limit: int, is_refused: bool
) -> None:
    assert unchecked["code"] == 0
    monkeypatch.setattr(parquet, "MAX_ROWS", limit)
    if is_refused:
        with pytest.raises(ValueError, match=r"^it unpacks to more than 10,000,000 rows or 1 GiB$"):
            read_rows(CONTENT)
    else:
        assert read_rows(CONTENT) == ROWS


@pytest.mark.parametrize(("limit", "is_refused"), [(9_799, True), (9_800, False)])
def test_unpacked_bytes_are_counted_and_limited(
    unchecked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, limit: int, is_refused: bool
) -> None:
    """One repeated text is small in the file's metadata but large as rows."""
    assert unchecked["code"] == 0
    row = {"number": 7, "list": ["x" * 40, "y" * 40], "object": {"text": "zz", "nothing": None}}  # 8 + 80 + 2 + 8 bytes
    schema = pa.schema(
        {
            "number": pa.int64(),
            "list": pa.list_(pa.string()),
            "object": pa.struct({"text": pa.string(), "nothing": pa.int64()}),
        }
    )
    content = write_parquet(pa.Table.from_pylist([row] * 100, schema))
    monkeypatch.setattr(parquet, "MAX_UNPACKED_BYTES", limit)
    if is_refused:
        with pytest.raises(ValueError, match=r"^it unpacks to more than"):
            read_rows(content)
    else:
        assert read_rows(content) == [row] * 100


def test_stated_uncompressed_size_is_limited(unchecked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert unchecked["code"] == 0
    content = write_parquet(pa.table({"n": pa.array(range(100)), "m": pa.array(range(100))}), row_group_size=50)
    with pq.ParquetFile(io.BytesIO(content)) as file:
        groups = [file.metadata.row_group(number) for number in range(2)]
        stated = sum(group.column(number).total_uncompressed_size for group in groups for number in range(2))
    unpacked = 2 * 100 * 8
    assert stated > unpacked
    monkeypatch.setattr(parquet, "MAX_UNPACKED_BYTES", stated)
    assert len(read_rows(content)) == 100
    monkeypatch.setattr(parquet, "MAX_UNPACKED_BYTES", stated - 1)
    with pytest.raises(ValueError, match=r"^it unpacks to more than"):
        read_rows(content)


@pytest.mark.parametrize(("at_once", "rows"), [(0, 4), (10 * 1024, 10), (10**9, 4096)])
def test_batch_size_depends_on_the_largest_column(
    unchecked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, at_once: int, rows: int
) -> None:
    assert unchecked["code"] == 0
    column = SimpleNamespace(total_uncompressed_size=1024)
    group = SimpleNamespace(num_columns=1, column=[column].__getitem__)
    small = SimpleNamespace(num_columns=1, column=[SimpleNamespace(total_uncompressed_size=3)].__getitem__)
    metadata = SimpleNamespace(num_row_groups=2, num_rows=9, row_group=[small, group].__getitem__)
    asked: list[Any] = []

    class File:
        schema_arrow = pa.schema([("n", pa.int64())])

        def __init__(self, _: object) -> None:
            self.metadata = metadata

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def iter_batches(self, *given: object, **options: object) -> list[Any]:
            asked.append((given, options))
            return []

    monkeypatch.setattr(parquet, "_AT_ONCE_BYTES", at_once)
    monkeypatch.setattr(pq, "ParquetFile", File)
    assert read_rows(b"") == []
    assert asked == [((rows,), {"columns": None, "use_threads": False})]


@pytest.mark.parametrize("error", [OSError, OverflowError, KeyError, RecursionError, pa.ArrowInvalid])
def test_errors_of_the_library_are_one_line(
    unchecked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    assert unchecked["code"] == 0

    def fail(_: object) -> None:
        raise error("first line\nsecond")

    monkeypatch.setattr(pq, "ParquetFile", fail)
    with pytest.raises(ValueError, match="first line") as raised:
        read_rows(CONTENT)
    assert "second" not in str(raised.value) or error is KeyError  # KeyError shows its text as repr
