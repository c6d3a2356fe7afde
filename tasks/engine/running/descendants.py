"""End the processes that an item started when the item ends.

Linux only; elsewhere they live until the slot closes. Processes that the stage started in ``open`` stay.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE_SECONDS = 2.0  # a killed process ends immediately unless the kernel blocks it
_PAUSE_SECONDS = 0.005


@contextmanager
def end_descendants() -> Iterator[None]:
    """End all descendants of this process that were started in the block and still run after it."""
    kept = _list_children(os.getpid())
    try:
        yield
    finally:
        _end(kept)


def _end(kept: set[int]) -> None:
    """Kill all descendants of this process except ``kept``, until none is left.

    This process must be a subreaper: orphaned children are reparented to it and are found in the next round.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (strays := _list_children(os.getpid()) - kept) and time.monotonic() < deadline:
        for pid in strays:
            for each in (pid, *_list_descendants(pid)):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(each, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    time.sleep(_PAUSE_SECONDS)


def _list_children(pid: int) -> set[int]:
    """Return the children of all threads of a process, including zombies."""
    if sys.platform != "linux" or (pid == os.getpid() and _has_no_child()):
        return set()
    found: set[int] = set()
    with contextlib.suppress(OSError):  # it has ended
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as stream:
                found |= {int(child) for child in stream.read().split()}
    return found


def _has_no_child() -> bool:
    """Return True if this process has no child. Faster than listing: most items start no process."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def _list_descendants(pid: int) -> set[int]:
    children = _list_children(pid)
    return children.union(*map(_list_descendants, children))
