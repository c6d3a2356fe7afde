"""Test every field of a run's files, and every word of its closing lines."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.engine.contract.items import Item
from tasks.engine.reporting import summary as summary_module
from tasks.engine.reporting.summary import RunFigures, Summary, write_summary
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Failure, Outcome, Outcomes, Output, Record, Usage

USAGE = Usage(1_000.0005, 2.00049, 1.5, 3 << 20, "host-01")
DONE = Outcome.of_record(
    Record("a", "frames", 1, "key", (Output("made/a", 1, "0" * 64),), {"n": 3}, {}, USAGE, 1, "run")
).named(Item("a", name="first", path="in/a.mp4"))
FAILED = Outcome.of_failure(
    Failure("b", "frames", "key", "timeout", "no result within 2 s", 2, replace(USAGE, slot="host-02"), "run", "x.log")
)
REMAINING = Outcome("c", "dataset", "remaining")


def create_figures(finished_at: float = 1013.0) -> RunFigures:
    return RunFigures("flow", "run", 1000.0, finished_at, 2, 5, {"quality": 90}, ("numpy", "dask"), notes=("a note",))


def create_summary(outcomes: list[Outcome], max_failed: float = 1.0, given: RunFigures | None = None) -> Summary:
    return summary_module.summarize(given or create_figures(), outcomes, max_failed)


def test_summary_json_has_every_field(tmp_path: Path) -> None:
    outcomes = [DONE, FAILED, REMAINING]
    write_summary(Layout(tmp_path), create_summary(outcomes), Outcomes(outcomes))
    versions = {name: metadata.version(name) for name in ("headrace", "prefect", "dask", "distributed", "numpy")}
    assert json.loads((tmp_path / "summary.json").read_bytes()) == {
        "flow": "flow",
        "run_id": "run",
        "state": "completed_with_failures",
        "message": "1 done, 0 cached, 1 failed, 1 remaining",
        "started_at": "1970-01-01T00:16:40.000+00:00",
        "finished_at": "1970-01-01T00:16:53.000+00:00",
        "wall_seconds": 13.0,
        "items": {"total": 3, "done": 1, "cached": 0, "failed": 1, "remaining": 1, "upstream": 0},
        "stages": {
            "frames": {"total": 2, "done": 1, "cached": 0, "failed": 1, "remaining": 0, "upstream": 0},
            "dataset": {"total": 1, "done": 0, "cached": 0, "failed": 0, "remaining": 1, "upstream": 0},
        },
        "sequential_seconds": 4.001,
        "speedup": 0.308,
        "items_per_second": 0.077,
        "slots": 2,
        "shards": 5,
        "peak_memory_bytes": 3 << 20,
        "parameters": {"quality": 90},
        "versions": {"python": platform.python_version(), **versions},
        "notes": ["a note"],
    }


def test_run_file_has_state_times_and_items(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_summary(layout, create_summary([DONE], given=create_figures(1001.235)), Outcomes([DONE]))
    content = (layout.runs / "run.json").read_bytes()
    assert content.endswith(b"}\n")
    assert json.loads(content) == {
        "run_id": "run",
        "state": "completed",
        "started_at": "1970-01-01T00:16:40.000+00:00",
        "finished_at": "1970-01-01T00:16:41.235+00:00",
        "wall_seconds": 1.235,
        "items": {"total": 1, "done": 1, "cached": 0, "failed": 0, "remaining": 0, "upstream": 0},
    }


def test_items_parquet_has_every_column_of_every_item(tmp_path: Path) -> None:
    outcomes = [DONE, FAILED, REMAINING]
    write_summary(Layout(tmp_path), create_summary(outcomes), Outcomes(outcomes))
    table = pq.read_table(tmp_path / "items.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "string",
        "name": "string",
        "path": "string",
        "stage": "string",
        "outcome": "string",
        "failure_kind": "string",
        "message": "string",
        "attempts": "int32",
        "seconds": "double",
        "cpu_seconds": "double",
        "peak_memory_bytes": "int64",
        "started_at": "timestamp[ms, tz=UTC]",
        "slot": "string",
        "outputs": "list<element: string>",
        "n": "int64",
    }
    ran = {
        "stage": "frames",
        "seconds": 2.00049,
        "cpu_seconds": 1.5,
        "peak_memory_bytes": 3 << 20,
        "started_at": datetime(1970, 1, 1, 0, 16, 40, tzinfo=UTC),
    }
    done = {"outcome": "done", "failure_kind": None, "message": None, "attempts": 1, "slot": "host-01", "n": 3}
    failed = {
        "outcome": "failed",
        "failure_kind": "timeout",
        "message": "no result within 2 s",
        "attempts": 2,
        "n": None,
    }
    names = dict.fromkeys(("seconds", "cpu_seconds", "peak_memory_bytes", "started_at", "slot"))
    texts = dict.fromkeys(("path", "failure_kind", "message", "n"))
    assert table.to_pylist() == [
        {"id": "a", "name": "first", "path": "in/a.mp4", **ran, **done, "outputs": ["made/a"]},
        {"id": "b", "name": "b", "path": None, **ran, **failed, "slot": "host-02", "outputs": []},
        {
            "id": "c",
            "name": "c",
            "stage": "dataset",
            "outcome": "remaining",
            "attempts": 0,
            **names,
            **texts,
            "outputs": [],
        },
    ]


def test_start_of_an_item_has_millisecond_precision(tmp_path: Path) -> None:
    started = replace(DONE, usage=replace(USAGE, started_at=1000.7509))
    write_summary(Layout(tmp_path), create_summary([started]), Outcomes([started]))
    (moment,) = pq.read_table(tmp_path / "items.parquet")["started_at"].to_pylist()
    assert moment.timestamp() == 1000.750


def test_values_of_mixed_types_are_text_and_missing_ones_null(tmp_path: Path) -> None:
    outcomes = [replace(DONE, id=str(place), values={"n": value}) for place, value in enumerate([1, None, "x"])]
    write_summary(Layout(tmp_path), create_summary(outcomes), Outcomes(outcomes))
    table = pq.read_table(tmp_path / "items.parquet")
    assert table["n"].to_pylist() == ["1", None, "x"]
    assert table["n"].type == pa.string()


def test_columns_have_one_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_module, "_ROWS_AT_ONCE", 2)
    outcomes = Outcomes(replace(DONE, id=str(place), values={"n": place}) for place in range(5))
    write_summary(Layout(tmp_path), create_summary(list(outcomes)), outcomes)
    table = pq.read_table(tmp_path / "items.parquet")
    assert table["id"].to_pylist() == ["0", "1", "2", "3", "4"]
    assert table["n"].to_pylist() == [0, 1, 2, 3, 4]


def test_run_of_zero_duration_has_no_rates() -> None:
    summary = create_summary([DONE], given=create_figures(1000.0))
    assert (summary.wall_seconds, summary.speedup, summary.items_per_second) == (0.0, 0.0, 0.0)


def test_rates_of_a_run_of_less_than_a_second() -> None:
    summary = create_summary([DONE], given=create_figures(1000.5))
    assert (summary.wall_seconds, summary.speedup, summary.items_per_second) == (0.5, 4.001, 2.0)


def test_memory_and_time_count_only_items_that_ran() -> None:
    cached = replace(DONE, outcome="cached", usage=replace(USAGE, peak_memory_bytes=9 << 30))
    earlier = replace(FAILED, run_id="earlier", usage=replace(USAGE, peak_memory_bytes=4 << 20))
    summary = create_summary([cached, DONE, earlier])
    assert summary.peak_memory_bytes == 4 << 20
    assert summary.sequential_seconds == 2.0


@pytest.mark.parametrize(
    ("outcomes", "more", "max_failed", "message"),
    [
        ([DONE], {}, 1.0, "1 done, 0 cached, 0 failed"),
        ([DONE, REMAINING], {}, 1.0, "1 done, 0 cached, 0 failed, 1 remaining"),
        (
            [DONE, REMAINING],
            {"interrupted": True},
            1.0,
            "interrupted: 1 done, 0 cached, 0 failed, 1 remaining; the same command goes on from here",
        ),
        ([DONE, FAILED, FAILED], {}, 0.5, "67% failed, more than --max-failed 0.5: 1 done, 0 cached, 2 failed"),
        ([FAILED], {}, 0.0, "100% failed, more than --max-failed 0: 0 done, 0 cached, 1 failed"),
        ([DONE], {"error": "no room"}, 1.0, "no room"),
    ],
)
def test_message_of_a_run(outcomes: list[Outcome], more: dict[str, object], max_failed: float, message: str) -> None:
    summary = create_summary(outcomes, max_failed, replace(create_figures(), **more))  # type: ignore[arg-type]
    assert summary.message == message
    assert summary.finished_at == "1970-01-01T00:16:53.000+00:00"


@pytest.mark.parametrize(("failures", "named"), [(0, 0), (1, 1), (10, 10), (11, 10)])
def test_closing_lines_name_ten_failures_and_count_the_rest(tmp_path: Path, failures: int, named: int) -> None:
    outcomes = Outcomes(replace(FAILED, id=f"item-{place}") for place in range(failures))
    summary = replace(create_summary(list(outcomes)), slots=0)
    assert summary_module.format_closing_lines(summary, outcomes, Layout(tmp_path)) == [
        f"flow: 0 done, 0 cached, {failures} failed (0:13)",
        *(f"  failed: item-{place}: timeout: no result within 2 s" for place in range(named)),
        *([f"  and {failures - named} more in {tmp_path / 'failures.json'}"] if failures > named else []),
        f"report: {tmp_path / 'report.html'}",
    ]


def test_closing_lines_name_the_slots_if_an_item_ran(tmp_path: Path) -> None:
    lines = summary_module.format_closing_lines(create_summary([DONE]), Outcomes([DONE]), Layout(tmp_path))
    assert lines[0] == "flow: 1 done, 0 cached, 0 failed (0:13, 2 slots)"
