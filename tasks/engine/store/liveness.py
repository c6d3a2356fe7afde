"""Identify a process so that it can be looked up later, and check if it still runs.

No wall clock is involved: Linux counts a process's start time in ticks since boot.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ENDED = "ZXx"  # states of a process that is a zombie or dead, from proc(5)
_STATE, _THREADS, _START_TICKS = 0, 17, 19  # places in /proc/PID/stat after the command's name


@dataclass(frozen=True)
class ProcessIdentity:
    """A process: its machine and namespaces, and its start time, which distinguishes processes with the same id.

    host           name of its machine
    boot_id        Linux's name for the time between two boots; empty if there is none
    pid_namespace  in which its number holds; empty if the numbers in /proc are those of another namespace
    time_namespace in which its start time holds
    pid            its number
    start_ticks    clock ticks from boot to its start; 0 if unknown
    """

    host: str
    boot_id: str
    pid_namespace: str
    time_namespace: str
    pid: int
    start_ticks: int

    @classmethod
    def mine(cls) -> ProcessIdentity:
        """Return the identity of this process."""
        pid = os.getpid()
        boot_id, pid_namespace, time_namespace = _view(pid)
        status = _read_status(pid) if pid_namespace else None
        return cls(socket.gethostname(), boot_id, pid_namespace, time_namespace, pid, status[2] if status else 0)

    def is_alive(self) -> bool | None:
        """Return True if the process runs, False if it has ended, None if this process cannot look it up.

        A lookup requires the same machine, the same boot and the same namespaces, because process ids and start times
        differ otherwise. The host name is compared too: virtual machines resumed from one snapshot share a boot ID.
        """
        boot_id, pid_namespace, time_namespace = _view(os.getpid())
        here = (socket.gethostname(), boot_id, pid_namespace, time_namespace)
        there = (self.host, self.boot_id, self.pid_namespace, self.time_namespace)
        if here != there or not boot_id or not pid_namespace or not self.start_ticks or self.pid <= 0:
            return None
        status = _read_status(self.pid)
        if status is None:  # /proc may hide other users' processes
            return None if _exists(self.pid) else False
        state, threads, start_ticks = status
        ended = state in _ENDED and threads <= 1  # threads of a zombie may still be at work
        return start_ticks == self.start_ticks and not ended


@cache  # of a process, by its number: a forked one is asked anew
def _view(pid: int) -> tuple[str, str, str]:
    """Return the boot ID and the namespaces of numbers and times in which /proc is seen; empty texts if unknown."""
    try:
        if int(os.readlink("/proc/self")) != pid:  # /proc shows the numbers of another namespace
            return "", "", ""
        boot_id = _BOOT_ID.read_text().strip()
        pid_namespace = os.readlink("/proc/self/ns/pid")
    except (OSError, ValueError):
        return "", "", ""
    try:
        return boot_id, pid_namespace, os.readlink("/proc/self/ns/time")
    except OSError:  # a kernel before 5.6 has one time for all
        return boot_id, pid_namespace, ""


def _read_status(pid: int) -> tuple[str, int, int] | None:
    """Return state, number of threads and start time in ticks since boot; None if they cannot be read."""
    try:
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return words[_STATE].decode(), int(words[_THREADS]), int(words[_START_TICKS])
    except (OSError, ValueError, IndexError):
        return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
