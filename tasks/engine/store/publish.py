"""Publishing: what an item wrote in its private folder becomes part of the output folder, whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tasks.engine.store.layout import is_output_path
from tasks.engine.store.outcomes import Output, Record
from tasks.engine.store.records import RecordStore
from tasks.engine.store.tree import Tree
from tasks.engine.store.write_errors import check_is_no_folder, write_failure


def collect_outputs(folder: Path) -> tuple[Output, ...]:
    """Every file under an item's private ``folder``, in the order of their paths, with size and digest.

    Raises ValueError for anything else: a link would publish what lies elsewhere, reading a pipe would hang, and some
    paths are the engine's own.
    """
    outputs, tree = [], Tree(folder)
    for parent, folders, names in os.walk(folder, onerror=_raise):
        for name in folders:
            if os.path.islink(os.path.join(parent, name)):
                raise ValueError(f"a stage may publish plain files only: {name}")
        for name in names:
            path = Path(parent, name)
            if not stat.S_ISREG(path.lstat().st_mode):
                raise ValueError(f"a stage may publish plain files only: {name}")
            relative = path.relative_to(folder).as_posix()
            if not is_output_path(relative):
                raise ValueError(f"a stage may not publish a file of the engine's own: {relative}")
            outputs.append(Output(relative, path.stat().st_size, tree.sha256(relative)))
    return tuple(sorted(outputs, key=lambda output: output.path))


def _raise(error: OSError) -> None:
    """Raise what ``os.walk`` would pass over: the item would be done without the outputs that were not found."""
    if not isinstance(error, FileNotFoundError):
        raise error


def publish(private: Path, record: Record, store: RecordStore) -> None:
    """Move the outputs from ``private`` into place and write the record last.

    Order: the new files reach the disk, the old record is set aside, the files are renamed into place, the new record
    is written. Raises OutputBlocked if something is in the way of an output: the old record stays then. Raises RunError
    if the output folder takes no files.
    """
    tree, source = store.layout.tree, store.layout.relative(private)
    try:
        for output in record.outputs:
            check_is_no_folder(store.layout.output_dir / output.path)
            tree.sync(f"{source}/{output.path}")
        store.set_aside(record)
        _move(tree, source, record.outputs)
        store.write(record)
        store.settle(record)
    except OSError as error:
        raise write_failure(store.layout.output_dir, store.layout.house, error) from error


def _move(tree: Tree, source: str, outputs: tuple[Output, ...]) -> None:
    parents = set()
    for output in outputs:
        tree.move(f"{source}/{output.path}", output.path)
        parent = output.path.rpartition("/")[0]
        parents |= {parent, parent.rpartition("/")[0]}
    for parent in parents:
        tree.sync_folder(parent)
