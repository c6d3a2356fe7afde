"""Repair by hand: what the records say, whether it holds, and how to make the engine forget it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.engine.errors import InvalidInput, Problem
from tasks.engine.layout import Layout, remove_output
from tasks.engine.lock import locked
from tasks.engine.outcomes import Failure, Record
from tasks.engine.records import RecordStore
from tasks.engine.write_errors import cannot_write


@dataclass(frozen=True)
class Entry:
    """What is known of one item of one stage."""

    stage: str
    id: str
    record: Record | None
    failure: Failure | None

    def line(self) -> str:
        """The entry in one line."""
        if self.failure:
            return f"{self.stage}  {self.id}  failed  {self.failure.kind}: {self.failure.message}"
        assert self.record is not None
        size = sum(output.size_bytes for output in self.record.outputs)
        files = f"{len(self.record.outputs)} files, {size / 2**20:.1f} MiB"
        return f"{self.stage}  {self.id}  done  {self.record.usage.seconds:.2f} s, {files}"


@dataclass(frozen=True)
class Deed:
    """Something to do, in words and as the paths to remove."""

    words: str
    paths: tuple[Path, ...]


def open_layout(output_dir: Path) -> Layout:
    """The layout of a folder that a run has written. Raises InvalidInput where none has."""
    layout = Layout(output_dir.absolute())
    if not layout.house.is_dir():
        known = Problem(str(output_dir), "no .headrace in it", "the --output-dir of a run", "give that folder")
        raise InvalidInput([known])
    return layout


def stages(layout: Layout) -> list[str]:
    """Names of the stages that have left something."""
    folders = [layout.records("x").parent, layout.failures("x").parent]
    return sorted({path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()})


def entries(layout: Layout) -> Iterator[Entry]:
    """Everything that is known, by stage and id."""
    for stage in stages(layout):
        store = RecordStore(layout, stage)
        records, failures = store.load(), store.load_failures()
        for item_id in sorted(records.keys() | failures.keys()):
            yield Entry(stage, item_id, records.get(item_id), failures.get(item_id))


def find(layout: Layout, ids: Sequence[str]) -> list[Entry]:
    """The entries of the items ``ids``, in all stages. Raises InvalidInput for ids that nothing is known of."""
    found = [entry for entry in entries(layout) if entry.id in ids]
    unknown = sorted(set(ids) - {entry.id for entry in found})
    if unknown:
        advice = "see `python -m tasks.engine list`"
        raise InvalidInput([Problem(item_id, "not known", "an item with a record", advice) for item_id in unknown])
    return found


def broken_outputs(layout: Layout) -> Iterator[str]:
    """A line for each output that is gone, or has not the digest that its record says."""
    for entry in entries(layout):
        for output in entry.record.outputs if entry.record else ():
            store = RecordStore(layout, entry.stage)
            if not store.output_holds(output, "digest"):
                there = (layout.output_dir / output.path).exists()
                yield f"{entry.stage}  {entry.id}  {'altered' if there else 'missing'}  {output.path}"


def to_forget(layout: Layout, ids: Sequence[str], outputs_too: bool) -> list[Deed]:
    """What forgetting items means: their records go, so that the next run makes them again."""
    deeds = []
    for entry in find(layout, ids):
        store = RecordStore(layout, entry.stage)
        known = [*store.paths(entry.id), layout.log(entry.stage, entry.id)]
        deeds.append(Deed(f"forget {entry.stage} {entry.id}", tuple(path for path in known if path.exists())))
        if outputs_too and entry.record:
            paths = tuple(layout.output_dir / output.path for output in entry.record.outputs)
            deeds.append(Deed(f"remove {len(paths)} outputs of {entry.stage} {entry.id}", paths))
    return deeds


def to_sweep(layout: Layout) -> list[Deed]:
    """What dead runs have left: private folders, half-written files, logs of items that are done since."""
    deeds = [Deed(f"remove the private folder of run {path.name}", (path,)) for path in _children(layout.private)]
    temporary = [path for path in layout.output_dir.rglob(".*.tmp") if path.is_file()]
    deeds += [Deed(f"remove the half-written {layout.relative(path)}", (path,)) for path in temporary]
    for entry in entries(layout):
        log = layout.log(entry.stage, entry.id)
        if entry.record and not entry.failure and log.exists():
            deeds.append(Deed(f"remove the log of {entry.stage} {entry.id}, which is done", (log,)))
    return deeds


def to_prune(layout: Layout) -> list[Deed]:
    """What the last run's manifest no longer names: records, outputs and failures of items that are not in it.

    A stage that the last run never came to is left alone, and so is a file that an item has which is named. Raises
    InvalidInput where no run has left an ``items.parquet``.
    """
    named, deeds = _last_items(layout), []
    known = [entry for entry in entries(layout) if entry.stage in named]
    needed = {
        output.path
        for entry in entries(layout)
        if entry.record and entry.id in named.get(entry.stage, {entry.id})
        for output in entry.record.outputs
    }
    for entry in known:
        if entry.id not in named[entry.stage]:
            files = [output.path for output in entry.record.outputs] if entry.record else []
            outputs = [layout.output_dir / path for path in files if path not in needed]
            books = [*RecordStore(layout, entry.stage).paths(entry.id), layout.log(entry.stage, entry.id)]
            words = (
                f"remove {entry.stage} {entry.id} with {len(outputs)} outputs, which the last manifest does not name"
            )
            deeds.append(Deed(words, (*outputs, *(path for path in books if path.exists()))))
    return deeds


def _last_items(layout: Layout) -> dict[str, set[str]]:
    """Ids of all items of the last run, by stage."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = layout.output_dir / "items.parquet"
    try:
        table = pq.read_table(path, columns=["stage", "id"])
    except (OSError, pa.ArrowException) as error:
        advice = "run the flow once to its end"
        raise InvalidInput([Problem(str(path), str(error), "what a run has left", advice)]) from None
    named: dict[str, set[str]] = {}
    for row in table.to_pylist():
        named.setdefault(row["stage"], set()).add(row["id"])
    return named


def do(layout: Layout, deeds: Sequence[Deed], say: Callable[[str], None] = lambda _: None) -> None:
    """Do ``deeds`` while no run is at work. Raises RunError where one is, or the lock cannot be written."""
    try:
        with locked(layout.lock, "upkeep", say) as lock:
            for deed in deeds:
                for path in deed.paths:
                    lock.check()
                    _remove(layout, path)
    except OSError as error:
        raise cannot_write(layout.output_dir, error) from error


def _remove(layout: Layout, path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path.is_relative_to(layout.house):
        path.unlink(missing_ok=True)
    else:
        remove_output(layout, layout.relative(path))


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
