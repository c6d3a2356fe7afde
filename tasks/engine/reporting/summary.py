"""Summarize a run: summary.json, items.parquet, failures.json, and one line in .headrace/runs."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from io import BytesIO
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.engine.contract.stage import Value
from tasks.engine.contract.text import count_noun, json_text
from tasks.engine.reporting.progress import format_duration
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Counts, Outcome, Outcomes

RETRY = "Retry (in the menu of the run)"  # how Prefect's UI runs again what is not done
RunState = Literal["completed", "completed_with_failures", "failed", "interrupted"]
_SHOWN_FAILURES = 10
_ROWS_AT_ONCE = 4096
_REPORTED_PACKAGES = ("headrace", "prefect", "dask", "distributed")


@dataclass(frozen=True)
class Summary:
    """The content of ``summary.json``. Times are ISO 8601 in UTC; see ``docs/outputs.md`` for the fields."""

    flow: str
    run_id: str
    state: RunState
    message: str
    started_at: str
    finished_at: str
    wall_seconds: float
    items: Mapping[str, int]
    stages: Mapping[str, Mapping[str, int]]
    sequential_seconds: float
    speedup: float
    items_per_second: float
    slots: int
    shards: int
    peak_memory_bytes: int
    parameters: Mapping[str, Any]
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def started_seconds(self) -> float:
        """The start of the run, in seconds since the epoch."""
        return datetime.fromisoformat(self.started_at).timestamp()

    @property
    def exit_code(self) -> int:
        """The exit code: 0 all done, 3 finished with failed items, 130 interrupted, 1 anything else."""
        return {"completed": 0, "completed_with_failures": 3, "interrupted": 130, "failed": 1}[self.state]


@dataclass(frozen=True)
class RunFigures:
    """The figures of a finished run, without its outcomes. Times are seconds since the epoch."""

    flow: str
    run_id: str
    started_at: float
    finished_at: float
    slots: int
    shards: int
    parameters: Mapping[str, Any]
    packages: tuple[str, ...] = ()
    interrupted: bool = False
    error: str = ""
    notes: tuple[str, ...] = ()


def summarize(figures: RunFigures, outcomes: Iterable[Outcome], max_failed: float) -> Summary:
    """Count the outcomes of all stages and judge the run."""
    tally = _Tally.of(outcomes, figures.run_id)
    counts = sum(tally.stages.values(), Counts())
    wall = figures.finished_at - figures.started_at
    sequential = tally.sequential_seconds
    packages = dict.fromkeys((*_REPORTED_PACKAGES, *figures.packages))
    state, message = _judge(figures, counts, max_failed)
    return Summary(
        flow=figures.flow,
        run_id=figures.run_id,
        state=state,
        message=message,
        started_at=_format_time(figures.started_at),
        finished_at=_format_time(figures.finished_at),
        wall_seconds=round(wall, 3),
        items=_count_columns(counts),
        stages={stage: _count_columns(stage_counts) for stage, stage_counts in tally.stages.items()},
        sequential_seconds=round(sequential, 3),
        speedup=round(sequential / wall, 3) if wall > 0 else 0.0,
        items_per_second=round(counts.done / wall, 3) if wall > 0 else 0.0,
        slots=figures.slots,
        shards=figures.shards,
        peak_memory_bytes=tally.peak_memory_bytes,
        parameters=figures.parameters,
        versions={"python": platform.python_version(), **{name: metadata.version(name) for name in packages}},
        notes=figures.notes,
    )


@dataclass
class _Tally:
    """The figures from one pass over the outcomes."""

    stages: dict[str, Counts]
    sequential_seconds: float = 0.0
    peak_memory_bytes: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], run_id: str) -> _Tally:
        numbers: dict[str, Counter[str]] = {}
        tally = cls({})
        for outcome in outcomes:
            numbers.setdefault(outcome.stage, Counter())[outcome.counted_as] += 1
            if outcome.outcome in ("done", "failed"):
                tally.sequential_seconds += outcome.usage.seconds if outcome.run_id == run_id else 0.0
                tally.peak_memory_bytes = max(tally.peak_memory_bytes, outcome.usage.peak_memory_bytes)
        tally.stages = {stage: Counts(**number) for stage, number in numbers.items()}
        return tally


def _judge(figures: RunFigures, counts: Counts, max_failed: float) -> tuple[RunState, str]:
    if figures.error:
        return "failed", figures.error
    if figures.interrupted:
        return "interrupted", f"interrupted: {describe_counts(counts)}; the same command goes on from here"
    if counts.total and counts.failed / counts.total > max_failed:
        share = f"{counts.failed / counts.total:.0%} failed, more than --max-failed {max_failed:g}"
        return "failed", f"{share}: {describe_counts(replace(counts, remaining=0))}"
    return ("completed_with_failures" if counts.failed or counts.upstream else "completed"), describe_counts(counts)


def describe_counts(counts: Counts) -> str:
    """Return the numbers of items as one line of text."""
    upstream = f", {counts.upstream} upstream" if counts.upstream else ""
    remaining = f", {counts.remaining} remaining" if counts.remaining else ""
    return f"{counts.done} done, {counts.cached} cached, {counts.failed} failed{upstream}{remaining}"


def _count_columns(counts: Counts) -> dict[str, int]:
    return {"total": counts.total, **asdict(counts)}


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def convert_to_dict(summary: Summary) -> dict[str, Any]:
    """Return ``summary`` as the content of ``summary.json``."""
    return asdict(summary)


def write_summary(layout: Layout, summary: Summary, outcomes: Outcomes) -> None:
    """Write the three files and the run's line, each atomically."""
    text, tree = convert_to_dict(summary), layout.tree
    tree.write("items.parquet", _write_parquet(outcomes))
    tree.write("failures.json", _dump_json(list_failures(outcomes)))
    tree.write("summary.json", _dump_json(text))
    line = {name: text[name] for name in ("run_id", "state", "started_at", "finished_at", "wall_seconds", "items")}
    runs = layout.relative(layout.runs)
    with tree.opened(runs, make=True):
        tree.write(f"{runs}/{summary.run_id}.json", json.dumps(line).encode() + b"\n")


