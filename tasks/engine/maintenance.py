"""Inspect and repair an output folder: list, verify, forget, sweep and prune items."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from tasks.engine import run
from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.parquet import read_rows
from tasks.engine.contract.part import find_part
from tasks.engine.contract.paths import find_location_problem
from tasks.engine.contract.text import count_noun
from tasks.engine.running.orphans import end_orphans
from tasks.engine.store.layout import STATE_FOLDER, Layout, check_folders, remove_outputs
from tasks.engine.store.lock import HeldLock
from tasks.engine.store.outcomes import Failure, Record
from tasks.engine.store.records import RecordStore, find_needed_outputs
from tasks.engine.store.write_errors import explain_write_error
from tasks.stores.location import is_location

_MAX_TABLE_BYTES = 2**30


@dataclass(frozen=True)
class Entry:
    """The record or the failure of one item of one stage."""

    stage: str
    id: str
    record: Record | None
    failure: Failure | None

    def line(self) -> str:
        """Return the entry as one line of text."""
        if self.failure:
            return f"{self.stage}  {self.id}  failed  {self.failure.kind}: {self.failure.message}"
        assert self.record is not None
        size = sum(output.size_bytes for output in self.record.outputs)
        files = f"{count_noun(len(self.record.outputs), 'file')}, {size / 2**20:.1f} MiB"
        return f"{self.stage}  {self.id}  done  {self.record.usage.seconds:.2f} s, {files}"


@dataclass(frozen=True)
class Action:
    """Something to do, in words and as the paths to remove, relative to the output folder.

    ``withdrawn`` names items by stage and id: their outputs are among the paths, so their records are set aside first.
    """

    words: str
    paths: tuple[str, ...]
    withdrawn: tuple[tuple[str, str], ...] = ()


def open_layout(output_dir: Path) -> Layout:
    """Return the layout of a folder that a run has written.

    Raises InvalidInput for any other folder, and RunError if a folder of the engine in it is a symlink.
    """
    if is_location(output_dir) and (problem := find_location_problem("OUTPUT_DIR", str(output_dir), writable=True)):
        raise InvalidInput([problem])
    layout = run.open_layout(output_dir)
    if layout.store:
        run.list_objects(layout)
        exists = layout.tree.is_folder(STATE_FOLDER)
    else:
        exists = layout.state_folder.is_dir()
    if not exists:
        given = "no .headrace in it" if layout.store or layout.output_dir.is_dir() else "no such folder"
        raise InvalidInput(
            [Problem(layout.store or str(output_dir), given, "the output folder of a run", "check the path")]
        )
    check_folders(layout.local)
    return layout


def list_stages(layout: Layout) -> list[str]:
    """Return the names of the stages with records or failures."""
    return sorted(
        {name for folder in ("records", "failures") for name in layout.tree.folders(f"{STATE_FOLDER}/{folder}")}
    )


def read_entries(layout: Layout) -> Iterator[Entry]:
    """Yield the entries of all items, by stage and id."""
    for stage in list_stages(layout):
        store = RecordStore(layout, stage)
        records, failures = store.load(), store.load_failures()
        for item_id in sorted(records.keys() | failures.keys()):
            yield Entry(stage, item_id, records.get(item_id), failures.get(item_id))


def find(layout: Layout, ids: Sequence[str]) -> list[Entry]:
    """Return the entries of the items ``ids`` in all stages. Raises InvalidInput for unknown ids."""
    found = [entry for entry in read_entries(layout) if entry.id in ids]
    unknown = sorted(set(ids) - {entry.id for entry in found})
    if unknown:
        advice = "see headrace items list"
        raise InvalidInput([Problem(item_id, "not known", "an item with a record", advice) for item_id in unknown])
    return found


@dataclass(frozen=True)
class BrokenOutput:
    """An output that is missing or does not match the digest in its record."""

    stage: str
    id: str
    state: Literal["missing", "altered"]
    path: str

    def line(self) -> str:
        """Return the output as one line of text."""
        return f"{self.stage}  {self.id}  {self.state}  {self.path}"


def find_broken_outputs(layout: Layout) -> Iterator[BrokenOutput]:
    """Yield the outputs that are missing or do not match the digests in their records.

    Outputs that were dropped because they are used up may be missing.
    """
    for entry in read_entries(layout):
        for output in entry.record.outputs if entry.record and not entry.record.dropped else ():
            store = RecordStore(layout, entry.stage)
            if not store.is_intact(output, "digest"):
                state: Literal["missing", "altered"] = "altered" if _exists(layout, output.path) else "missing"
                yield BrokenOutput(entry.stage, entry.id, state, output.path)


def _exists(layout: Layout, path: str) -> bool:
    """Return True if there is something at ``path``; False for a path that no filesystem can have."""
    try:
        return layout.tree.status(path) is not None
    except OSError:
        return False


def plan_forget(layout: Layout, ids: Sequence[str], outputs_too: bool) -> list[Action]:
    """Return the actions that remove the records of items, so that the next run processes them again."""
    actions, found = [], find(layout, ids)
    forgotten = {(entry.stage, entry.id) for entry in found}
    needed = find_needed_outputs(layout, lambda stage, item_id: (stage, item_id) in forgotten) if outputs_too else set()
    for entry in found:
        if outputs_too and entry.record:
            paths, item = _list_outputs(entry, needed), (entry.stage, entry.id)
            actions.append(
                Action(f"remove {count_noun(len(paths), 'output')} of {entry.stage} {entry.id}", paths, (item,))
            )
        actions.append(Action(f"forget {entry.stage} {entry.id}", _list_engine_files(layout, entry)))
    return actions


def _list_engine_files(layout: Layout, entry: Entry) -> tuple[str, ...]:
    """Return the engine's files about an item."""
    known = [*RecordStore(layout, entry.stage).paths(entry.id), layout.log(entry.stage, entry.id)]
    return tuple(map(layout.relative, known))


