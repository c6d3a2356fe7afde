"""Figures of one extraction method on one clip."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.landmark_extraction.clips import Clip


@dataclass(frozen=True)
class ClipFigures:
    """Figures of one clip: ``left`` and ``right`` are the numbers of frames in which that hand was detected."""

    frames: int
    cpu_seconds: float
    left: int
    right: int
    peak_memory_bytes: int

    @property
    def coverage(self) -> float:
        """Return the detected hands as a share of two per frame."""
        return (self.left + self.right) / (2 * self.frames)

    @property
    def cpu_milliseconds(self) -> float:
        """Return the CPU time per frame."""
        return 1000 * self.cpu_seconds / self.frames


def run_loop(command: Sequence[str | Path], clips: Sequence[Clip]) -> dict[str, ClipFigures]:
    """Return the figures from a script that prints a line of JSON per clip, with one process per core.

    A core does less work per second if the other cores are busy, so all methods keep all cores busy.
    """
    shares = _split_clips(clips, count_cores())
    with ThreadPoolExecutor(len(shares)) as pool:
        outputs = list(
            pool.map(lambda share: _run_command([*map(str, command), *(str(clip.path) for clip in share)]), shares)
        )
    rows = [[json.loads(line) for line in text.splitlines()] for text in outputs]
    pairs = [
        pair for share, share_rows in zip(shares, rows, strict=True) for pair in zip(share, share_rows, strict=True)
    ]
    return {clip.name: _create_figures(row) for clip, row in pairs}


def _run_command(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def _split_clips(clips: Sequence[Clip], processes: int) -> list[list[Clip]]:
    """Distribute the clips to processes with about the same number of frames each."""
    shares: list[list[Clip]] = [[] for _ in range(processes)]
    for clip in sorted(clips, key=lambda clip: -clip.frames):
        min(shares, key=lambda share: sum(other.frames for other in share)).append(clip)
    return [share for share in shares if share]


def _create_figures(row: dict[str, object]) -> ClipFigures:
    return ClipFigures(**{name: row[name] for name in ClipFigures.__dataclass_fields__})  # type: ignore[arg-type]


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(psutil.Process().cpu_affinity())
