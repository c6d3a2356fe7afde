"""Try a model on a device of this machine, in a child process that contains MediaPipe's logs and crashes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tasks.engine.contract.errors import RunError
from tasks.landmarks.detection.graph import Graph
from tasks.landmarks.params import Device
from tasks.landmarks.points import ModelKind

_TIMEOUT_SECONDS = 60


def check_device(kind: ModelKind, model: Path, device: Device) -> str | None:
    """Return the reason why ``model`` does not run on ``device``, as one clause; None if it runs."""
    command = [sys.executable, "-P", "-m", __name__, kind, str(model), device]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"the model did not start within {_TIMEOUT_SECONDS} s"
    if process.returncode < 0:
        return f"the model's start was killed by signal {-process.returncode}"
    return process.stdout.strip() or None


def _try_device(kind: ModelKind, model: str, device: Device) -> None:
    try:
        Graph(kind, Path(model), device).close()
    except RunError as error:
        print(str(error).partition("; ")[0].rpartition(": ")[2])  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    _try_device(*sys.argv[1:])  # type: ignore[arg-type]
