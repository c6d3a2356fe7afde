"""What one way of extracting gave on one clip."""

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
    """What a script that prints a line of JSON a clip says of ``clips``; a process a core, as the flow has slots.

    A second of a core counts for less work where the core beside it is busy too: so all ways keep all cores busy.
    """
    shares = _shares(clips, cores())
    with ThreadPoolExecutor(len(shares)) as pool:
        said = list(pool.map(lambda share: _said([*map(str, command), *(str(clip.path) for clip in share)]), shares))
    rows = [[json.loads(line) for line in text.splitlines()] for text in said]
    pairs = [pair for share, own in zip(shares, rows, strict=True) for pair in zip(share, own, strict=True)]
    return {clip.name: _measured(row) for clip, row in pairs}


def _said(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def _shares(clips: Sequence[Clip], processes: int) -> list[list[Clip]]:
    """The clips of each process, about as many frames each."""
    shares: list[list[Clip]] = [[] for _ in range(processes)]
    for clip in sorted(clips, key=lambda clip: -clip.frames):
        min(shares, key=lambda share: sum(other.frames for other in share)).append(clip)
    return [share for share in shares if share]


def _measured(row: dict[str, object]) -> Measured:
    return Measured(**{name: row[name] for name in Measured.__dataclass_fields__})  # type: ignore[arg-type]


def cores() -> int:
    """The cores that this process may use."""
    return len(psutil.Process().cpu_affinity())