def _list_outputs(entry: Entry, needed: set[str]) -> tuple[str, ...]:
    """Return the outputs of an item, without those that another item's record lists too."""
    outputs = entry.record.outputs if entry.record else ()
    return tuple(output.path for output in outputs if output.path not in needed)


def plan_sweep(layout: Layout) -> list[Action]:
    """Return the actions that remove leftovers of dead runs: private folders, partial files, logs of done items."""
    private, tree = layout.relative(layout.private), layout.tree
    actions = [
        Action(f"remove the private folder of run {name}", (f"{private}/{name}",)) for name in tree.names(private)
    ]
    actions += [Action(f"remove the half-written {path}", (path,)) for path in _find_half_written(layout)]
    for entry in read_entries(layout):
        log = layout.relative(layout.log(entry.stage, entry.id))
        if entry.record and not entry.failure and tree.status(log):
            actions.append(Action(f"remove the log of {entry.stage} {entry.id}, which is done", (log,)))
    return actions


def plan_prune(layout: Layout) -> list[Action]:
    """Return the actions that remove items missing from the last run's manifest: records, outputs and failures.

    Stages that the last run did not reach are kept, and so are files of remaining items. Raises InvalidInput if there
    is no ``items.parquet``.
    """
    named, actions = _read_last_items(layout), []
    known = [entry for entry in read_entries(layout) if entry.stage in named]
    needed = find_needed_outputs(layout, lambda stage, item_id: item_id not in named.get(stage, {item_id}))
    for entry in known:
        if entry.id not in named[entry.stage]:
            outputs = _list_outputs(entry, needed)
            what = f"{entry.stage} {entry.id} with {count_noun(len(outputs), 'output')}"
            words = f"remove {what}, which is not in the last manifest"
            actions.append(Action(words, (*outputs, *_list_engine_files(layout, entry)), ((entry.stage, entry.id),)))
    return actions


def read_items_table(layout: Layout, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return text columns of the last run's ``items.parquet``. Raises OSError or ValueError if it cannot be read."""
    return read_rows(layout.tree.read("items.parquet", _MAX_TABLE_BYTES), columns)


def _read_last_items(layout: Layout) -> dict[str, set[str]]:
    """Return the ids of all items of the last run, by stage."""
    path = layout.output_dir / "items.parquet"
    try:
        rows = read_items_table(layout, ("stage", "id"))
    except (OSError, ValueError) as error:
        advice = "run the flow once to its end"
        raise InvalidInput([Problem(str(path), str(error), "the table of a finished run", advice)]) from None
    named: dict[str, set[str]] = {}
    for row in rows:
        named.setdefault(row["stage"], set()).add(row["id"])
    return named


def apply(layout: Layout, actions: Sequence[Action], say: Callable[[str], None] = lambda _: None) -> None:
    """Do ``actions`` while no run is at work. Raises RunError if a run is active, or if the lock cannot be written."""
    try:
        with run.hold_output_dir(layout, "upkeep", say) as lock:
            end_orphans(layout, say)  # before their marks are removed
            for action in actions:
                _apply(layout, action, lock)
    except OSError as error:
        raise explain_write_error(layout.output_dir, error) from error


def _apply(layout: Layout, action: Action, lock: HeldLock) -> None:
    """Do one action: records are set aside, then outputs go, then everything that tells of them."""
    for stage, item_id in action.withdrawn:
        lock.check()
        RecordStore(layout, stage).withdraw([item_id])
    own = [path for path in action.paths if path.startswith(f"{STATE_FOLDER}/")]
    lock.check()
    remove_outputs(layout, [path for path in action.paths if path not in own])
    for path in own:
        lock.check()
        layout.tree.remove(path)


def _find_half_written(layout: Layout) -> list[str]:
    """Return the partial files of killed processes in the output folder. Symlinks are not followed."""
    found = []
    for folder, folders, names in os.walk(layout.output_dir):
        folders[:] = [name for name in folders if find_part(name) is None]  # they belong to other runs
        found += [layout.relative(Path(folder, name)) for name in names if fnmatch(name, ".*.tmp")]
    return sorted(path for path in found if not layout.tree.is_folder(path))
