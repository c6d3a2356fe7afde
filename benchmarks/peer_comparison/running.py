"""Run one command and measure it with everything that it starts: wall time, CPU, memory, processes left behind.

Every process of the command carries a mark in its environment. This process adopts orphans (Linux), so their CPU is
counted when they end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_MARK = "PEERS_MARK"
_RUN = uuid.uuid4().hex  # so that two benchmarks on one machine leave each other's processes alone
_PR_SET_CHILD_SUBREAPER = 36
_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class Execution:
    """Measurements of one command. ``ended`` is ``exit N``, ``killed``, ``stalled`` or ``capped``."""

    ended: str
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    processes_left: int


@dataclass(frozen=True)
class Limits:
    """Time after which a command is ended: ``cap_seconds``, or ``stall_seconds`` without a new line in the log.

    Before the first line, ``start_seconds`` apply.
    """

    cap_seconds: float = 180.0
    stall_seconds: float = 60.0
    start_seconds: float = 150.0


def adopt_orphans() -> None:
    """Make this process the parent of orphans among its descendants."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot adopt orphans")


def run_command(
    command: Sequence[str | Path],
    environment: dict[str, str],
    log: Path,
    output: Path,
    limits: Limits,
    kill_when: Callable[[], bool] | None = None,
    keep_orphans: bool = False,
) -> Execution:
    """Run ``command``; kill its main process when ``kill_when`` returns True.

    ``log`` is the log of the items: a command that adds nothing to it for a while has stalled. Unless ``keep_orphans``,
    processes that outlive the command by 10 s are killed.
    """
    mark = uuid.uuid4().hex
    before = _read_cpu_seconds()
    start = time.perf_counter()
    with output.open("ab") as sink:
        process = subprocess.Popen(
            [str(word) for word in command],
            env={**environment, _MARK: f"{_RUN}-{mark}"},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            cwd=output.parent,
            start_new_session=True,
        )
        with _measure_memory(mark) as peaks:
            ended = _watch(process, log, limits, kill_when)
            seconds = time.perf_counter() - start
    if ended in ("stalled", "capped"):
        kill_marked(mark)
    left = _count_left(mark)
    if not keep_orphans:
        kill_marked(mark)
        _reap_all()
    return Execution(ended, seconds, _read_cpu_seconds() - before, max(peaks, default=0), left)


def kill_marked(mark: str = "") -> None:
    """Kill the processes with this mark, or with any mark of this benchmark, until none is left."""
    while pids := list(_find_marked(mark)):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
        _reap()


def _watch(process: subprocess.Popen[bytes], log: Path, limits: Limits, kill_when: Callable[[], bool] | None) -> str:
    start = changed = time.monotonic()
    first = size = log.stat().st_size if log.exists() else 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return f"exit {process.wait(0.02)}"
        now = time.monotonic()
        if kill_when and kill_when():
            process.kill()
            process.wait()
            return "killed"
        new_size = log.stat().st_size if log.exists() else 0
        if new_size != size:
            size, changed = new_size, now
        is_stalled = now - changed > (limits.start_seconds if size == first else limits.stall_seconds)
        if is_stalled or now - start > limits.cap_seconds:
            ended = "stalled" if is_stalled else "capped"
            process.kill()
            process.wait()
            return ended


def _count_left(mark: str) -> int:
    """Return the number of processes that are still running 10 s after the end of the command."""
    end = time.monotonic() + _GRACE_SECONDS
    while True:
        _reap()
        left = len(list(_find_marked(mark)))
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.1)


@contextlib.contextmanager
def _measure_memory(mark: str) -> Iterator[list[int]]:
    """Sample the sum of the proportional memory of the marked processes, in at most 1 % of a core's time."""
    peaks: list[int] = []
    stop = threading.Event()

    def sample() -> None:
        while True:
            start = time.thread_time()
            peaks.append(sum(map(_read_pss, _find_marked(mark))))
            if stop.wait(max(0.5, 100 * (time.thread_time() - start))):
                return

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()


def _find_marked(mark: str) -> Iterator[int]:
    wanted = f"{_MARK}={_RUN}-{mark}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes():
                    yield int(entry.name)


def _read_pss(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _reap() -> None:
    """Collect ended orphans. Called only while no command is running."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _reap_all(patience_seconds: float = 10.0) -> None:
    """Collect all children; a process that was just killed takes a moment to end."""
    end = time.monotonic() + patience_seconds
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < end:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(0.02)


def _read_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
