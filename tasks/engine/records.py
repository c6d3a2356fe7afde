"""The records of one stage in one output folder: read, trusted or not, written last, set aside."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from tasks.engine.execution import Verify
from tasks.engine.files import file_sha256, write_atomically
from tasks.engine.layout import Layout, remove_output
from tasks.engine.outcomes import Failure, Output, Record

T = TypeVar("T")
_RECORD = TypeAdapter(Record)
_FAILURE = TypeAdapter(Failure)


class RecordStore:
    """Records and failures of one stage. Every method is safe against a kill at any instant."""

    def __init__(self, layout: Layout, stage: str) -> None:
        self.layout = layout
        self.stage = stage
        self.folder = layout.records(stage)
        self.failures_folder = layout.failures(stage)

    def prepare(self) -> None:
        """Make the folders."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.failures_folder.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[str, Record]:
        """Every readable record by item id, by one listing of the folder. A record that cannot be read is none."""
        return _load(self.folder, _RECORD)

    def load_failures(self) -> dict[str, Failure]:
        """What failed in earlier runs, by item id."""
        return _load(self.failures_folder, _FAILURE)

    def get(self, item_id: str) -> Record | None:
        """The record of one item."""
        return _read(self.folder / f"{item_id}.json", _RECORD)

    def write(self, record: Record) -> None:
        """Say that an item is done. Comes last, when its outputs are in place."""
        write_atomically(self.folder / f"{record.id}.json", _RECORD.dump_json(record))
        (self.folder / f"{record.id}.stale").unlink(missing_ok=True)
        (self.failures_folder / f"{record.id}.json").unlink(missing_ok=True)

    def write_failure(self, failure: Failure) -> None:
        """Keep what is known of a failed item for the next run and for ``--keep-failed``."""
        write_atomically(self.failures_folder / f"{failure.id}.json", _FAILURE.dump_json(failure), durable=False)

    def set_aside(self, item_id: str) -> tuple[Output, ...]:
        """Stop trusting an item's record before its outputs are replaced; returns the outputs that it named.

        The record becomes ``<id>.stale`` and stays until :meth:`write`, so that a run which is killed in between
        still knows which files to remove.
        """
        current, stale = self.folder / f"{item_id}.json", self.folder / f"{item_id}.stale"
        if current.exists():
            current.replace(stale)
        record = _read(stale, _RECORD)
        return record.outputs if record else ()

    def prune(self, kept: Iterable[str]) -> None:
        """Forget every item that is not in ``kept``, and remove the outputs that no kept item has."""
        known, kept_ids = self.load(), set(kept)
        needed = {output.path for item_id in kept_ids & set(known) for output in known[item_id].outputs}
        for item_id in set(known) - kept_ids:
            (self.folder / f"{item_id}.json").unlink()
            for output in known[item_id].outputs:
                if output.path not in needed:
                    remove_output(self.layout, output.path)

    def outputs_hold(self, record: Record, verify: Verify) -> bool:
        """Whether every output of ``record`` is there with its size (and its digest, where asked)."""
        return all(self._output_holds(output, verify) for output in record.outputs)

    def _output_holds(self, output: Output, verify: Verify) -> bool:
        path = os.path.join(self.layout.output_dir, output.path)
        try:
            if os.stat(path).st_size != output.size_bytes:
                return False
            return verify == "size" or file_sha256(Path(path)) == output.sha256
        except OSError:
            return False


def _load(folder: Path, adapter: TypeAdapter[T]) -> dict[str, T]:
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(".json")]
    except FileNotFoundError:
        return {}
    found = ((name.removesuffix(".json"), _read(folder / name, adapter)) for name in names if name[0] != ".")
    return {item_id: entry for item_id, entry in found if entry is not None}


def _read(path: Path, adapter: TypeAdapter[T]) -> T | None:
    try:
        return adapter.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
