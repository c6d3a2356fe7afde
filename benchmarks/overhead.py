"""Measure the engine's overhead: ``python benchmarks/overhead.py``.

The same items burn CPU in ``multiprocessing.Pool.imap``, in Headrace with isolation and, for some, in a naive
``task.map`` on a DaskTaskRunner. The runs are interleaved, each in its own process. A second run of done items
follows.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import cyclopts
import pyarrow.parquet as pq

from benchmarks.burn_stage import burn_cpu
from benchmarks.machine import describe_machine


@dataclass(frozen=True)
class Timing:
    """Seconds from the start of the first item to the end of the last, and of the whole process."""

    items_seconds: float
    process_seconds: float


def main(
    items: int = 1000,
    cpu_seconds: float = 0.05,
    slots: int = 2,
    repeats: int = 3,
    naive_items: int = 100,
    done_items: int = 10_000,
    demo: bool = True,
) -> None:
    """Measure and print a table.

    Args:
        items: Items in each run
        cpu_seconds: CPU time that each item burns
        slots: Slots, and processes of the pool
        repeats: Repetitions of each run; medians are printed
        naive_items: Items for the naive variant; 0 skips it
        done_items: Done items of the second run; 0 skips it
        demo: Time the demo from its command to its first finished item
    """
    _say(describe_machine())
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, _warm_home(Path(folder)):
        if repeats:
            _compare(items, cpu_seconds, slots, repeats, Path(folder))
        if naive_items:
            _measure_naive(naive_items, cpu_seconds, slots)
        if done_items:
            _measure_second_run(done_items, slots, Path(folder))
        if demo:
            _measure_first_item(Path(folder))


def _compare(items: int, cpu_seconds: float, slots: int, repeats: int, folder: Path) -> None:
    pool, ours = [], []
    for number in range(repeats):
        pool.append(_time_in_process("pool", items, cpu_seconds, slots))
        ours.append(_time_headrace(items, cpu_seconds, slots, folder / f"run-{number}"))
        _say(f"  round {number + 1}: pool {_format_timing(pool[-1])}; headrace {_format_timing(ours[-1])}")
    ratio = statistics.median(o.items_seconds / p.items_seconds for o, p in zip(ours, pool, strict=True))
    extra = statistics.median(o.process_seconds - p.process_seconds for o, p in zip(ours, pool, strict=True))
    _say(f"{items} items of {cpu_seconds * 1000:g} ms on {slots} slots, medians of {repeats}:")
    _say(f"  first item to last, headrace / pool: {ratio:.3f}")
    _say(f"  whole process, headrace - pool: {extra:.1f} s")


def _measure_naive(items: int, cpu_seconds: float, slots: int) -> None:
    naive = _time_in_process("naive", items, cpu_seconds, slots)
    ideal = items * cpu_seconds / slots
    ratio = naive.items_seconds / ideal
    _say(f"naive task.map, {items} items: {_format_timing(naive)}; {ratio:.1f} times the work alone")


def _measure_second_run(items: int, slots: int, folder: Path) -> None:
    output = folder / "done"
    _time_headrace(items, 0.0, slots, output)
    again = [_time_plan_to_summary(items, slots, output) for _ in range(3)]
    _say(f"second run of {items} done items, plan to summary: {statistics.median(again):.2f} s (median of 3)")


def _time_plan_to_summary(items: int, slots: int, output: Path) -> float:
    _run_burn(items, 0.0, slots, output)
    summary = json.loads((output / "summary.json").read_bytes())
    assert summary["items"]["cached"] == items, summary["items"]
    started = next(iter(_parse_times([summary["started_at"]])))
    return (output / "summary.json").stat().st_mtime - started


def _measure_first_item(folder: Path) -> None:
    subprocess.run([sys.executable, "examples/demo_data.py", folder / "demo"], check=True, capture_output=True)
    seconds = [_time_first_record(folder / "demo", folder / f"demo-{number}") for number in range(3)]
    _say(f"demo, from command to first finished item, no server: {statistics.median(seconds):.1f} s (median of 3)")


def _time_first_record(demo: Path, output: Path) -> float:
    options = ["--manifest", demo / "train.json", "--videos-dir", demo / "videos", "--output-dir", output]
    start = time.perf_counter()
    command = [sys.executable, "flows/dataset_prep.py", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(output.glob(".headrace/records/frames/*.json")):
            if process.poll() not in (None, 0, 3):
                raise SystemExit(f"the demo ended with exit code {process.returncode}")
            time.sleep(0.01)
        return time.perf_counter() - start


def _parse_times(texts: list[str]) -> Iterator[float]:
    from datetime import datetime

    return (datetime.fromisoformat(text).timestamp() for text in texts)


def _time_headrace(items: int, cpu_seconds: float, slots: int, output: Path) -> Timing:
    shutil.rmtree(output, ignore_errors=True)
    seconds = _run_burn(items, cpu_seconds, slots, output)
    table = pq.read_table(output / "items.parquet", columns=["started_at", "seconds"]).to_pylist()
    starts = [row["started_at"].timestamp() for row in table]
    ends = [start + row["seconds"] for start, row in zip(starts, table, strict=True)]
    return Timing(max(ends) - min(starts), seconds)


def _run_burn(items: int, cpu_seconds: float, slots: int, output: Path) -> float:
    options = ["--items", items, "--cpu-seconds", cpu_seconds, "--workers", slots, "--output-dir", output]
    return _time_process([sys.executable, "benchmarks/burn.py", *map(str, options)])


def _time_in_process(way: str, items: int, cpu_seconds: float, slots: int) -> Timing:
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        words = [way, str(items), str(cpu_seconds), str(slots), report.name]
        seconds = _time_process([sys.executable, "-m", "benchmarks.overhead", "--way", *words])
        return Timing(json.loads(Path(report.name).read_text()), seconds)


def _time_process(command: list[str]) -> float:
    """Return the wall time of a process in seconds; kill the processes that it leaves, such as naive Dask workers."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        code = process.wait()
        seconds = time.perf_counter() - start
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if code:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{output.read().decode()[-4000:]}")
    return seconds


