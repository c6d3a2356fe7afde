"""Running a program of the user's: without a shell, in a process group of its own, and to its end."""

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
    """Run ``command`` with these variables beside our own; what it says goes to ``log``, and to the item's log.

    How long it may take is the slot's to say, which ends what hangs below it. What the program leaves behind in its
    process group ends with it. Raises SegmentError where it cannot be started or fails.
    """
    with log.open("wb") as words:
        process = _started(command, dict(os.environ) | dict(environment), words.fileno())
    try:
        # Not reaped yet, so that the group cannot be another's when it is ended.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        tell(log)
    if code != 0:
        raise SegmentError(f"{Path(command[0]).name} {_ending(code)}: {_last_words(log)}")


def tell(log: Path) -> None:
    """Put the end of the file ``log`` into the item's log, which is what this process writes to standard error."""
    if log.is_file():
        sys.stderr.write(tail(log))


def tail(log: Path) -> str:
    """The last 64 KiB of ``log``."""
    return log.read_bytes()[-_LOG_BYTES:].decode("utf-8", errors="replace")


def _started(command: Sequence[str], environment: dict[str, str], output: int) -> subprocess.Popen[bytes]:
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
        raise SegmentError(f"{command[0]} cannot be started: {error.strerror or error}; give its whole path") from error


def _ending(code: int) -> str:
    if code > 0:
        return f"ended with exit status {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in tail(log).splitlines() if line.strip()]
    return lines[-1] if lines else "without a word"
