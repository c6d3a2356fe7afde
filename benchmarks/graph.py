"""Measure the scheduling of a graph: ``python benchmarks/graph.py``. All figures are ratios within one run.

sleeping   items that sleep, on more slots than cores: speed-up over sequential execution
stream     downloads with a latency, each followed by a search: wall time over the longer of the two, by their durations
wholes     wholes made of parts: time to the first whole over its own share of the work
simulated  the real scheduler on a simulated clock: efficiency, and time and memory per item
"""

from __future__ import annotations

import heapq
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import cyclopts
import pyarrow.parquet as pq

from benchmarks.graph_stages import TimedStage
from benchmarks.machine import describe_machine
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Graph
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcome, Usage

Part = Literal["sleeping", "stream", "wholes", "simulated"]
PARTS: tuple[Part, ...] = ("sleeping", "stream", "wholes", "simulated")
Row = dict[str, Any]


def main(parts: Sequence[Part] = PARTS, repeats: int = 3) -> None:
    """Measure and print a table.

    Args:
        parts: What is measured
        repeats: Repetitions of each run; medians are printed
    """
    _say(describe_machine())
    measures: dict[Part, Callable[[Path, int], None]] = {
        "sleeping": _measure_sleeping,
        "stream": _measure_stream,
        "wholes": _measure_wholes,
        "simulated": _measure_simulated,
    }
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        for part in parts:
            measures[part](Path(folder), repeats)


def _measure_sleeping(folder: Path, repeats: int) -> None:
    for items, seconds, slots in ((1490, 0.82, 40), (48, 20.0, 8), (128, 30.0, 32)):
        options = {"items": items, "seconds": seconds, "workers": slots}
        speedups = [_compute_speedup(_run(folder, "flat", options)) for _ in range(repeats)]
        speedup = statistics.median(speedups)
        _say(
            f"{items} items that sleep {seconds:g} s on {slots} slots: {speedup:.1f} times sequential execution, "
            f"{speedup * _count_rounds(items, slots) * slots / items:.3f} of ideal ({_list(speedups)})"
        )


def _count_rounds(items: int, slots: int) -> int:
    return -(-items // slots)


def _measure_stream(folder: Path, repeats: int) -> None:
    items, latency, search, lanes, slots = 400, 0.5, 0.3, 8, 2
    options = {"items": items, "seconds": latency, "cpu-seconds": search, "workers": slots, "io-slots": lanes}
    ratios = []
    for _ in range(repeats):
        rows = _run(folder, "stream", options)
        longer = max(_sum_seconds(rows, "fetched") / lanes, _sum_seconds(rows, "timed") / slots)
        ratios.append(_measure_span(rows) / longer)
    _say(
        f"{items} downloads of {latency:g} s on {lanes} slots, searched for {search:g} s of CPU on {slots}: "
        f"{statistics.median(ratios):.3f} times the longer of the two ({_list(ratios)})"
    )


def _measure_wholes(folder: Path, repeats: int) -> None:
    wholes, parts, cpu, slots = 10, 6, 1.0, 2
    options = {"items": wholes, "parts": parts, "cpu-seconds": cpu, "workers": slots}
    ratios, efficiencies = [], []
    for _ in range(repeats):
        rows = _run(folder, "wholes", options)
        start = min(row["start"] for row in rows)
        first = min(row["end"] for row in rows if row["stage"] == "wholes")
        work = sum(row["seconds"] for row in rows)
        own = sum(row["seconds"] for row in rows if row["id"].startswith("item-00000") and row["stage"] != "shown")
        ratios.append((first - start) / (own / slots))
        efficiencies.append(work / slots / _measure_span(rows))
    _say(
        f"{wholes} wholes of {parts} parts on {slots} slots: the first is done after {statistics.median(ratios):.2f} "
        f"times its own share ({_list(ratios)}); efficiency {statistics.median(efficiencies):.3f}"
    )


def _measure_simulated(folder: Path, repeats: int) -> None:
    for items in (10_000, 100_000, 200_000):
        command = [sys.executable, "-m", "benchmarks.graph", "--simulate", str(items), "200"]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="", flush=True)


def simulate(items: int, slots: int) -> None:
    """Run ``items`` of log-normal duration through the scheduler on a simulated clock, and print the figures."""
    source = random.Random(7)
    seconds = [2.0 * source.lognormvariate(-0.28, 0.75) for _ in range(items)]
    clock = [0.0]
    graph = Graph()
    graph.node(TimedStage(), [Item(f"{number}", {}) for number in range(items)])
    with tempfile.TemporaryDirectory() as folder:
        before, started = _read_memory(), time.process_time()
        scheduler = Scheduler(graph, Layout(Path(folder)), Execution(), clock=lambda: clock[0])
        scheduler.plan()
        planned = time.process_time()
        ends: list[tuple[float, str]] = []
        for _ in range(slots):
            _take(scheduler, clock[0], seconds, ends)
        while ends:
            clock[0], item_id = heapq.heappop(ends)
            scheduler.settle(Outcome(item_id, TimedStage.name, "done", 1, Usage(clock[0], seconds[int(item_id)])))
            _take(scheduler, clock[0], seconds, ends)
        run = time.process_time()
    assert scheduler.is_finished
    ideal = max([sum(seconds) / slots, *seconds])
    planning, running = (planned - started) / items * 1e6, (run - planned) / items * 1e6
    _say(
        f"simulated: {items} items on {slots} slots: {ideal / clock[0]:.4f} of ideal; {planning:.0f} us to plan and "
        f"{running:.0f} us to hand out and settle an item; {(_read_memory() - before) / items:.0f} bytes per item"
    )


def _take(scheduler: Scheduler, now: float, seconds: Sequence[float], ends: list[tuple[float, str]]) -> None:
    if taken := scheduler.take("cpu"):
        item_id = taken[1].item.id
        heapq.heappush(ends, (now + seconds[int(item_id)], item_id))


def _read_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _run(folder: Path, workload: str, options: dict[str, float]) -> list[Row]:
    """Run the flow in its own process; return its items with their times."""
    output = folder / "out"
    shutil.rmtree(output, ignore_errors=True)
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "benchmarks/graph_flow.py", "--workload", workload, "--output-dir", str(output), *words]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    if finished.returncode:
        raise SystemExit(finished.stderr)
    rows: list[Row] = pq.read_table(output / "items.parquet").to_pylist()
    for row in rows:
        row["start"] = row["started_at"].timestamp()
        row["end"] = row["start"] + row["seconds"]
    return rows


def _sum_seconds(rows: Sequence[Row], stage: str) -> float:
    return sum(float(row["seconds"]) for row in rows if row["stage"] == stage)


def _measure_span(rows: Sequence[Row]) -> float:
    """Return the seconds from the start of the first item to the end of the last."""
    return max(row["end"] for row in rows) - min(row["start"] for row in rows)


def _compute_speedup(rows: Sequence[Row]) -> float:
    return sum(row["seconds"] for row in rows) / _measure_span(rows)


def _list(values: Sequence[float]) -> str:
    return json.dumps([round(value, 3) for value in values])[1:-1]


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--simulate"]:
        simulate(int(sys.argv[2]), int(sys.argv[3]))
    else:
        cyclopts.run(main)