def _time_burn(cpu_seconds: float) -> tuple[float, float]:
    start = time.time()
    burn_cpu(cpu_seconds)
    return start, time.time()


def _run_pool(items: int, cpu_seconds: float, slots: int) -> list[tuple[float, float]]:
    with Pool(slots) as pool:
        return list(pool.imap(_time_burn, [cpu_seconds] * items))


def _run_naive(items: int, cpu_seconds: float, slots: int) -> list[tuple[float, float]]:
    """Map one task per item on one Dask worker process per slot, as a first version would."""
    from prefect import flow, task
    from prefect_dask import DaskTaskRunner

    burn_task = task(_time_burn, name="burn")
    runner = DaskTaskRunner(cluster_kwargs={"n_workers": slots, "threads_per_worker": 1})

    @flow(task_runner=runner)
    def naive() -> list[tuple[float, float]]:
        return [future.result() for future in burn_task.map([cpu_seconds] * items)]

    return naive()


def _run_variant(name: str, items: int, cpu_seconds: float, slots: int, report: str) -> None:
    ways: dict[str, Callable[[int, float, int], list[tuple[float, float]]]] = {"pool": _run_pool, "naive": _run_naive}
    times = ways[name](items, cpu_seconds, slots)
    Path(report).write_text(json.dumps(max(end for _, end in times) - min(start for start, _ in times)))


class _warm_home:  # noqa: N801 - reads as a context
    """Provides a Prefect home with an existing database, as for every run except a home's first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        os.environ["PREFECT_HOME"] = str(self._folder / "home")
        os.environ.pop("PREFECT_API_URL", None)
        _run_burn(2, 0.0, 1, self._folder / "warm-up")

    def __exit__(self, *error: object) -> None:
        del os.environ["PREFECT_HOME"]


def _format_timing(timing: Timing) -> str:
    return f"{timing.items_seconds:.2f} s for the items, {timing.process_seconds:.2f} s in all"


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--way"]:
        _run_variant(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]), sys.argv[6])
    else:
        cyclopts.run(main)
