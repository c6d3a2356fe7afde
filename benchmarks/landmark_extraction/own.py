"""The flow itself, run as its users run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.landmark_extraction.clips import Clip, shared_folder
from benchmarks.landmark_extraction.measured import Measured

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = ("--fill-gaps", "5", "--normalize", "shoulders", "--overlay")  # but the rescue


@dataclass(frozen=True)
class Run:
    """The rows of a run's ``items.parquet``, one an item."""

    rows: tuple[dict[str, Any], ...]

    def by_clip(self) -> dict[str, Measured]:
        """What the run gave on each clip."""
        return {row["id"].removeprefix("all."): _measured(row) for row in self.rows}

    @property
    def frames_per_second(self) -> float:
        """All slots together, from the start of the first item to the end of the last."""
        begin = min(_epoch(row) for row in self.rows)
        end = max(_epoch(row) + row["seconds"] for row in self.rows)
        return sum(row["frames"] for row in self.rows) / (end - begin)


def extract(clips: Sequence[Clip], model: Path, slots: int, *options: str, copies: int = 1) -> Run:
    """Run the flow on ``copies`` of each clip, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="headrace-landmarks-") as name:
        folder = Path(name)
        videos = folder / "videos"
        videos.mkdir()
        for clip in clips:
            for number in range(copies):
                ending = f"-{number:03d}" if copies > 1 else ""
                shutil.copyfile(clip.path, videos / f"{clip.name}{ending}{clip.path.suffix}")
        _run(videos, folder / "out", model, slots, options)
        return Run(tuple(pq.read_table(folder / "out" / "items.parquet").to_pylist()))


def _run(videos: Path, output: Path, model: Path, slots: int, options: Sequence[str]) -> None:
    command = [sys.executable, ROOT / "flows" / "landmark_extraction.py", "--input", videos, "--layout", "videos"]
    given = ["--model", model, "--output-dir", output, "--workers", slots, *options]
    environment = {**os.environ, "HEADRACE_MODEL_DIR": str(shared_folder() / "models")}
    finished = subprocess.run(
        [str(word) for word in (*command, *given)], env=environment, capture_output=True, text=True, check=False
    )
    if finished.returncode:
        raise SystemExit(f"the flow ended with {finished.returncode}:\n{finished.stderr[-2000:]}")


def _measured(row: dict[str, Any]) -> Measured:
    frames = row["frames"]
    left, right = (round((row[f"{side}_hand_coverage"] or 0) * frames) for side in ("left", "right"))
    return Measured(frames, row["cpu_seconds"], left, right, row["peak_memory_bytes"])


def _epoch(row: dict[str, Any]) -> float:
    started: Any = row["started_at"]
    return started.timestamp() if hasattr(started, "timestamp") else float(started)
