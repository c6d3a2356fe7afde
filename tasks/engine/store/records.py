"""Read and write the records of one stage in one output folder."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from tasks.engine.contract.execution import Verify
from tasks.engine.store.layout import STATE_FOLDER, Layout, remove_outputs
from tasks.engine.store.outcomes import MAX_RECORD_BYTES, Failure, Output, OutputPath, Record, Try

T = TypeVar("T")
E = TypeVar("E", Record, Failure)
_LONGEST_HISTORY = 20
# Nothing is there, or no plain file, or (None) one that is too large.
_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EMLINK, errno.ENXIO, None})
_RECORD = TypeAdapter(Record)
_FAILURE = TypeAdapter(Failure)


@dataclass(frozen=True)
class Aside:
    """The content of ``<id>.stale`` of an unfinished item: the files that it may have, and its former record."""

    paths: frozenset[OutputPath]
    former: Record | None


_ASIDE = TypeAdapter(Aside)


class RecordStore:
    """The records and failures of one stage. Every method is safe against a kill at any time."""

    def __init__(self, layout: Layout, stage: str) -> None:
        self.layout = layout
        self.stage = stage
        self.folder = layout.records(stage)
        self.failures_folder = layout.failures(stage)
        self.tree = layout.tree
        self._records, self._failures = layout.relative(self.folder), layout.relative(self.failures_folder)
        self._new = ""

    def look(self, item_id: str) -> None:
        """Check if an item has any files here; if not, publishing it reads none. Only for a single writer."""
        places = (f"{self._records}/{item_id}.json", f"{self._records}/{item_id}.stale")
        has_files = any(self.tree.status(path) for path in (*places, f"{self._failures}/{item_id}.json"))
        self._new = "" if has_files else item_id

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keep folders open during the block, which makes accesses faster. For one thread; see :meth:`Tree.holding`."""
        with self.layout.tree.holding() as tree:
            self.tree = tree
            try:
                yield
            finally:
                self.tree = self.layout.tree

    def _is_new(self, item_id: str) -> bool:
        """Return True if :meth:`look` found no files of this item, and none were written since."""
        return item_id == self._new

    def prepare(self) -> None:
        """Create the folders."""
        for folder in (self._records, self._failures):
            with self.tree.opened(folder, make=True):
                pass

    def ids(self) -> set[str]:
        """Return the ids of items that have a record, readable or not."""
        return self._list_ids(".json")

    def unfinished_ids(self) -> set[str]:
        """Return the ids of items whose results were being replaced or removed when a run ended."""
        return self._list_ids(".stale") - self.ids()

    def failed_ids(self) -> set[str]:
        """Return the ids of items that failed in an earlier run."""
        return set(self._list_names(self._failures, ".json"))

    def prefetch(self) -> None:
        """Prepare reading all records, if that takes a request each."""
        self.tree.prefetch(self._records, ".json", MAX_RECORD_BYTES)

    def load(self) -> dict[str, Record]:
        """Return all readable records by item id, with one listing of the folder."""
        return self._load(self._records, _RECORD)

    def load_failures(self) -> dict[str, Failure]:
        """Return the failures of earlier runs by item id."""
        return self._load(self._failures, _FAILURE)

    def get(self, item_id: str) -> Record | None:
        """Return the record of one item; None if it has none."""
        return self._own(self._read(f"{self._records}/{item_id}.json", _RECORD), item_id)

    def get_failure(self, item_id: str) -> Failure | None:
        """Return the failure of one item; None if it has none."""
        return self._own(self._read(f"{self._failures}/{item_id}.json", _FAILURE), item_id)

    def write(self, record: Record) -> None:
        """Write the record that an item is done. Call it last, after its outputs are in place."""
        new = self._is_new(record.id)
        record = record if new else replace(record, history=self._read_history(record.id))
        self.tree.write(f"{self._records}/{record.id}.json", _RECORD.dump_json(record))
        self.tree.sync_folder(self._records)  # the record must survive a power cut like its outputs
        if not new:
            self.tree.unlink(f"{self._failures}/{record.id}.json")

    def write_failure(self, failure: Failure) -> None:
        """Write the failure of an item, for the next run and for ``--keep-failed``."""
        if not self._is_new(failure.id):
            failure = replace(failure, history=self._read_history(failure.id))
        self.tree.write(f"{self._failures}/{failure.id}.json", _FAILURE.dump_json(failure), durable=False)
        self._new = ""

    def paths(self, item_id: str) -> list[Path]:
        """Return the paths of all files about an item: its record, a record set aside, its failure."""
        failure = self.failures_folder / f"{item_id}.json"
        return [self.folder / f"{item_id}.json", self.folder / f"{item_id}.stale", failure]

    def _read_history(self, item_id: str) -> tuple[Try, ...]:
        """Return the latest attempts of an item, from its last failure or its former record."""
        failure = self._own(self._read(f"{self._failures}/{item_id}.json", _FAILURE), item_id)
        former = failure or self._read_former(item_id)
        return (*former.history, former.to_attempt())[-_LONGEST_HISTORY:] if former else ()

    def set_aside(self, record: Record) -> None:
        """Invalidate the item's old record before its outputs are replaced by those of ``record``.

        ``<id>.stale`` lists every file that the item may have from now on, so that a kill leaves no unlisted file.
        """
        if self._is_new(record.id):
            if record.outputs:
                content = _ASIDE.dump_json(Aside(_list_paths(record), None))
                self.tree.write(f"{self._records}/{record.id}.stale", content, durable=False)
            return
        current, stale = f"{self._records}/{record.id}.json", f"{self._records}/{record.id}.stale"
        paths, former = self._collect_paths(record.id) | _list_paths(record), self._read_former(record.id)
        replaces = self.tree.status(current) is not None
        if paths or former:
            self.tree.write(stale, _ASIDE.dump_json(Aside(paths, former)), durable=replaces)
        if replaces:
            self.tree.unlink(current)
            self.tree.sync_folder(self._records)  # a power cut must not bring it back next to other outputs

    def withdraw(self, item_ids: Collection[str]) -> None:
        """Invalidate the records of items before their outputs are removed.

        A record is renamed to ``<id>.stale``.
        """
        for item_id in item_ids:
            current, stale = f"{self._records}/{item_id}.json", f"{self._records}/{item_id}.stale"
            if self._read_aside(item_id):
                content = _ASIDE.dump_json(Aside(self._collect_paths(item_id), self._read_former(item_id)))
                self.tree.write(stale, content)
                self.tree.unlink(current)
            elif self.tree.status(current):
                self.tree.move(current, stale)
        self.tree.sync_folder(self._records)

    def settle(self, record: Record) -> None:
        """Remove ``<id>.stale`` after :meth:`write`, unless :meth:`tidy` must remove files of the item."""
        if self._is_new(record.id):
            self._new = ""
            if record.outputs:
                self.tree.unlink(f"{self._records}/{record.id}.stale")
            return
        aside = self._read_aside(record.id)
        if aside is None or aside.paths <= _list_paths(record):
            self.tree.unlink(f"{self._records}/{record.id}.stale")

    def tidy(self, kept: Collection[str] | None = None) -> None:
        """Remove files that no item has any more; with ``kept``, also all files of other items.

        Call it when a stage is over: one item may have dropped a file that another has just written.
        """
        stale, done = self._list_ids(".stale"), self._list_ids(".json")
        gone = set() if kept is None else (stale | done) - set(kept)
        superseded = (stale & done) - gone
        if not gone | superseded:
            return
        needed = find_needed_outputs(self.layout, lambda stage, item_id: stage == self.stage and item_id in gone)
        self._remove(gone & done, gone | superseded, needed)

    def _remove(self, withdrawn: Collection[str], others: Collection[str], needed: Collection[str]) -> None:
        """Withdraw items, then remove their outputs and those that the ``others`` dropped, except ``needed`` ones."""
        self.withdraw(withdrawn)
        removed = {*withdrawn, *others}
        paths = {path for item_id in removed for path in self._collect_paths(item_id)}
        remove_outputs(self.layout, paths.difference(needed))
        for item_id in removed:
            self.tree.unlink(f"{self._records}/{item_id}.stale")
        self.tree.flush()

    def drop_outputs(self, item_id: str) -> None:
        """Remove the outputs of an item, and keep its record, which says so."""
        record = self.get(item_id)
        if record is None:
            return
        if not record.dropped:
            self.tree.write(f"{self._records}/{item_id}.json", _RECORD.dump_json(replace(record, dropped=True)))
            self.tree.sync_folder(self._records)
        remove_outputs(self.layout, {output.path for output in record.outputs})
        self.tree.flush()

    def discard(self, item_ids: Collection[str]) -> None:
        """Remove the records and the outputs of items that nothing needs any more.

        Other stages write other files: unlike :meth:`tidy`, this reads the records of this stage only.
        """
        gone = set(item_ids)
        if not gone:
            return
        others = (record for item_id, record in self.load().items() if item_id not in gone)
        self._remove(gone, (), {path for record in others for path in _list_paths(record)})

    def _list_ids(self, suffix: str) -> set[str]:
        return set(self._list_names(self._records, suffix))

    def _read_aside(self, item_id: str) -> Aside | None:
        """Return the content of an item's ``<id>.stale``; None if there is none."""
        path = f"{self._records}/{item_id}.stale"
        if aside := self._read(path, _ASIDE):
            return aside
        record = self._own(self._read(path, _RECORD), item_id)
        return Aside(_list_paths(record), record) if record else None

    def _read_former(self, item_id: str) -> Record | None:
        """Return the item's latest record, valid or set aside."""
        aside = self._read_aside(item_id)
        return self.get(item_id) or (aside.former if aside else None)

    def _collect_paths(self, item_id: str) -> frozenset[str]:
        """Return all files that the item may have."""
        record, aside = self.get(item_id), self._read_aside(item_id)
        return (aside.paths if aside else frozenset()) | (_list_paths(record) if record else frozenset())

    def has_intact_outputs(self, record: Record, verify: Verify) -> bool:
        """Return True if every output of ``record`` exists with its size, and with its digest if requested."""
        return all(self.is_intact(output, verify) for output in record.outputs)

    def is_intact(self, output: Output, verify: Verify) -> bool:
        """Return True if an output exists with its size, and with its digest if requested."""
        try:
            status = self.tree.status(output.path)
            if status is None or not stat.S_ISREG(status.st_mode) or status.st_size != output.size_bytes:
                return False
            return verify == "size" or self.tree.sha256(output.path) == output.sha256
        except OSError:
            return False

    def _list_names(self, folder: str, suffix: str) -> Iterator[str]:
        """Yield the names in ``folder`` that end in ``suffix``, without the suffix."""
        return (name.removesuffix(suffix) for name in self.tree.names(folder) if name.endswith(suffix))

    def _load(self, folder: str, adapter: TypeAdapter[E]) -> dict[str, E]:
        contents = self.tree.read_all(folder, ".json", MAX_RECORD_BYTES)
        found = ((name, self._own(_parse(content, adapter), name)) for name, content in contents)
        return {item_id: entry for item_id, entry in found if entry is not None}

    def _read(self, path: str, adapter: TypeAdapter[T]) -> T | None:
        """Return the content of a file; None if it is missing or invalid.

        Raises OSError if the disk fails: an item must not count as missing then, because its files would be lost.
        """
        try:
            content = self.tree.read(path, MAX_RECORD_BYTES)
        except OSError as error:
            return _parse(error, adapter)
        return _parse(content, adapter)

    def _own(self, entry: E | None, item_id: str) -> E | None:
        """Return ``entry``; None if its item or stage does not match its file name, so that no run wrote it."""
        return entry if entry and (entry.stage, entry.id) == (self.stage, item_id) else None


def _parse(content: bytes | OSError, adapter: TypeAdapter[T]) -> T | None:
    """Return what a file holds; None if it is missing or invalid. Raises OSError if the disk fails."""
    if isinstance(content, OSError):
        if content.errno in _NO_FILE:
            return None
        raise content
    try:
        return adapter.validate_json(content)
    except ValidationError:
        return None


def find_needed_outputs(layout: Layout, is_gone: Callable[[str, str], bool]) -> set[str]:
    """Return the outputs of all items in all stages, except items with ``is_gone(stage, item id)``."""
    return {
        path
        for stage in layout.tree.folders(f"{STATE_FOLDER}/records")
        for item_id, record in RecordStore(layout, stage).load().items()
        if not is_gone(stage, item_id)
        for path in _list_paths(record)
    }


def _list_paths(record: Record) -> frozenset[str]:
    return frozenset(output.path for output in record.outputs)
