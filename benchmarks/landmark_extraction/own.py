"""The flow, run like its users run it."""

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

from benchmarks.landmark_extraction.clips import Clip, find_shared_folder
from benchmarks.landmark_extraction.figures import ClipFigures

ROOT = Path(__file__).resolve().parents[2]
ALL_OPTIONS = ("--fill-gaps", "5", "--normalize", "shoulders", "--overlay")  # except the rescue


@dataclass(frozen=True)
class FlowRun:
    """The rows of a run's ``items.parquet``, one per item."""

    rows: tuple[dict[str, Any], ...]

    def group_by_clip(self) -> dict[str, ClipFigures]:
        """Return the figures of each clip."""
        return {row["id"].removeprefix("all."): _create_figures(row) for row in self.rows}

    @property
    def frames_per_second(self) -> float:
        """Return the speed of all slots together, from the start of the first item to the end of the last."""
        begin = min(_get_start_time(row) for row in self.rows)
        end = max(_get_start_time(row) + row["seconds"] for row in self.rows)
        return sum(row["frames"] for row in self.rows) / (end - begin)


def extract(clips: Sequence[Clip], model: Path, slots: int, *options: str, copies: int = 1) -> FlowRun:
    """Run the flow on ``copies`` of each clip, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="headrace-landmarks-") as name:
        folder = Path(name)
        videos = folder / "videos"
        videos.mkdir()
        for clip in clips:
            for number in range(copies):
                ending = f"-{number:03d}" if copies > 1 else ""
                shutil.copyfile(clip.path, videos / f"{clip.name}{ending}{clip.path.suffix}")
        _run_flow(videos, folder / "out", model, slots, options)
        return FlowRun(tuple(pq.read_table(folder / "out" / "items.parquet").to_pylist()))


def _run_flow(videos: Path, output: Path, model: Path, slots: int, options: Sequence[str]) -> None:
    command = [sys.executable, ROOT / "flows" / "landmark_extraction.py", "--input", videos, "--layout", "videos"]
    options_of_run = ["--model", model, "--output-dir", output, "--workers", slots, *options]
    environment = {**os.environ, "HEADRACE_MODEL_DIR": str(find_shared_folder() / "models")}
    process = subprocess.run(
        [str(word) for word in (*command, *options_of_run)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise SystemExit(f"the flow ended with {process.returncode}:\n{process.stderr[-2000:]}")


def _create_figures(row: dict[str, Any]) -> ClipFigures:
    frames = row["frames"]
    left, right = (round((row[f"{side}_hand_coverage"] or 0) * frames) for side in ("left", "right"))
    return ClipFigures(frames, row["cpu_seconds"], left, right, row["peak_memory_bytes"])


def _get_start_time(row: dict[str, Any]) -> float:
    started: Any = row["started_at"]
    return started.timestamp() if hasattr(started, "timestamp") else float(started)
