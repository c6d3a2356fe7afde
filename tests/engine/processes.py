"""Find processes by a mark in their environment, which their children inherit; wait for them; read ledgers.

Tests have no deadlines in wall time: on a busy machine such tests pass or fail with the load. See :class:`Deadline`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MARK = "HEADRACE_TEST_MARK"
TEMPLATE = "tasks.engine.running.template"  # on the command line of a template, which outlives its children a little
_DEADLINE_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_MAX_STRETCH = 20.0  # maximum wall time per second of a deadline


def child_environment(**variables: str) -> dict[str, str]:
    """Return the environment for a child that imports these sources, and the rest from where this process does."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, **variables}


class Deadline:
    """A deadline that depends on progress: time in which a process of this test waits for a core does not count.

    A run that hangs or sleeps waits for no core, so its deadline is ``seconds``. A run that is slow because many
    others use the cores gets more time, up to ``_MAX_STRETCH`` times that.
    """

    def __init__(self, seconds: float) -> None:
        self._left, self._wall_left = seconds, seconds * _MAX_STRETCH
        self._looked, self._delays = time.monotonic(), _read_core_waits()

    @property
    def is_over(self) -> bool:
        """Return True if the time is up. Call it about every second."""
        now, delays = time.monotonic(), _read_core_waits()
        waited = max((delay - self._delays.get(thread, delay) for thread, delay in delays.items()), default=0.0)
        elapsed = now - self._looked
        self._looked, self._delays = now, delays
        self._wall_left -= elapsed
        self._left -= max(0.0, elapsed - waited)
        return self._left <= 0 or self._wall_left <= 0


def _read_core_waits() -> dict[str, float]:
    """Return the seconds for which each thread of this process and its descendants has waited for a core (Linux)."""
    seconds, processes = {}, [str(os.getpid())]
    while processes:
        tasks = f"/proc/{processes.pop()}/task"
        with contextlib.suppress(OSError):  # the process has ended
            for thread in Path(tasks).iterdir():
                processes += (thread / "children").read_text().split()
                seconds[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
    return seconds


def find_processes(mark: str) -> dict[int, str]:
    """Return the command lines of live processes with ``mark``, without this one, by pid."""
    wanted = f"{MARK}={mark}".encode()
    commands = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                commands[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # the process has ended
            continue
    return commands


def wait_until(
    condition: Callable[[], object],
    what: str | Callable[[], str],
    seconds: float = _DEADLINE_SECONDS,
    every_seconds: float = 0.01,
) -> None:
    """Return when ``condition()`` holds; fail with ``what`` if it does not. Slow conditions are checked less often."""
    asked = looked = time.monotonic()
    deadline = Deadline(seconds)
    while not condition():
        now = time.monotonic()
        if now - looked > _LOOK_SECONDS:
            looked = now
            assert not deadline.is_over, f"waited {seconds:g} s for {what if isinstance(what, str) else what()}"
        time.sleep(max(every_seconds, min(4 * (now - asked), 0.25)))
        asked = time.monotonic()


def wait_for_exit(process: subprocess.Popen[Any], seconds: float = 2 * _DEADLINE_SECONDS) -> int:
    """Return the exit code of a process; fail if it does not end."""
    wait_until(lambda: process.poll() is not None, f"the end of {process.args!r}", seconds, every_seconds=0.05)
    return int(process.wait())


def wait_until_gone(mark: str) -> None:
    """Return when no process has ``mark``."""
    wait_until(lambda: not find_processes(mark), lambda: f"processes of the run are left: {find_processes(mark)}")


def count_tries(ledger: Path, word: str = "start") -> Counter[str]:
    """Return how often each item was started (or ended), by id."""
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return Counter(line.split()[1] for line in lines if line.startswith(f"{word} "))
