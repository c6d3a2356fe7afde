"""End the jobs of runs that were killed: those that still wait in the queue would start, and find no scheduler."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast, get_args

from tasks.engine.store.layout import STATE_FOLDER, Layout
from tasks.launcher.clusters.queues import System, get_queue

_FOLDER = f"{STATE_FOLDER}/jobs"  # of each run with jobs, a file with the name of its batch system
_RUN_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}")  # the folder may come from elsewhere: nothing else reaches a command
_MAX_BYTES = 16


def name_jobs(run_id: str) -> str:
    """Return the name of all jobs of a run."""
    return f"headrace-{run_id}"


@contextmanager
def note_jobs(layout: Layout, run_id: str, system: System) -> Iterator[None]:
    """Keep a note that a run has jobs; remove it after they have ended."""
    path = f"{_FOLDER}/{run_id}"
    with layout.tree.opened(_FOLDER, make=True):
        layout.tree.write(path, system.encode())
    yield
    layout.tree.unlink(path)


def end_leftover_jobs(layout: Layout, say: Callable[[str], None]) -> None:
    """End the jobs of dead runs into this output folder, whose lock the caller holds."""
    for run_id in layout.tree.names(_FOLDER):
        system = _read(layout, run_id)
        if system is None:
            continue
        queue = get_queue(system)
        if queue.cancel_jobs(name_jobs(run_id)):
            say(f"ended what was left of the jobs {name_jobs(run_id)}, whose run is dead")
            layout.tree.unlink(f"{_FOLDER}/{run_id}")
        else:
            say(f"the jobs {name_jobs(run_id)} of a dead run may still be in the queue: {queue.listing[0]} lists them")


def _read(layout: Layout, run_id: str) -> System | None:
    """Return the batch system of a dead run; None if the note is not one of ours."""
    if _RUN_ID.fullmatch(run_id):
        with suppress(OSError, ValueError):
            text = layout.tree.read(f"{_FOLDER}/{run_id}", _MAX_BYTES).decode()
            return cast("System", text) if text in get_args(System) else None
    return None
