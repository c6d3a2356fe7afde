"""Change the command line and the environment that other processes see of this one (Linux).

``/proc/PID/cmdline`` and ``/proc/PID/environ`` show memory that the kernel filled when the program started. A forked
process has a copy of its parent's. If the memory cannot be written, nothing changes: these are for humans and for a
second look by the watchdog; its mark in a resource limit is there anyway.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

_ARGUMENTS, _ENVIRONMENT = 48, 50  # fields of /proc/self/stat with the first addresses; see proc(5)


def set_command_line(words: Sequence[str]) -> None:
    """Show ``words`` as the command line of this process, truncated to the length of the present one."""
    with contextlib.suppress(OSError):
        start, size = _find_block(_ARGUMENTS)
        text = b"".join(os.fsencode(word) + b"\0" for word in words)
        _write(start, text[:size].ljust(size, b"\0"))


def replace_variable(name: str, value: str) -> None:
    """Show ``value`` for a variable that this process was started with, if the old value has the same length."""
    with contextlib.suppress(OSError):
        start, size = _find_block(_ENVIRONMENT)
        offset = 0
        for entry in _read(start, size).split(b"\0"):
            key, _, old = entry.partition(b"=")
            if key == os.fsencode(name) and len(old) == len(os.fsencode(value)):
                _write(start + offset + len(key) + 1, os.fsencode(value))
            offset += len(entry) + 1


def _find_block(field: int) -> tuple[int, int]:
    """Return the address and the size of a block of memory. The size is 0 if the kernel does not tell."""
    values = Path("/proc/self/stat").read_text().rpartition(")")[2].split()  # from the third field on
    start, end = int(values[field - 3]), int(values[field - 2])
    return start, max(0, end - start)


def _read(start: int, size: int) -> bytes:
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        return os.pread(memory.fileno(), size, start)


def _write(start: int, content: bytes) -> None:
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        os.pwrite(memory.fileno(), content, start)
