"""Whether a model runs on a device of this machine, tried where neither MediaPipe's logs nor a crash can hurt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tasks.engine.contract.errors import RunError
from tasks.landmarks.detection.graph import Graph
from tasks.landmarks.params import Device
from tasks.landmarks.points import ModelKind

_PATIENCE_SECONDS = 60


def why_not(kind: ModelKind, model: Path, device: Device) -> str | None:
    """One clause that says why ``model`` does not run on ``device``; None where it does."""
    command = [sys.executable, "-m", __name__, kind, str(model), device]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"the model did not start within {_PATIENCE_SECONDS} s"
    if tried.returncode < 0:
        return f"the start of the model ended with signal {-tried.returncode}"
    return tried.stdout.strip() or None


def _main(kind: ModelKind, model: str, device: Device) -> None:
    try:
        Graph(kind, Path(model), device).close()
    except RunError as error:
        print(str(error).partition("; ")[0].rpartition(": ")[2])  # noqa: T201 - what the other side reads


if __name__ == "__main__":
    _main(*sys.argv[1:])  # type: ignore[arg-type]
