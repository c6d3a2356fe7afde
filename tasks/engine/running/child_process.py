"""A child process as its slot sees it: its process id and its exit code.

Until :meth:`ChildProcess.reap`, the process id belongs to this child and is not reused, even if the child has ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import BinaryIO

from tasks.engine.contract.errors import RunError


def start_module(
    module: str, descriptor: int, log: BinaryIO, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start ``python -P -m module DESCRIPTOR PID`` in its own session; ``descriptor`` is its end of a pipe."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, str(descriptor), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=(descriptor,),
        start_new_session=True,
        env=environment,
    )


class ChildProcess(ABC):
    """A child of this process."""

    pid: int

    @abstractmethod
    def poll(self, seconds: float = 0.0) -> int | None:
        """Return the exit code, or the negative number of the signal; None if it still runs after ``seconds``."""

    @abstractmethod
    def reap(self, seconds: float) -> None:
        """Wait for its end and release its process id. Raises RunError if it does not end."""


def _make_error(pid: int, seconds: float) -> RunError:
    return RunError(f"process {pid} did not end within {seconds:g} s after it was killed; look at it with ps")


class WatchedChild(ChildProcess):
    """Child that this process waits for through a pidfd (Linux). ``end`` is called when its process id is released."""

    def __init__(self, pid: int, end: Callable[[], object]) -> None:
        self.pid = pid
        self._end = end
        self._handle = os.pidfd_open(pid)
        self._code: int | None = None

    def poll(self, seconds: float = 0.0) -> int | None:
        """Return the exit code, or the negative number of the signal; None if it still runs after ``seconds``."""
        if self._code is None and self._has_ended(seconds):
            self._code = 0  # if this process ignores SIGCHLD, the kernel keeps no exit codes
            with contextlib.suppress(ChildProcessError):
                status = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
                assert status is not None
                self._code = status.si_status if status.si_code == os.CLD_EXITED else -status.si_status
        return self._code

    def reap(self, seconds: float) -> None:
        """Wait for its end and release its process id. Raises RunError if it does not end."""
        if self.poll(seconds) is None:
            raise _make_error(self.pid, seconds)
        os.close(self._handle)
        self._end()

    def _has_ended(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


class PortableChild(ChildProcess):
    """Child on a system without pidfd."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self._process = process

    def poll(self, seconds: float = 0.0) -> int | None:
        """Return the exit code, or the negative number of the signal; None if it still runs after ``seconds``."""
        if seconds == 0:
            return self._process.poll()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def reap(self, seconds: float) -> None:
        """Wait for its end. Raises RunError if it does not end."""
        if self.poll(seconds) is None:
            raise _make_error(self.pid, seconds)
