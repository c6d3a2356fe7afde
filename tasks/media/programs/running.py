"""Running an external program: without a shell, in a new process group, to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tasks.media.segments.errors import SegmentError

_LOG_BYTES = 64 * 1024


def run_program(command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """Run ``command`` with additional variables; its output goes to ``log`` and to the item's log.

    The slot limits the time and kills all descendants. Processes that the program leaves in its process group are
    killed when it ends. Raises SegmentError if it cannot be started or fails.
    """
    with log.open("wb") as output:
        process = _start(command, dict(os.environ) | dict(environment), output.fileno())
    try:
        # Wait without reaping, so that the ID of the group is still valid when it is killed.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        copy_to_item_log(log)
    if code != 0:
        raise SegmentError(f"{Path(command[0]).name} {_describe_exit(code)}: {_read_last_line(log)}")


def copy_to_item_log(log: Path) -> None:
    """Copy the end of the file ``log`` to standard error, which is the item's log."""
    if log.is_file():
        sys.stderr.write(read_tail(log))


def read_tail(log: Path) -> str:
    """Return the last 64 KiB of ``log``."""
    return log.read_bytes()[-_LOG_BYTES:].decode("utf-8", errors="replace")


def _start(command: Sequence[str], environment: dict[str, str], output: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            process_group=0,
        )
    except OSError as error:
        raise SegmentError(f"{command[0]} cannot be started: {error.strerror or error}; give its full path") from error


def _describe_exit(code: int) -> str:
    if code > 0:
        return f"ended with exit status {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _read_last_line(log: Path) -> str:
    lines = [line.strip() for line in read_tail(log).splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
