"""End what items of dead runs left running, if their watchdogs were killed with them.

Each process that has slots in a run notes the mark of what they start in the private folder of the run, before it
starts anything. The next run in the output folder looks for the marks of the dead, on this host and, in a cluster, on
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
    """Note in the private folder of a run that its processes bear ``mark``."""
    _write(private / _MARKS, [mark])


def end_orphans(layout: Layout, say: Callable[[str], None]) -> set[str]:
    """End what items of dead runs left running on this host; return the marks of these runs.

    Only the owner of the output folder's lock may call this: all other runs in it are dead then.
    """
    runs = sorted(layout.private.iterdir()) if layout.private.is_dir() else []
    marks = {mark for private in runs for mark in read_marks(private)}
    if count := end_marked(marks):
        say(f"ended {count} {'process' if count == 1 else 'processes'} that an earlier run had left running")
    return marks


def read_marks(private: Path) -> set[str]:
    """Return the marks of a run's processes, and those of earlier runs that it still looks for."""
    return {*_list_marks(private, _MARKS), *_list_marks(private, _DEAD)}


def note_dead_marks(private: Path, marks: Iterable[str]) -> None:
    """Note marks of dead runs, for workers on other hosts to look for."""
    if marks := list(marks):
        _write(private / _DEAD, marks)


def end_orphans_here(private: Path) -> None:
    """End what dead runs left on this host: for a worker of the run whose private folder is ``private``."""
    end_marked(set(_list_marks(private, _DEAD)))


def _write(folder: Path, marks: Iterable[str]) -> None:
    folder.mkdir(exist_ok=True)
    for mark in marks:
        (folder / mark).touch()


def _list_marks(private: Path, name: str) -> Iterator[str]:
    """Yield the marks noted in a folder by this user. A symlink is not followed: it may lead to another run's marks."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        folder = -1
        for path in (private, name):
            folder = os.open(path, _FOLDER, dir_fd=folder if folder >= 0 else None)
            stack.callback(os.close, folder)
        for mark in os.listdir(folder):
            status = os.stat(mark, dir_fd=folder, follow_symlinks=False)
            if is_mark(mark) and stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                yield mark
