"""What one way of extracting gave on one clip."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.landmark_extraction.clips import Clip


@dataclass(frozen=True)
class Measured:
    """Figures of one clip: ``left`` and ``right`` are frames in which that hand was found."""

    frames: int
    cpu_seconds: float
    left: int
    right: int
    peak_memory_bytes: int

    @property
    def coverage(self) -> float:
        """Share of frames x hands that were found."""
        return (self.left + self.right) / (2 * self.frames)

    @property
    def cpu_milliseconds(self) -> float:
        """CPU a frame."""
        return 1000 * self.cpu_seconds / self.frames


def run_loop(command: Sequence[str | Path], clips: Sequence[Clip]) -> dict[str, Measured]:
    """What a script that prints a line of JSON a clip says of ``clips``."""
    environment = {**os.environ, "GLOG_minloglevel": "2", "TF_CPP_MIN_LOG_LEVEL": "2"}
    paths = [str(clip.path) for clip in clips]
    found = subprocess.run(
        [*map(str, command), *paths], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    rows = {row["path"]: row for row in map(json.loads, found.stdout.splitlines())}
    return {clip.name: _measured(rows[str(clip.path)]) for clip in clips}


def _measured(row: dict[str, object]) -> Measured:
    return Measured(**{name: row[name] for name in Measured.__dataclass_fields__})  # type: ignore[arg-type]


def cores() -> int:
    """The cores that this process may use."""
    return len(psutil.Process().cpu_affinity())
