"""Merge the summaries of parts: one ``summary.json``, ``items.parquet`` and ``failures.json``.

The tables are read and written in pieces, because all items of all parts may not fit into memory.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.engine.contract.text import count_noun, json_text
from tasks.engine.reporting.summary import RunState, Summary, convert_to_dict, describe_counts
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Counts

_ROWS_AT_ONCE = 65_536
_MAX_BYTES = 2**30
_WORST_FIRST: tuple[RunState, ...] = ("failed", "interrupted", "completed_with_failures", "completed")


def merge_summaries(layout: Layout, parts: Sequence[Layout], run_id: str, private: Path) -> Summary:
    """Write the summary of all ``parts`` to the folder of ``layout``; ``private`` is a folder for temporary files."""
    told = [json.loads(part.tree.read("summary.json", _MAX_BYTES)) for part in parts]
    summary = _merge(told, run_id)
    tree = layout.tree
    merge_tables(parts, private / "items.parquet")
    tree.sync(layout.relative(private / "items.parquet"))
    tree.move(layout.relative(private / "items.parquet"), "items.parquet")
    tree.write("failures.json", json_text(_list_failures(parts)).encode() + b"\n")
    tree.write("summary.json", json_text(convert_to_dict(summary)).encode() + b"\n")
    return summary


def _merge(told: Sequence[Mapping[str, Any]], run_id: str) -> Summary:
    stages = _sum_stages(each["stages"] for each in told)
    counts = sum(map(_read_counts, stages.values()), Counts())
    started, finished = min(each["started_at"] for each in told), max(each["finished_at"] for each in told)
    wall = (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
    sequential = sum(each["sequential_seconds"] for each in told)
    state = min((each["state"] for each in told), key=_WORST_FIRST.index)
    return Summary(
        flow=told[0]["flow"],
        run_id=run_id,
        state=state,
        message=f"{count_noun(len(told), 'part')}: {describe_counts(counts)}",
        started_at=started,
        finished_at=finished,
        wall_seconds=round(wall, 3),
        items=_sum(each["items"] for each in told),
        stages=stages,
        sequential_seconds=round(sequential, 3),
        speedup=round(sequential / wall, 3) if wall > 0 else 0.0,
        items_per_second=round(counts.done / wall, 3) if wall > 0 else 0.0,
        slots=sum(each["slots"] for each in told),
        shards=sum(each["shards"] for each in told),
        peak_memory_bytes=max(each["peak_memory_bytes"] for each in told),
        parameters=_merge_parameters(told),
        versions=told[0]["versions"],
        notes=tuple(dict.fromkeys([*_note_versions(told), *(note for each in told for note in each.get("notes", ()))])),
    )


def _read_counts(numbers: Mapping[str, int]) -> Counts:
    return Counts(**{name: number for name, number in numbers.items() if name != "total"})


def _sum(numbers: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in numbers:
        total.update(each)
    return dict(total)


def _sum_stages(stages: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    merged: dict[str, dict[str, int]] = {}
    for each in stages:
        for name, numbers in each.items():
            merged[name] = _sum([merged.get(name, {}), numbers])
    return merged


def _merge_parameters(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parameters of the first part, without the part."""
    parameters = dict(told[0]["parameters"])
    if isinstance(execution := parameters.get("execution"), dict):
        parameters["execution"] = {**execution, "part": None}
    return parameters


def _note_versions(told: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each program of which parts used different versions."""
    for name in sorted({name for each in told for name in each["versions"]}):
        versions = sorted({each["versions"].get(name, "none") for each in told})
        if len(versions) > 1:
            yield f"parts were run with different versions of {name}: {', '.join(versions)}"


def _list_failures(parts: Sequence[Layout]) -> list[Any]:
    return [row for part in parts for row in json.loads(part.tree.read("failures.json", _MAX_BYTES))]


def merge_tables(parts: Sequence[Layout], target: Path) -> None:
    """Write the rows of the parts' ``items.parquet`` to ``target``, with the columns of all of them."""
    with ExitStack() as stack:
        tables = [stack.enter_context(_open_table(part)) for part in parts]
        schema = _unite_schemas([table.schema_arrow for table in tables])
        writer = stack.enter_context(pq.ParquetWriter(target, schema))
        for table in tables:
            for batch in table.iter_batches(_ROWS_AT_ONCE):
                columns = [_read_column(batch, each) for each in schema]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


@contextmanager
def _open_table(part: Layout) -> Iterator[pq.ParquetFile]:
    with part.tree.reading("items.parquet") as descriptor, open(os.dup(descriptor), "rb") as stream:
        yield pq.ParquetFile(stream)


def _unite_schemas(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return all columns in the order of their first appearance; text if their types differ, as in one run."""
    types: dict[str, list[pa.DataType]] = {}
    for schema in schemas:
        for each in schema:
            types.setdefault(each.name, []).append(each.type)
    return pa.schema([(name, _unite_types(each)) for name, each in types.items()])


def _unite_types(types: Sequence[pa.DataType]) -> pa.DataType:
    try:
        schemas = [pa.schema([("x", each)]) for each in types]
        return pa.unify_schemas(schemas, promote_options="permissive").field("x").type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()


def _read_column(batch: pa.RecordBatch, wanted: pa.Field) -> pa.Array:
    place = batch.schema.get_field_index(wanted.name)
    if place < 0:
        return pa.nulls(batch.num_rows, wanted.type)
    column = batch.column(place)
    if column.type == wanted.type:
        return column
    if pa.types.is_string(wanted.type):
        return pa.array([None if cell is None else str(cell) for cell in column.to_pylist()], pa.string())
    return column.cast(wanted.type)
