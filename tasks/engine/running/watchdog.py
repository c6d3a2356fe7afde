"""The watchdog: a small process that ends the processes of this one's slots, however this one ends.

The kernel ends a slot's child with its parent, but not the processes that an item started: after a kill -9, ffmpeg
would continue to encode. All of them inherit a mark, in their environment and in a resource limit that Linux does not
use (so that a process that clears its environment keeps it). The watchdog waits until its standard input closes, looks
for processes with the marks that it received there, and kills them. If it is killed too, the next run does the same:
see ``orphans.py``. It needs Linux's ``/proc``; other systems have no watchdog.

Watchdogs can be nested: ``headrace serve`` has one for its processes, among them runs that have their own. A watchdog
has no mark, so that an outer one leaves it alone: it ends its processes by itself when its run is killed.

This file also runs as a script, without the rest of the package.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence

_NAME = "HEADRACE_KEPT"
_RLIMIT_LOCKS = 10  # from Linux's asm-generic/resource.h; without effect since Linux 2.4.25, but inherited
_LIMIT_LINE = b"Max file locks"  # in /proc/PID/limits
_MARK_DIGITS = 32
_STOP_SECONDS = 5.0
_KILL_SECONDS = 10.0  # a killed process is gone in a moment, unless the kernel holds it
_PAUSE_SECONDS = 0.01
_MAX_SHOWN = 10
_CLEAN_SCANS = 3  # a process that forks and exits again and again may hide from one
_ENDED = "ZXx"  # states of a zombie and a dead process, from proc(5)

_watchdog: subprocess.Popen[bytes] | None = None
_known: set[str] = set()


def new_mark() -> str:
    """Return a new mark, which no process has."""
    return uuid.uuid4().hex


def is_mark(text: str) -> bool:
    """Return True if ``text`` has the form of a mark."""
    return len(text) == _MARK_DIGITS and set(text) <= set("0123456789abcdef")


_own_mark = new_mark()


def build_watched_environment(mark: str = _own_mark) -> dict[str, str]:
    """Return environment variables that put a process and its descendants under the watchdog. Not thread-safe."""
    global _watchdog  # noqa: PLW0603 - one per process
    if sys.platform != "linux":
        return {_NAME: mark}
    if _watchdog is None:
        command = [sys.executable, "-I", "-S", __file__]
        unmarked = {name: value for name, value in os.environ.items() if name != _NAME}
        _watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=unmarked)
        atexit.register(_stop, _watchdog)
    if mark not in _known and _watchdog.stdin is not None:
        with contextlib.suppress(OSError):  # it was killed: the next run will look for the mark
            _watchdog.stdin.write(f"{mark}\n".encode())
            _watchdog.stdin.flush()
        _known.add(mark)
    return {_NAME: mark}


def _stop(watchdog: subprocess.Popen[bytes]) -> None:
    assert watchdog.stdin is not None
    with contextlib.suppress(OSError):
        watchdog.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        watchdog.wait(_STOP_SECONDS)


def set_mark() -> None:
    """Copy the mark from the environment to a resource limit, which the descendants of this process inherit."""
    mark = os.environ.get(_NAME, "")
    if sys.platform == "linux" and is_mark(mark):
        with contextlib.suppress(OSError, ValueError):  # a process of another run's item keeps that run's mark
            resource.setrlimit(_RLIMIT_LOCKS, _read_limits(mark))


def _read_limits(mark: str) -> tuple[int, int]:
    """Return the soft and the hard limit that encode ``mark``, 60 bits each."""
    low, high = sorted((int(mark[:15], 16), int(mark[15:30], 16)))
    return low, high


def end_marked(marks: Collection[str], report: Callable[[str], None] | None = None) -> int:
    """Kill this user's processes with one of ``marks`` until none is left; return their number.

    After _KILL_SECONDS it gives up, and ``report`` gets one line with the processes that are left (default: stderr).
    """
    if not marks or sys.platform != "linux":
        return 0
    signs = _Signs(marks)
    killed: set[int] = set()
    clean, deadline = 0, time.monotonic() + _KILL_SECONDS
    while time.monotonic() < deadline:
        found = False
        for pid in signs.find_marked():
            found = True
            if signs.kill(pid):
                killed.add(pid)
        clean = 0 if found else clean + 1
        if clean == _CLEAN_SCANS:
            return len(killed)
        time.sleep(_PAUSE_SECONDS)
    if left := sorted(signs.find_marked()):
        (report or _write_line)(_describe_left(left))
    return len(killed)


def _describe_left(pids: Sequence[int]) -> str:
    shown = ", ".join(map(str, pids[:_MAX_SHOWN])) + (", ..." * (len(pids) > _MAX_SHOWN))
    noun = "process" if len(pids) == 1 else "processes"
    return f"{len(pids)} {noun} of a dead run did not end within {_KILL_SECONDS:g} s: {shown}; look at them with ps"


def _write_line(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal is gone
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class _Signs:
    """Recognizes processes with one of ``marks``."""

    def __init__(self, marks: Collection[str]) -> None:
        self._variables = {f"{_NAME}={mark}".encode() for mark in marks}
        self._limits = {b"%d %d" % _read_limits(mark) for mark in marks}

    def find_marked(self) -> Iterator[int]:
        """Yield the process ids as soon as they are found, the newest first: short-lived processes end soon."""
        for pid in sorted((int(name) for name in os.listdir("/proc") if name.isdigit()), reverse=True):
            if pid != os.getpid() and self._has_mark(pid):
                yield pid

    def kill(self, pid: int) -> bool:
        """Kill a process if it still has a mark: its process id may have been reused."""
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return False
        try:
            if not self._has_mark(pid):
                return False
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except OSError:
            return False
        finally:
            os.close(handle)
        return True

    def _has_mark(self, pid: int) -> bool:
        try:
            if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
                return False
            marked = not self._variables.isdisjoint(_read(pid, "environ").split(b"\0")) or self._is_limited(pid)
            return marked and _read(pid, "stat").rpartition(b")")[2].split()[0].decode() not in _ENDED
        except (OSError, IndexError):  # it has ended
            return False

    def _is_limited(self, pid: int) -> bool:
        lines = _read(pid, "limits").splitlines()
        words = [line.removeprefix(_LIMIT_LINE).split()[:2] for line in lines if line.startswith(_LIMIT_LINE)]
        return any(b" ".join(limits) in self._limits for limits in words)


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as stream:
        return stream.read()


def main() -> None:
    """Wait until the parent ends, then kill the processes with its marks."""
    end_marked({line.strip() for line in sys.stdin})


if __name__ == "__main__":
    main()
