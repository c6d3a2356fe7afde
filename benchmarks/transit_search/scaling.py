"""Time the flow on many stars with one slot and with two, and count how often it compiles its kernels."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.transit_search.rows import format_table, save
from benchmarks.transit_search.stars import K2, TESS, read_known_stars

_ROOT = Path(__file__).resolve().parents[2]
_ALLOWED_EXIT_CODES = (0,)
_COMPILE = "from tasks.transits.kernels import compile_once; compile_once()"


@dataclass(frozen=True)
class Run:
    """One run of the flow.

    items_seconds   from the start of the first star to the end of the last
    cpu_seconds     of all processes of the run
    """

    slots: int
    cold: bool
    items: int
    items_seconds: float
    item_cpu_seconds: float
    cpu_seconds: float
    wall_seconds: float


@dataclass(frozen=True)
class Scaling:
    """Results. ``compile_cpu_seconds``: CPU time for compiling all kernels in one process."""

    runs: tuple[Run, ...]
    compile_cpu_seconds: float
    kernels: int


def run(folder: Path, output: Path, stars: int, repeats: int = 3) -> Scaling:
    """Run the flow on ``stars`` copies of real stars, alternately with one and two slots, then with a cold cache."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as text, _use_own_home(Path(text)):
        inputs = _copy_files(folder, Path(text, "stars"), stars)
        few = _copy_files(folder, Path(text, "few"), 4)
        _time_flow(few, Path(text, "warm-up"), 2)
        runs = [
            _time_flow(inputs, Path(text, f"{number}-{slots}"), slots) for number in range(repeats) for slots in (1, 2)
        ]
        once, kernels = _compile_alone(Path(text, "alone"))
        runs.append(_time_flow(few, Path(text, "few-warm"), 2))
        runs.append(_time_flow(few, Path(text, "few-cold"), 2, Path(text, "cold")))
    result = Scaling(tuple(runs), once, kernels)
    save(output / "scaling.json", [result])
    return result


def _copy_files(folder: Path, to: Path, count: int) -> Path:
    """Copy files of TESS and K2 stars alternately, each under its own name."""
    to.mkdir()
    files = [
        star.files[0]
        for star in read_known_stars(folder)
        if star.family in {TESS, K2} and star.files[0].suffix == ".fits"
    ]
    for number in range(count):
        shutil.copyfile(files[number % len(files)], to / f"star-{number:04d}.fits")
    return to


def _time_flow(inputs: Path, output: Path, slots: int, cache: Path | None = None) -> Run:
    options = ["--light-curves", inputs, "--output-dir", output, "--workers", slots, "--no-plots"]
    command = [sys.executable, "flows/exoplanet_features.py", *map(str, options)]
    cpu, wall = _get_children_cpu(), time.perf_counter()
    _run(command, cache, output)
    cpu, wall = _get_children_cpu() - cpu, time.perf_counter() - wall
    columns = ["started_at", "seconds", "cpu_seconds", "id"]
    rows = [
        row for row in pq.read_table(output / "items.parquet", columns=columns).to_pylist() if row["id"][:4] == "star"
    ]
    starts = [row["started_at"].timestamp() for row in rows]
    ends = [start + row["seconds"] for start, row in zip(starts, rows, strict=True)]
    items_cpu = sum(row["cpu_seconds"] for row in rows)
    return Run(slots, cache is not None, len(rows), max(ends) - min(starts), items_cpu, cpu, wall)


def _compile_alone(folder: Path) -> tuple[float, int]:
    """Return the CPU seconds of compiling in a single process, and the number of cached kernels."""
    times = []
    for _ in range(2):
        before = _get_children_cpu()
        _run([sys.executable, "-c", _COMPILE], folder)
        times.append(_get_children_cpu() - before)
    return times[0] - times[1], len(list(folder.rglob("*.nbi")))


def _run(command: list[str], cache: Path | None, output: Path | None = None) -> None:
    environment = os.environ | ({"NUMBA_CACHE_DIR": str(cache)} if cache else {})
    process = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    if process.returncode not in _ALLOWED_EXIT_CODES:
        logs = output.glob(".headrace/private/**/*.log") if output else ()
        output_text = "\n".join([process.stderr, *(log.read_text(errors="replace") for log in logs)])
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{output_text[-8000:]}")


def _get_children_cpu() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


@contextlib.contextmanager
def _use_own_home(folder: Path) -> Iterator[None]:
    """Use a separate Prefect home."""
    before = {name: os.environ.pop(name, None) for name in ("PREFECT_HOME", "PREFECT_API_URL")}
    os.environ["PREFECT_HOME"] = str(folder / "home")
    try:
        yield
    finally:
        os.environ.update({name: value for name, value in before.items() if value is not None})


def report(result: Scaling) -> None:
    """Print wall seconds per number of slots, and the CPU time of a cold run in compilations."""
    cold = result.runs[-1]
    warm = result.runs[-2]
    timed = result.runs[:-2]
    print(f"\n{timed[0].items} stars, medians of {len(timed) // 2}\n")
    by_slots = {slots: [run for run in timed if run.slots == slots] for slots in (1, 2)}
    lines = [[slots, *_format_medians(runs)] for slots, runs in by_slots.items()]
    print(format_table(["slots", "first star to last, s", "whole process, s", "CPU of the stars, s"], lines))
    wall = {slots: statistics.median(run.items_seconds for run in runs) for slots, runs in by_slots.items()}
    print(f"\n2 slots over 1: {wall[1] / wall[2]:.2f} times")
    times = (cold.cpu_seconds - warm.cpu_seconds) / result.compile_cpu_seconds
    print(
        f"compiling {result.kernels} kernels takes {result.compile_cpu_seconds:.1f} s of CPU in one process;"
        f" a run with 2 slots and a cold cache spends {times:.2f} times that more than one with a warm cache"
    )


def _format_medians(runs: list[Run]) -> Iterator[str]:
    for name in ("items_seconds", "wall_seconds", "item_cpu_seconds"):
        yield f"{statistics.median(getattr(run, name) for run in runs):.1f}"
