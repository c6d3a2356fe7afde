"""One core's worth of threads, on whichever core there is room.

MediaPipe and XNNPACK make as many threads as the process may use cores, and their hand-overs cost CPU: with several
children at a time they get in each other's way. How many they make cannot be said through the Tasks API, so for the
time that a graph is built the calling thread may use one core alone. Its threads inherit that, and are given back all
cores afterwards: pinned children would queue for one core while another idles.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MOST_ROUNDS = 100


@contextmanager
def one_core() -> Iterator[None]:
    """Threads made in the ``with`` think that there is one core. Does nothing where the system has no affinities."""
    if sys.platform != "linux":
        yield
        return
    allowed = os.sched_getaffinity(0)
    core = {sorted(allowed)[os.getpid() % len(allowed)]}  # not the same one for all children
    before = _threads()
    os.sched_setaffinity(0, core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        _give_back(before, core, allowed)


def _give_back(before: set[int], core: set[int], allowed: set[int]) -> None:
    """Let every new thread that is bound to ``core`` use the ``allowed`` ones.

    One that starts while its parent is still bound is bound too, hence another look until there is none.
    """
    if core == allowed:
        return
    for _ in range(_MOST_ROUNDS):
        if not [thread for thread in _threads() - before if _unbind(thread, core, allowed)]:
            return


def _unbind(thread: int, core: set[int], allowed: set[int]) -> bool:
    """Whether the thread was bound to ``core``; it no longer is."""
    try:
        if os.sched_getaffinity(thread) != core:
            return False
        os.sched_setaffinity(thread, allowed)
    except ProcessLookupError:
        return False
    return True


def _threads() -> set[int]:
    """The ids of the threads of this process."""
    return {int(entry.name) for entry in Path("/proc/self/task").iterdir()}
