"""What an item has started ends with the item. Linux; elsewhere what it leaves lives until its slot closes.

Processes that the stage started when it opened belong to its warm state and stay.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE_SECONDS = 2.0  # a killed process is gone in a moment, unless the kernel holds it
_PAUSE_SECONDS = 0.005


@contextmanager
def is_none_left() -> Iterator[None]:
    """End every process that was started in the block, below this one and however deep, and still lives after it."""
    kept = _list_children(os.getpid())
    try:
        yield
    finally:
        _end(kept)


def _end(kept: set[int]) -> None:
    """Kill what hangs below this process, but for ``kept``, until there is nothing.

    This process must be a subreaper: the children of the killed come to it and are found in the next round.
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
    """Children of all threads of a process, those that have ended and were not waited for among them."""
    if sys.platform != "linux" or (pid == os.getpid() and _has_no_child()):
        return set()
    found: set[int] = set()
    with contextlib.suppress(OSError):  # gone meanwhile
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as stream:
                found |= {int(child) for child in stream.read().split()}
    return found


def _has_no_child() -> bool:
    """Asks the kernel, which is quicker than to look: most items start nothing."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def _list_descendants(pid: int) -> set[int]:
    children = _list_children(pid)
    return children.union(*map(_list_descendants, children))
