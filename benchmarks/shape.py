"""Which shape the local Dask cluster should have: ``python benchmarks/shape.py``.

The same run on this process's own threads (what a run does), and on a cluster of worker processes, with one thread each
or all threads in one. Wall and CPU seconds of everything, the cluster's start and end included.
"""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cyclopts

from benchmarks.machine import describe_machine

# name, worker processes, threads each, as shares of the slots; None is the flow's own process
SHAPES = ("threads of the flow's process", "one process, all threads", "a process a slot")


def main(items: int = 200, cpu_seconds: float = 0.05, slots: int = 2, repeats: int = 3) -> None:
    """Measure and print a table.

    Args:
        items: Items in each run
        cpu_seconds: CPU time that each item burns
        slots: Slots
        repeats: How often each shape is run, interleaved; medians are printed
    """
    print(describe_machine(), flush=True)
    found: dict[str, list[tuple[float, float]]] = {shape: [] for shape in SHAPES}
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        os.environ["PREFECT_HOME"] = f"{folder}/home"
        os.environ.pop("PREFECT_API_URL", None)
        _burn(2, 0.0, 1, Path(folder, "warm-up"), [])
        for number in range(repeats):
            for shape in SHAPES:
                output = Path(folder, f"{number}-{SHAPES.index(shape)}")
                found[shape].append(_measured(shape, items, cpu_seconds, slots, output))
    work = items * cpu_seconds
    print(f"{items} items of {cpu_seconds * 1000:g} ms on {slots} slots, medians of {repeats}:")
    for shape, timings in found.items():
        wall = statistics.median(wall for wall, _ in timings)
        cpu = statistics.median(cpu for _, cpu in timings)
        print(f"  {shape}: {wall:.1f} s wall, {cpu:.1f} s CPU, {cpu - work:.1f} s of them not the items'")


def _measured(shape: str, items: int, cpu_seconds: float, slots: int, output: Path) -> tuple[float, float]:
    start, cpu = time.perf_counter(), _children_cpu()
    with _cluster(shape, slots) as options:
        _burn(items, cpu_seconds, slots, output, options)
    return time.perf_counter() - start, _children_cpu() - cpu


@contextlib.contextmanager
def _cluster(shape: str, slots: int) -> Iterator[list[str]]:
    """Options that point a run to a cluster of the shape."""
    if shape == SHAPES[0]:
        yield []
        return
    workers, threads = (1, slots) if shape == SHAPES[1] else (slots, 1)
    code = (
        "import sys, dask; from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    dask.config.set({'distributed.worker.daemon': False})\n"
        f"    cluster = LocalCluster(n_workers={workers}, threads_per_worker={threads}, dashboard_address=None)\n"
        "    print(cluster.scheduler_address, flush=True); sys.stdin.read(); cluster.close()\n"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(code)
        script.flush()
        command = [sys.executable, script.name]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            yield ["--scheduler", process.stdout.readline().strip()]
            process.stdin.close()
            process.wait()


def _burn(items: int, cpu_seconds: float, slots: int, output: Path, options: list[str]) -> None:
    words = ["--items", items, "--cpu-seconds", cpu_seconds, "--workers", slots, "--output-dir", output]
    command = [sys.executable, "benchmarks/burn.py", *map(str, words), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")


def _children_cpu() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


if __name__ == "__main__":
    cyclopts.run(main)
