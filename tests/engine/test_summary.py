"""Test the files of a run: figures, states, exit codes, and columns of any type."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.engine.reporting import summary as summary_module
from tasks.engine.reporting.summary import RunFigures, format_closing_lines, summarize, write_summary
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import COLUMNS, Counts, Failure, Outcome, OutcomeName, Outcomes, Output, Record, Usage


def create_outcome(
    item_id: str, what: OutcomeName, stage: str = "frames", run_id: str = "run", **values: Any
) -> Outcome:
    usage = Usage(1000.0, 2.0, 1.5, 1 << 20, "host-01")
    if what == "failed":
        failure = Failure(item_id, stage, "key", "timeout", "no result within 2 s", 2, usage, run_id, log="x.log")
        return Outcome.of_failure(failure)
    if what == "remaining":
        return Outcome(item_id, stage, what)
    outputs = (Output(f"made/{item_id}", 1, "0" * 64),)
    record = Record(item_id, stage, 1, "key", outputs, values, {}, usage, 1, run_id)
    return Outcome.of_record(record, "cached" if what == "cached" else "done")


def create_figures(**more: Any) -> RunFigures:
    return RunFigures("flow", "run", 1000.0, 1010.0, 2, 5, {"quality": 90}, **more)


@pytest.mark.parametrize(
    ("outcomes", "max_failed", "more", "state", "code"),
    [
        (["done", "cached"], 1.0, {}, "completed", 0),
        ([], 0.0, {}, "completed", 0),
        (["done", "remaining"], 1.0, {}, "completed", 0),
        (["done", "failed"], 1.0, {}, "completed_with_failures", 3),
        (["done", "failed"], 0.5, {}, "completed_with_failures", 3),
        (["done", "failed"], 0.49, {}, "failed", 1),
        (["failed"], 1.0, {}, "completed_with_failures", 3),
        (["done", "failed", "remaining"], 0.0, {"interrupted": True}, "interrupted", 130),
        (["done"], 1.0, {"error": "no room", "interrupted": True}, "failed", 1),
    ],
)
def test_state_and_exit_code(
    outcomes: list[OutcomeName], max_failed: float, more: dict[str, Any], state: str, code: int
) -> None:
    found = [create_outcome(f"item-{number}", what) for number, what in enumerate(outcomes)]
    summary = summarize(create_figures(**more), found, max_failed)
    assert (summary.state, summary.exit_code) == (state, code)
    if "error" in more:
        assert summary.message == "no room"


def test_figures_count_only_this_run() -> None:
    outcomes = [
        create_outcome("a", "done"),
        create_outcome("b", "cached", run_id="earlier"),
        create_outcome("c", "failed"),
        create_outcome("d", "failed", run_id="earlier"),
        create_outcome("a", "remaining", stage="dataset"),
    ]
    summary = summarize(create_figures(), outcomes, 1.0)
    assert summary.items == {"total": 5, "done": 1, "cached": 1, "failed": 2, "remaining": 1, "upstream": 0}
    assert list(summary.stages) == ["frames", "dataset"]
    assert summary.stages["dataset"]["remaining"] == 1
    assert (summary.wall_seconds, summary.sequential_seconds, summary.speedup) == (10.0, 4.0, 0.4)
    assert summary.items_per_second == 0.1
    assert summary.peak_memory_bytes == 1 << 20
    assert summary.started_at == "1970-01-01T00:16:40.000+00:00"
    assert summary.started_seconds == 1000.0


def test_files_of_a_run_agree(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    outcomes = Outcomes(
        [create_outcome("a", "done", frames=3), create_outcome("b", "failed"), create_outcome("c", "remaining")]
    )
    summary = summarize(create_figures(), outcomes, 1.0)
    write_summary(layout, summary, outcomes)
    content = json.loads((tmp_path / "summary.json").read_bytes())
    assert content["items"] == {"total": 3, "done": 1, "cached": 0, "failed": 1, "remaining": 1, "upstream": 0}
    assert content["parameters"] == {"quality": 90}
    assert set(content["versions"]) >= {"python", "headrace", "prefect", "dask"}
    (failure,) = json.loads((tmp_path / "failures.json").read_bytes())
    assert failure == {
        "id": "b",
        "name": "b",
        "path": None,
        "stage": "frames",
        "failure_kind": "timeout",
        "message": "no result within 2 s",
        "attempts": 2,
        "log": "x.log",
    }
    done, failed, remaining = pq.read_table(tmp_path / "items.parquet").to_pylist()
    assert (done["outcome"], done["attempts"], done["seconds"], done["outputs"], done["frames"]) == (
        "done",
        1,
        2.0,
        ["made/a"],
        3,
    )
    assert (failed["failure_kind"], failed["attempts"], failed["outputs"], failed["frames"]) == ("timeout", 2, [], None)
    assert (remaining["attempts"], remaining["seconds"], remaining["started_at"]) == (0, None, None)
    line = (layout.runs / "run.json").read_text()
    assert line.count("\n") == 1
    assert json.loads(line)["items"] == content["items"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([1, "x"], pa.string()),
        ([True, "x"], pa.string()),
        ([["a"], []], pa.list_(pa.string())),
        ([["a"], 1], pa.string()),
        ([1 << 70, 1], pa.string()),
        ([None, None], pa.null()),
    ],
)
def test_values_of_every_type_get_a_column(tmp_path: Path, values: list[Any], expected: pa.DataType) -> None:
    outcomes = Outcomes(create_outcome(f"item-{number}", "done", value=value) for number, value in enumerate(values))
    write_summary(Layout(tmp_path), summarize(create_figures(), outcomes, 1.0), outcomes)
    assert pq.read_table(tmp_path / "items.parquet").schema.field("value").type == expected


def test_run_without_items_writes_its_files(tmp_path: Path) -> None:
    write_summary(Layout(tmp_path), summarize(create_figures(), [], 1.0), Outcomes())
    assert pq.read_table(tmp_path / "items.parquet").num_rows == 0
    assert json.loads((tmp_path / "failures.json").read_bytes()) == []


def test_closing_lines_name_a_limited_number_of_failures(tmp_path: Path) -> None:
    outcomes = Outcomes(create_outcome(f"item-{number:02d}", "failed") for number in range(25))
    lines = format_closing_lines(summarize(create_figures(), outcomes, 1.0), outcomes, Layout(tmp_path))
    assert lines[0] == "flow: 0 done, 0 cached, 25 failed (0:10, 2 slots)"
    assert lines[1] == "  failed: item-00: timeout: no result within 2 s"
    assert lines[-2] == f"  and 15 more in {tmp_path / 'failures.json'}"
    assert lines[-1] == f"report: {tmp_path / 'report.html'}"


def test_counts_add_up() -> None:
    assert Counts(1, 2, 3, 4) + Counts(1, 0, 0, 0) == Counts(2, 2, 3, 4)
    assert Counts(1, 2, 3, 4).total == 10


def test_engine_files_are_in_the_state_folder(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    places = [layout.records("s"), layout.failures("s"), layout.log("s", "a"), layout.private, layout.runs]
    assert all(place.is_relative_to(layout.state_folder) for place in places)
    assert len(set(places)) == len(places)
    assert layout.relative(layout.log("s", "a")) == ".headrace/logs/s/a.log"


def test_packed_outcomes_are_unchanged() -> None:
    values = {
        "text": 'ä\n"',
        "number": 2,
        "whole": 2.0,
        "tiny": 5e-324,
        "big": 1 << 70,
        "none": None,
        "flags": [True],
        "yes": True,
    }
    given = [
        create_outcome("a", "done", **values),
        create_outcome("b", "failed"),
        create_outcome("c", "remaining"),
        create_outcome("d", "cached"),
    ]
    packed = Outcomes(given)
    assert list(packed) == given
    assert repr(packed[0]) == repr(given[0]), "1.0 stays 1.0, True stays True"
    assert list(packed[1:3]) == given[1:3]
    assert list(packed.failed()) == [given[1]]
    assert list(Outcomes([create_outcome("a", "done", text="failed")]).failed()) == []
    packed[2] = given[0]
    packed.extend(Outcomes(given[:1]))
    assert [packed_outcome.id for packed_outcome in packed] == ["a", "b", "a", "d", "a"]


def test_value_of_late_items_is_null_for_others(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(summary_module, "_ROWS_AT_ONCE", 2)
    outcomes = [
        create_outcome("a", "done", x=1),
        *(create_outcome(f"b{n}", "remaining") for n in range(4)),
        create_outcome("c", "done", y=2.5),
    ]
    write_summary(
        Layout(tmp_path),
        summarize(create_figures(), outcomes, 1.0),
        Outcomes([*outcomes, create_outcome("d", "done", x=3)]),
    )
    table = pq.read_table(tmp_path / "items.parquet")
    assert table["x"].to_pylist() == [1, None, None, None, None, None, 3]
    assert table["y"].to_pylist() == [None, None, None, None, None, 2.5, None]
    assert table["outputs"].to_pylist() == [["made/a"], [], [], [], [], ["made/c"], ["made/d"]]


def test_outcomes_of_a_long_run_use_little_memory() -> None:
    """A record and its outcome take 2 to 3 KB as objects; only the packed bytes of an item stay."""
    outputs = tuple(Output(f"made/item-00000/{name}", 1, "0" * 64) for name in ("note.txt", "more/data.bin"))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        packed = Outcomes()
        for number in range(2000):
            usage = Usage(1e9 + number / 7, number / 9, number / 11, number << 16, "some-host-01")
            record = Record(
                f"item-{number:05d}", "stage", 1, "k" * 64, outputs, {"letters": number}, {}, usage, 1, "run"
            )
            packed.append(Outcome.of_record(record))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken / 2000 < 400


def test_reserved_value_names_are_the_common_columns() -> None:
    assert set(summary_module._COMMON.names) == COLUMNS