def list_failures(outcomes: Outcomes) -> list[dict[str, Any]]:
    """Return one dictionary per failed item: id, name, path, stage, failure_kind, message, attempts, log."""
    return [
        {
            "id": outcome.id,
            "name": outcome.title,
            "path": outcome.path or None,
            "stage": outcome.stage,
            "failure_kind": outcome.failure_kind,
            "message": outcome.message,
            "attempts": outcome.attempts,
            "log": outcome.log,
        }
        for outcome in outcomes.failed()
    ]


def format_closing_lines(summary: Summary, outcomes: Outcomes, layout: Layout) -> list[str]:
    """Return the lines that end a run on the terminal: the figures, the failures, and the path of the report."""
    failures = list_failures(outcomes)
    shown = [f"  failed: {row['name']}: {row['failure_kind']}: {row['message']}" for row in failures[:_SHOWN_FAILURES]]
    more = len(failures) - len(shown)
    if more > 0:
        shown.append(f"  and {more} more in {layout.name('failures.json')}")
    slots = f", {count_noun(summary.slots, 'slot')}" if summary.slots else ""
    return [
        f"{summary.flow}: {summary.message} ({format_duration(summary.wall_seconds)}{slots})",
        *shown,
        f"report: {layout.name('report.html')}",
    ]


def _dump_json(value: Any) -> bytes:
    return json_text(value).encode() + b"\n"


def _write_parquet(outcomes: Sequence[Outcome]) -> bytes:
    """Return a Parquet file with one row per item and a column per value; null if a stage has no such value."""
    parts: list[pa.RecordBatch] = []
    cells: dict[str, list[Value]] = {}
    for place in range(0, len(outcomes), _ROWS_AT_ONCE):
        part = list(outcomes[place : place + _ROWS_AT_ONCE])
        parts.append(pa.RecordBatch.from_pylist([_build_common_columns(outcome) for outcome in part], _COMMON))
        for name in dict.fromkeys(name for outcome in part for name in outcome.values):
            column = cells.setdefault(name, [])
            column += [None] * (place - len(column))
            column += [outcome.values.get(name) for outcome in part]
    table = pa.Table.from_batches(parts, _COMMON).combine_chunks()
    for name, column in cells.items():
        table = table.append_column(name, _build_value_column([*column, *[None] * (len(outcomes) - len(column))]))
    sink = BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


_COMMON = pa.schema(
    [
        ("id", pa.string()),
        ("name", pa.string()),
        ("path", pa.string()),
        ("stage", pa.string()),
        ("outcome", pa.string()),
        ("failure_kind", pa.string()),
        ("message", pa.string()),
        ("attempts", pa.int32()),
        ("seconds", pa.float64()),
        ("cpu_seconds", pa.float64()),
        ("peak_memory_bytes", pa.int64()),
        ("started_at", pa.timestamp("ms", "UTC")),
        ("slot", pa.string()),
        ("outputs", pa.list_(pa.string())),
    ]
)


def _build_common_columns(outcome: Outcome) -> dict[str, Any]:
    usage, attempted = outcome.usage, outcome.outcome != "remaining"
    return {
        "id": outcome.id,
        "name": outcome.title,
        "path": outcome.path or None,
        "stage": outcome.stage,
        "outcome": outcome.outcome,
        "failure_kind": outcome.failure_kind,
        "message": outcome.message if outcome.failure_kind else None,
        "attempts": outcome.attempts,
        "seconds": usage.seconds if attempted else None,
        "cpu_seconds": usage.cpu_seconds if attempted else None,
        "peak_memory_bytes": usage.peak_memory_bytes if attempted else None,
        "started_at": int(usage.started_at * 1000) if attempted else None,
        "slot": usage.slot if attempted else None,
        "outputs": outcome.outputs,
    }


def _build_value_column(cells: Sequence[Value]) -> pa.Array:
    """Return a stage's value as a column; text if the types of the items differ."""
    try:
        return pa.array(cells)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
