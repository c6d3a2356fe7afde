"""Publish the files of an item: move them from its private folder into the output folder, all or none."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from tasks.engine.store.layout import is_output_path
from tasks.engine.store.outcomes import Output, Record
from tasks.engine.store.records import RecordStore
from tasks.engine.store.tree import Move, Tree
from tasks.engine.store.write_errors import check_is_no_folder, write_failure


def collect_outputs(folder: Path) -> tuple[Output, ...]:
    """Return all files in an item's private ``folder``, sorted by path, with size and digest.

    Raises ValueError for anything but plain files (a symlink could publish files from elsewhere, reading a pipe would
    hang), and for paths in the state folder.
    """
    with Tree(folder).holding() as tree:
        return tuple(sorted(_collect(tree, folder, ""), key=lambda output: output.path))


def _collect(tree: Tree, folder: Path, relative: str) -> Iterator[Output]:
    """Yield the files in the folder ``relative`` of the private ``folder``; none if it is missing."""
    for name in tree.names(relative):
        path = f"{relative}/{name}" if relative else name
        status = tree.status(path)
        if status is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder / path))
        if stat.S_ISDIR(status.st_mode):
            yield from _collect(tree, folder, path)
        elif not stat.S_ISREG(status.st_mode):
            raise ValueError(f"a stage may publish plain files only: {name}")
        elif not is_output_path(path):
            raise ValueError(f"a stage may not publish a file of the engine's own: {path}")
        else:
            yield Output(path, status.st_size, tree.sha256(path))


def publish(private: Path, record: Record, store: RecordStore, check: Callable[[], None] = lambda: None) -> None:
    """Move the outputs from ``private`` into place and write the record last.

    ``check`` is called before each step that takes long; it raises LockLost if this process must not publish any more.

    Order: sync the new files, set the old record aside, rename the files into place, write the new record. Raises
    OutputBlocked if the path of an output is occupied; the old record stays valid then. Raises RunError if the output
    folder cannot be written.
    """
    tree, source = store.tree, store.layout.relative(private)
    try:
        for output in record.outputs:
            check_is_no_folder(store.layout.output_dir / output.path)
            tree.sync(f"{source}/{output.path}")
        store.set_aside(record)
        moves = [Move(f"{source}/{output.path}", output.path, output.sha256) for output in record.outputs]
        tree.move_all(moves, check)
        store.write(record)
        store.settle(record)
    except OSError as error:
        raise write_failure(store.layout.output_dir, store.layout.state_folder, error) from error
