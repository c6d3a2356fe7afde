"""Running a program of the user's: without a shell, in a process group of its own, and to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tasks.media.segments.errors import SegmentError

_LOG_BYTES = 65536


def run_program(command: Sequence[str], log: Path) -> None:
    """Run ``command``; what it says goes to ``log``, and the end of that to standard error.

    What the program leaves behind in its process group ends with it. Raises SegmentError where it cannot be started
    or fails.
    """
    with log.open("wb") as words:
        process = _started(command, words.fileno())
    try:
        # Not reaped yet, so that the group cannot be another's when it is ended.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        said = log.read_bytes()[-_LOG_BYTES:].decode("utf-8", errors="replace")
        sys.stderr.write(said)
    if code != 0:
        last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "without a word")
        ending = f"ended with exit status {code}" if code > 0 else f"was ended by signal {-code}"
        raise SegmentError(f"{Path(command[0]).name} {ending}: {last}")


def _started(command: Sequence[str], output: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, process_group=0
        )
    except OSError as error:
        raise SegmentError(f"{command[0]} cannot be started: {error.strerror or error}; give its whole path") from error
