"""The keeper: a small process that ends what this one's slots have started, however this one ends.

The kernel ends a slot's child with its parent, but not what an item has started in turn: after a kill -9 an ffmpeg
would encode on. All of them inherit a mark in their environment; the keeper waits for its standard input to close,
looks for the mark and kills. It needs Linux's ``/proc``; elsewhere there is none.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import uuid

_NAME = "HEADRACE_KEPT"
_ROUNDS = 5  # a process may start another while we look
_STOP_SECONDS = 5.0

_mark = uuid.uuid4().hex
_keeper: subprocess.Popen[bytes] | None = None


def kept_environment() -> dict[str, str]:
    """What puts a process, and all that it starts, under the keeper. Starts the keeper. Not safe for threads."""
    global _keeper  # noqa: PLW0603 - one a process, as its mark
    if _keeper is None and sys.platform == "linux":
        command = [sys.executable, "-I", "-S", __file__, _mark]
        _keeper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        atexit.register(_stop, _keeper)
    return {_NAME: _mark}


def _stop(keeper: subprocess.Popen[bytes]) -> None:
    assert keeper.stdin is not None
    keeper.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        keeper.wait(_STOP_SECONDS)


def kill_marked(mark: str) -> int:
    """Kill every process that bears ``mark``; returns how many there were."""
    wanted, killed = f"{_NAME}={mark}".encode(), 0
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
            if name.isdigit() and wanted in _environment(name):
                os.kill(int(name), signal.SIGKILL)
                killed += 1
    return killed


def _environment(pid: str) -> list[bytes]:
    with open(f"/proc/{pid}/environ", "rb") as stream:
        return stream.read().split(b"\0")


def main(mark: str) -> None:
    """Wait for the parent's end, then kill what bears ``mark``."""
    sys.stdin.buffer.read()
    for _ in range(_ROUNDS):
        if not kill_marked(mark):
            return


if __name__ == "__main__":
    main(sys.argv[1])
