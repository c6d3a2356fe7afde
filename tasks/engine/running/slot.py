"""A slot: one child process that holds a stage's warm state, watched while it runs an item.

A hang past the deadline, a segfault or a breach of the memory limit ends only the child; the slot starts another.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import select
import signal
import sys
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.stage import Stage
from tasks.engine.running.child_process import ChildProcess
from tasks.engine.running.control import StopSignal
from tasks.engine.running.devices import Device
from tasks.engine.running.messages import Failed, Finished, Ready, Reply, Request, send_message
from tasks.engine.running.starting import start_child
from tasks.engine.store.outcomes import FailureKind, Usage

_OPEN_SECONDS = 180.0  # loading a model or compiling a kernel may take long
_OPEN_TRIES = 3
_MAX_ITEMS = 500  # per child; then it is replaced, unless it is younger than _MIN_SECONDS
_MIN_SECONDS = 60.0
_TICK_SECONDS = 0.1  # between checks of a running item's memory and of the stop signal
_MAX_LOG_BYTES = 16 * 2**20
_LOG_TAIL_BYTES = 64 * 1024
_CLOSE_SECONDS = 5.0
_KERNEL_FILE_BYTES = 16 * 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Limits:
    """The limits of an item in a slot."""

    timeout_seconds: float
    memory_bytes: int


class Slot:
    """Runs one child process at a time. Used by one thread at a time.

    ``number`` counts the slots of a process and a stage from 0; the child finds it in the variable HEADRACE_SLOT. All
    its processes have the mark ``mark``. ``device`` is the device of the slot, for a stage that needs one.
    """

    def __init__(
        self, stage: Stage, label: str, log: Path, number: int = 0, mark: str = "", device: Device | None = None
    ) -> None:
        self.stage = stage
        self.label = label
        self.log = log
        self.number = number
        self.mark = mark
        self.device = device
        self._process: ChildProcess | None = None
        self._child: psutil.Process | None = None
        self._pipe: Connection | None = None
        self._seen: list[psutil.Process] = []
        self._log_offset = 0
        self._started = 0.0
        self._born = 0.0
        self._items = 0
        self._oom_kills = 0

    def open(self) -> None:
        """Ensure that a child is ready for an item. Raises RunError if the stage cannot be opened."""
        if self._process is not None and not self._report_exit() and not self._is_worn():
            return
        self.close()
        for _ in range(_OPEN_TRIES):
            answer = self._start_child()
            if isinstance(answer, Ready):
                return
            self.close()
            if isinstance(answer, Failed):
                raise RunError(f"stage {self.stage.name} cannot start: {answer.message}")
        raise RunError(f"stage {self.stage.name} cannot start: its process died {_OPEN_TRIES} times; see {self.log}")

    def _is_worn(self) -> bool:
        """Return True if the child should be replaced, so that memory leaks of a stage do not accumulate."""
        return self._items >= _MAX_ITEMS and time.monotonic() - self._born >= _MIN_SECONDS

    def start(self, request: Request) -> None:
        """Send an item to the child. Call :meth:`wait` next."""
        self._items += 1
        self._log_offset = self.log.stat().st_size
        if self._log_offset > _MAX_LOG_BYTES:  # the output of earlier items is not needed any more
            os.truncate(self.log, 0)
            self._log_offset = 0
        self._started = time.monotonic()
        with contextlib.suppress(OSError):  # wait() notices a dead child
            send_message(self._open_pipe(), request)

    def wait(self, limits: Limits, stop: StopSignal) -> Reply | None:
        """Wait for the item and return its reply; None if the run stops first. Ends the child if it did not reply."""
        peak = 0
        deadline = self._started + limits.timeout_seconds
        while not stop.stopping:
            left = deadline - time.monotonic()
            if _has_message(self._open_pipe(), max(0.0, min(_TICK_SECONDS, left))):
                return self._receive(peak)
            if self._report_exit():  # a process that it forked keeps the pipe open
                return self._receive(peak) if self._open_pipe().poll() else self._describe_death(peak)
            used = self._measure_memory()
            peak = max(peak, used)
            self._oom_kills = _oom_kills.read(_TICK_SECONDS)
            if used > limits.memory_bytes:
                return self._end(
                    "out_of_memory", f"used {_format_mib(used)} of {_format_mib(limits.memory_bytes)} allowed", peak
                )
            if left <= 0:
                return self._end("timeout", f"no result within {limits.timeout_seconds:g} s", peak)
        self.close()
        return None

    def read_log_tail(self) -> bytes:
        """Return the output of the child since the item started, at most the last 64 KiB."""
        with self.log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(self._log_offset, size - _LOG_TAIL_BYTES))
            return stream.read()

    def measure_memory(self) -> int:
        """Return the memory of the child in bytes; 0 if none runs."""
        with contextlib.suppress(psutil.Error):
            return int(self._child.memory_info().rss) if self._child else 0
        return 0

    def close(self) -> None:
        """End the child and all its descendants."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._process is not None:
            started = {*self._seen, *self._list_processes()}  # some may have left the process group of the child
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            for process in started:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            self._process.reap(_CLOSE_SECONDS)
            self._process = self._child = None
            self._seen = []

    def _report_exit(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _open_pipe(self) -> Connection:
        if self._pipe is None:
            raise RuntimeError("the slot has no child; call open() first")
        return self._pipe

    def _start_child(self) -> Ready | Failed | None:
        """Start a child and wait until it has opened the stage; return None if it died or hung."""
        with self.log.open("ab") as log:
            self._process, self._pipe = start_child(self.stage, log, self.number, self.mark, self.device)
        ours = self._pipe
        self._born, self._items = time.monotonic(), 0
        self._oom_kills = _oom_kills.read()
        with contextlib.suppress(OSError, EOFError, psutil.NoSuchProcess):
            self._child = psutil.Process(self._process.pid)
            ours.send(self.stage)
            if ours.poll(_OPEN_SECONDS):
                answer = ours.recv()
                return answer if isinstance(answer, Ready | Failed) else None
        return None

    def _receive(self, peak: int) -> Reply:
        try:
            reply = self._open_pipe().recv()
        except (EOFError, OSError):
            return self._describe_death(peak)
        if not isinstance(reply, Finished | Failed):
            raise RuntimeError(f"the child answered with {type(reply).__name__}")
        used = reply.usage
        peak = max(peak, used.peak_memory_bytes)
        usage = Usage(used.started_at, used.seconds, used.cpu_seconds, peak, self.label)
        return replace(reply, usage=usage)

    def _describe_death(self, peak: int) -> Failed:
        """Return the failure for a child that ended by itself."""
        assert self._process is not None
        code = self._process.poll(_CLOSE_SECONDS)
        if code is None:
            return self._end("crash", "the item's process closed its connection and did not end", peak)
        if code == -signal.SIGKILL and _oom_kills.read() > self._oom_kills:
            return self._end("out_of_memory", "ended by the kernel, which ran out of memory", peak)
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        return self._end("crash", f"the item's process {how}", peak)

    def _end(self, kind: FailureKind, message: str, peak: int) -> Failed:
        seconds = time.monotonic() - self._started
        usage = Usage(time.time() - seconds, seconds, self._measure_cpu_seconds(), peak, self.label)
        self.close()
        return Failed(kind, message, usage)

    def _list_processes(self) -> list[psutil.Process]:
        """Return the child and all its descendants."""
        return [self._child, *_list_descendants(self._child)] if self._child else []

    def _measure_memory(self) -> int:
        total = 0
        self._seen = self._list_processes()
        for process in self._seen:
            with contextlib.suppress(psutil.Error, OSError, IndexError):
                total += _read_resident_bytes(process)
        return total

    def _measure_cpu_seconds(self) -> float:
        total = 0.0
        for process in self._list_processes():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def _has_message(pipe: Connection, seconds: float) -> bool:
    """Return True if the pipe has a message or is closed, at the latest after ``seconds``."""
    if not hasattr(select, "poll"):
        return pipe.poll(seconds)
    poller = select.poll()  # Connection.poll builds a selector each time, which takes ten times as long
    poller.register(pipe, select.POLLIN)
    return bool(poller.poll(math.ceil(seconds * 1000)))


def _list_descendants(process: psutil.Process) -> list[psutil.Process]:
    """Return all descendants of a process. Asks the kernel for them; psutil would read all processes of the machine."""
    if sys.platform != "linux":
        return process.children(recursive=True)
    found = []
    with contextlib.suppress(OSError, psutil.Error):
        for thread in os.listdir(f"/proc/{process.pid}/task"):
            for pid in _read_file(f"/proc/{process.pid}/task/{thread}/children").split():
                child = psutil.Process(int(pid))
                found += [child, *_list_descendants(child)]
    return found


def _read_resident_bytes(process: psutil.Process) -> int:
    if sys.platform != "linux":
        return int(process.memory_info().rss)
    return int(_read_file(f"/proc/{process.pid}/statm").split()[1]) * _PAGE_BYTES


def _read_file(path: str) -> bytes:
    """Return the content of a file of the kernel, faster than :class:`Path` does."""
    content = b""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while part := os.read(descriptor, _KERNEL_FILE_BYTES):
            content += part
    finally:
        os.close(descriptor)
    return content


@dataclass
class _OomKills:
    """Counts the processes that the kernel has killed for lack of memory since boot (Linux)."""

    count: int = 0
    read_at: float = 0.0

    def read(self, max_age_seconds: float = 0.0) -> int:
        """Return the number; all slots share one reading."""
        now = time.monotonic()
        if now - self.read_at >= max_age_seconds:
            with contextlib.suppress(OSError):
                found = re.search(rb"^oom_kill (\d+)$", _read_file("/proc/vmstat"), re.MULTILINE)
                self.count = int(found[1]) if found else 0
            self.read_at = now
        return self.count


_oom_kills = _OomKills()


def _format_mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MiB"
