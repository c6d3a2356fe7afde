"""Make one item: the function that every peer of the comparison calls for each item.

It burns a fixed amount of CPU, writes one small file in two halves and appends its start and end to a log. The plan
(``PEERS_PLAN``) names the log, the amount of work, and the faults by item number. It needs only the standard library.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

_BLOCK = bytes(64 * 1024)


class ItemFailed(ValueError):
    """The exception of an item that fails as planned."""


def make_item(number: int, path: str | Path) -> None:
    """Burn the planned CPU and write the file of an item to ``path``; fail as planned, after half of the work."""
    plan = _read_plan(os.environ["PEERS_PLAN"])
    fault = plan["faults"].get(str(number))
    start = time.thread_time()
    _append(plan["log"], "start", number, 0.0)
    first, second = split_text(number)
    with Path(path).open("w") as file:
        burn(plan["passes"] // 2)
        file.write(first)
        file.flush()
        if fault:
            _append(plan["log"], "fault", number, time.thread_time() - start)
            _fail(fault, number)
        burn(plan["passes"] - plan["passes"] // 2)
        file.write(second)
    _append(plan["log"], "end", number, time.thread_time() - start)


def burn(passes: int) -> None:
    """Hash ``passes`` blocks of 64 KiB; the interpreter lock is free meanwhile, as in media libraries."""
    digest = hashlib.sha256()
    for _ in range(passes):
        digest.update(_BLOCK)


def split_text(number: int) -> tuple[str, str]:
    """Return the two halves of the file of item ``number``."""
    lines = [f"item {number} line {line}\n" for line in range(100)]
    return "".join(lines[:50]), "".join(lines[50:])


def _fail(fault: str, number: int) -> None:
    if fault == "exception":
        raise ItemFailed(f"item {number} fails as planned")
    if fault == "segfault":
        ctypes.string_at(0)
    if fault == "hang":  # a deadlock in native code: no Python signal handler runs
        mutex = ctypes.create_string_buffer(128)
        library = ctypes.CDLL(None)
        library.pthread_mutex_lock(mutex)
        library.pthread_mutex_lock(mutex)
    raise AssertionError(f"{fault} did not happen")


def _append(log: str, kind: str, number: int, cpu_seconds: float) -> None:
    line = f"{kind} {number} {time.time():.6f} {cpu_seconds:.6f} {os.getpid()}\n"
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@functools.cache
def _read_plan(path: str) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads(Path(path).read_text())
    return plan


if __name__ == "__main__":
    make_item(int(sys.argv[1]), sys.argv[2])
