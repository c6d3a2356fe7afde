"""End orphan processes of dead runs whose watchdogs were killed too.

Each process with slots in a run writes its mark to the private folder of the run before it starts any other process.
The next run in the output folder looks for processes with the marks of dead runs, on this host and, in a cluster, on
the host of each worker.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tasks.engine.running.watchdog import end_marked, is_mark
from tasks.engine.store.layout import Layout

_MARKS, _DEAD = "marks", "dead-marks"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def note_mark(private: Path, mark: str) -> None:
    """Write the mark of a run's processes to its private folder."""
    _write(private / _MARKS, [mark])


def end_orphans(layout: Layout, say: Callable[[str], None]) -> set[str]:
    """End the orphans of dead runs on this host; return the marks of these runs.

    Only the owner of the output folder's lock may call this, because all other runs in it are dead then.
    """
    runs = sorted(layout.private.iterdir()) if layout.private.is_dir() else []
    marks = {mark for private in runs for mark in read_marks(private)}
    if count := end_marked(marks, say):
        say(f"ended {count} {'process' if count == 1 else 'processes'} that an earlier run had left running")
    return marks


def read_marks(private: Path) -> set[str]:
    """Return the marks of a run's processes, and the marks of earlier runs that it still looks for."""
    return {*_list_marks(private, _MARKS), *_list_marks(private, _DEAD)}


def note_dead_marks(private: Path, marks: Iterable[str]) -> None:
    """Write the marks of dead runs for workers on other hosts."""
    if marks := list(marks):
        _write(private / _DEAD, marks)


def end_orphans_here(private: Path) -> None:
    """End the orphans of dead runs on this host. Called by a worker of the run with the private folder ``private``."""
    end_marked(set(_list_marks(private, _DEAD)))


def _write(folder: Path, marks: Iterable[str]) -> None:
    folder.mkdir(exist_ok=True)
    for mark in marks:
        (folder / mark).touch()


def _list_marks(private: Path, name: str) -> Iterator[str]:
    """Yield the marks that this user wrote to a folder. Symlinks are not followed: they may lead to another run."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        folder = -1
        for path in (private, name):
            folder = os.open(path, _FOLDER, dir_fd=folder if folder >= 0 else None)
            stack.callback(os.close, folder)
        for mark in os.listdir(folder):
            status = os.stat(mark, dir_fd=folder, follow_symlinks=False)
            if is_mark(mark) and stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                yield mark
