"""Measure the memory of a long run of light items, two percent of them faulty: ``python -m tests.chaos.soak``.

Samples the resident memory of every process of the run once per second. Over the second half of the items no process
may grow by more than MAX_GROWTH_BYTES.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.chaos.storm import create_bench
from tests.engine.processes import find_processes
from tests.runs.bench import Bench, FlowProcess

MAX_GROWTH_BYTES = 8 << 20
_SAMPLE_SECONDS = 1.0
_ROLES = {
    "tasks.engine.running.child": "child",
    "tasks.engine.running.template": "template",
    "api_server": "server",
    "watchdog.py": "watchdog",
    "fault_flow.py": "flow",
}
# Shares of the faults. Hangs and memory eaters are rare because each takes seconds.
_FAULTS = {
    "raise": 0.35,
    "raise_bad_input": 0.35,
    "segfault": 0.1,
    "abort": 0.04,
    "exit": 0.04,
    "raise_transient": 0.04,
    "raise_memory_error": 0.03,
    "hang_asleep": 0.02,
    "hang_in_c": 0.01,
    "eat_memory": 0.01,
    "leave_a_child": 0.01,  # the item is done
}


@dataclass(frozen=True)
class Sample:
    """Resident bytes per process, and the number of done items, at one moment."""

    seconds: float
    done: int
    resident: Mapping[tuple[str, int], int]

    def sum_role(self, role: str) -> int:
        """Return the resident bytes of all processes of a role."""
        return sum(size for (name, _), size in self.resident.items() if name == role)


def create_manifest(items: int, share: float, seed: int) -> list[dict[str, object]]:
    """Create light items in random order, ``share`` of them faulty."""
    generator = random.Random(seed)
    actions = [action for action, part in _FAULTS.items() for _ in range(max(1, round(part * share * items)))]
    actions += ["write"] * (items - len(actions))
    generator.shuffle(actions)
    return [{"id": f"item-{number:05d}", "do": action} for number, action in enumerate(actions)]


def soak(bench: Bench, rows: Sequence[dict[str, object]]) -> tuple[int, list[Sample]]:
    """Run ``rows``; return the exit code and the samples."""
    bench.write_manifest(*rows)
    bench.api = None
    options = ("--workers", 2, "--timeout", 2, "--memory-per-item", "256MiB", "--order", "manifest")
    with bench.start_flow(*options) as flow:
        samples = list(_take_samples(bench, flow))
        code = flow.wait()
        print(flow.log.read_text()[-1500:], file=sys.stderr)
    return code, samples


def _take_samples(bench: Bench, flow: FlowProcess) -> list[Sample]:
    start, samples = time.monotonic(), []
    while flow.process.poll() is None:
        samples.append(Sample(time.monotonic() - start, _count_records(bench), _measure_memory(bench.mark)))
        time.sleep(_SAMPLE_SECONDS)
    return samples


def _count_records(bench: Bench) -> int:
    folder = bench.output / ".headrace/records/faults"
    return sum(1 for entry in os.scandir(folder) if entry.name.endswith(".json")) if folder.exists() else 0


def _measure_memory(mark: str) -> dict[tuple[str, int], int]:
    resident = {}
    for pid, words in find_processes(mark).items():
        role = next((role for part, role in _ROLES.items() if part in words), "other")
        try:
            resident[role, pid] = psutil.Process(pid).memory_info().rss
        except psutil.Error:  # the process has ended
            continue
    return resident


@dataclass(frozen=True)
class MemoryTrend:
    """Memory of one process over the second half of the items."""

    role: str
    samples: int
    items: int
    first_bytes: float
    last_bytes: float
    max_bytes: int

    @property
    def growth_bytes(self) -> float:
        """Return the difference between the medians of the last and the first tenth."""
        return self.last_bytes - self.first_bytes


def compute_trends(samples: Sequence[Sample]) -> list[MemoryTrend]:
    """Return the trend of each process that lived through the second half, and of the largest child at each moment.

    No single child lives that long. The second half begins when half of the items are done and ends when the last one
    is: the run's files are written after that.
    """
    last = max(sample.done for sample in samples)
    half = [sample for sample in samples if last / 2 <= sample.done < last]
    items = half[-1].done - half[0].done
    lived = set.intersection(*(set(sample.resident) for sample in half))
    lines = {f"{role}": [sample.resident[role, pid] for sample in half] for role, pid in sorted(lived)}
    per_child = [[size for (role, _), size in sample.resident.items() if role == "child"] for sample in half]
    lines["largest child"] = [max(sizes, default=0) for sizes in per_child]
    return [_compute_trend(name, sizes, items) for name, sizes in lines.items()]


def _compute_trend(role: str, sizes: Sequence[int], items: int) -> MemoryTrend:
    tenth = max(1, len(sizes) // 10)
    first, last = statistics.median(sizes[:tenth]), statistics.median(sizes[-tenth:])
    return MemoryTrend(role, len(sizes), items, first, last, max(sizes))


def _format_mib(size: float) -> str:
    return f"{size / 2**20:.1f}"


def main() -> int:
    """Run the items and print the figures; return 1 if a process grows too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--faults", type=float, default=0.02, help="share of faulty items")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rows = create_manifest(options.items, options.faults, options.seed)
    with tempfile.TemporaryDirectory(prefix="headrace-soak-") as name, pytest.MonkeyPatch.context() as patch:
        bench = create_bench(Path(name) / "bench", Path(name), "", patch)
        code, samples = soak(bench, rows)
        counts, wall = bench.count_items(), bench.summary["wall_seconds"]
        kinds = Counter(row["failure_kind"] for row in bench.failures.values())
        left = find_processes(bench.mark)
    trends = compute_trends(samples)
    print(f"exit code {code}; done, cached, failed, remaining: {counts}; {wall:.0f} s; failures: {dict(kinds)}")
    print("| process | samples | MiB at half | MiB at the end | max | growth | allowed |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for trend in trends:
        sizes = (trend.first_bytes, trend.last_bytes, trend.max_bytes, trend.growth_bytes, MAX_GROWTH_BYTES)
        print(f"| {trend.role} | {trend.samples} | {' | '.join(map(_format_mib, sizes))} |")
    grown = [trend.role for trend in trends if trend.growth_bytes > MAX_GROWTH_BYTES]
    has_failed = code != 3 or counts[0] + counts[2] != options.items or left
    if grown or has_failed:
        print(f"grown: {grown}; left: {left}")
    return int(bool(grown or has_failed))


if __name__ == "__main__":
    raise SystemExit(main())
