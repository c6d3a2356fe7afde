"""A long run of light items with two percent of faults, its memory watched: ``python -m tests.chaos.soak``.

Once a second the resident memory of every process of the run is noted. Over the second half of the items no process may
grow by more than MOST_GROWTH_BYTES.
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

from tests.chaos.storm import _bench
from tests.engine.processes import find_processes
from tests.runs.bench import Bench, FlowProcess

MOST_GROWTH_BYTES = 8 << 20
_SAMPLE_SECONDS = 1.0
_ROLES = {
    "tasks.engine.running.child": "child",
    "api_server": "server",
    "watchdog.py": "watchdog",
    "fault_flow.py": "flow",
}
# Shares of the faults. Hangs and memory eaters take seconds each, so that there are few.
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
    "leave_a_child": 0.01,  # the item itself is done
}


@dataclass(frozen=True)
class Sample:
    """Resident bytes by process at one moment, and how many items were done by then."""

    seconds: float
    done: int
    resident: Mapping[tuple[str, int], int]

    def of(self, role: str) -> int:
        """Bytes of all processes of a role."""
        return sum(size for (name, _), size in self.resident.items() if name == role)


def manifest(items: int, share: float, seed: int) -> list[dict[str, object]]:
    """Light items, ``share`` of them faulty, in an order of no meaning."""
    chance = random.Random(seed)
    deeds = [action for action, part in _FAULTS.items() for _ in range(max(1, round(part * share * items)))]
    deeds += ["write"] * (items - len(deeds))
    chance.shuffle(deeds)
    return [{"id": f"item-{number:05d}", "do": action} for number, action in enumerate(deeds)]


def soak(bench: Bench, rows: Sequence[dict[str, object]]) -> tuple[int, list[Sample]]:
    """Run ``rows``; returns the exit code and the samples."""
    bench.write_manifest(*rows)
    bench.api = None
    options = ("--workers", 2, "--timeout", 2, "--memory-per-item", "256MiB", "--order", "manifest")
    with bench.start_flow(*options) as flow:
        samples = list(_samples(bench, flow))
        code = flow.wait()
        print(flow.log.read_text()[-1500:], file=sys.stderr)
    return code, samples


def _samples(bench: Bench, flow: FlowProcess) -> list[Sample]:
    begun, found = time.monotonic(), []
    while flow.process.poll() is None:
        found.append(Sample(time.monotonic() - begun, _done(bench), _resident(bench.mark)))
        time.sleep(_SAMPLE_SECONDS)
    return found


def _done(bench: Bench) -> int:
    folder = bench.output / ".headrace/records/faults"
    return sum(1 for entry in os.scandir(folder) if entry.name.endswith(".json")) if folder.exists() else 0


def _resident(mark: str) -> dict[tuple[str, int], int]:
    found = {}
    for pid, words in find_processes(mark).items():
        role = next((role for part, role in _ROLES.items() if part in words), "other")
        try:
            found[role, pid] = psutil.Process(pid).memory_info().rss
        except psutil.Error:  # gone meanwhile
            continue
    return found


@dataclass(frozen=True)
class Course:
    """How the memory of one process went over the second half of the items."""

    role: str
    samples: int
    items: int
    first_bytes: float
    last_bytes: float
    most_bytes: int

    @property
    def growth_bytes(self) -> float:
        """From the median of the first tenth to that of the last."""
        return self.last_bytes - self.first_bytes


def courses(samples: Sequence[Sample]) -> list[Course]:
    """The course of every process that lived through the second half, and of the children, of which none does.

    The second half begins when half of the items are done, and ends when the last is: then the run's files are written.
    """
    last = max(sample.done for sample in samples)
    half = [sample for sample in samples if last / 2 <= sample.done < last]
    items = half[-1].done - half[0].done
    lived = set.intersection(*(set(sample.resident) for sample in half))
    lines = {f"{role}": [sample.resident[role, pid] for sample in half] for role, pid in sorted(lived)}
    per_child = [[size for (role, _), size in sample.resident.items() if role == "child"] for sample in half]
    lines["largest child"] = [max(sizes, default=0) for sizes in per_child]
    return [_course(name, sizes, items) for name, sizes in lines.items()]


def _course(role: str, sizes: Sequence[int], items: int) -> Course:
    tenth = max(1, len(sizes) // 10)
    first, last = statistics.median(sizes[:tenth]), statistics.median(sizes[-tenth:])
    return Course(role, len(sizes), items, first, last, max(sizes))


def _mib(size: float) -> str:
    return f"{size / 2**20:.1f}"


def main() -> int:
    """Run, print the figures; 1 where a process grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--faults", type=float, default=0.02, help="share of the items")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    rows = manifest(wanted.items, wanted.faults, wanted.seed)
    with tempfile.TemporaryDirectory(prefix="headrace-soak-") as name, pytest.MonkeyPatch.context() as patch:
        bench = _bench(Path(name) / "bench", Path(name), "", patch)
        code, samples = soak(bench, rows)
        counts, wall = bench.count_items(), bench.summary["wall_seconds"]
        kinds = Counter(row["failure_kind"] for row in bench.failures.values())
        left = find_processes(bench.mark)
    found = courses(samples)
    print(f"exit code {code}; done, cached, failed, remaining: {counts}; {wall:.0f} s; failures: {dict(kinds)}")
    print("| process | samples | MiB at half | MiB at the end | most | growth | allowed |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for one in found:
        sizes = (one.first_bytes, one.last_bytes, one.most_bytes, one.growth_bytes, MOST_GROWTH_BYTES)
        print(f"| {one.role} | {one.samples} | {' | '.join(map(_mib, sizes))} |")
    grown = [one.role for one in found if one.growth_bytes > MOST_GROWTH_BYTES]
    wrong = code != 3 or counts[0] + counts[2] != wanted.items or left
    if grown or wrong:
        print(f"grown: {grown}; left: {left}")
    return int(bool(grown or wrong))


if __name__ == "__main__":
    raise SystemExit(main())
