"""Measure one cell of the comparison: one peer, one workload."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.peer_comparison.catalogue import SCRIPTS, Job, Peer
from benchmarks.peer_comparison.running import Execution, Limits, kill_marked, run_command
from benchmarks.peer_comparison.scripts.item import burn
from benchmarks.peer_comparison.trace import Trace, count_ended, find_missing

KINDS = ("exception", "segfault", "hang")
_FAULT = 37  # the number of the first item that fails
_DELETED, _TRUNCATED = 3, 5
_LIMIT_SECONDS = 5
_TIMED_LIMIT_SECONDS = 60  # other work on the machine must not fail a timed item


@dataclass(frozen=True)
class Calibration:
    """Seconds of CPU per pass of the work, with all slots busy."""

    seconds_per_pass: float

    @classmethod
    def measure(cls, slots: int, seconds: float = 2.0) -> Calibration:
        """Hash on ``slots`` processes at a time."""
        command = [sys.executable, "-c", "from benchmarks.peer_comparison.cells import print_speed as p; p(float(%r))"]
        command[-1] %= str(seconds)
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(slots)]
        speeds = [float(process.communicate()[0]) for process in processes]
        return cls(sum(speeds) / len(speeds))

    def count_passes(self, cpu_seconds: float) -> int:
        """Return the passes that take ``cpu_seconds``."""
        return max(2, round(cpu_seconds / self.seconds_per_pass))


def print_speed(seconds: float) -> None:
    """Print the CPU seconds per pass, measured for ``seconds``."""
    passes, start = 0, time.thread_time()
    while time.thread_time() - start < seconds:
        burn(100)
        passes += 100
    print((time.thread_time() - start) / passes)


@dataclass(frozen=True)
class Bench:
    """Runs cells in folders below ``folder``."""

    folder: Path
    slots: int
    calibration: Calibration
    templates: Path

    def warm_up(self, peer: Peer, python: Path) -> None:
        """Run two items, and keep the peer's private folder (databases) as the template of its later runs."""
        place = self._prepare(peer, python, 2, 0.005, {})
        execution = place.run(Limits(cap_seconds=300, start_seconds=250))
        if execution.ended != "exit 0" or place.find_missing():
            raise SystemExit(f"{peer.name}: the first run failed ({execution.ended}):\n{place.read_output()[-3000:]}")
        shutil.rmtree(self.templates / peer.name, ignore_errors=True)
        shutil.copytree(place.home, self.templates / peer.name, symlinks=True, ignore=_ignore_special_files)
        place.remove()

    def measure_time(self, peer: Peer, python: Path, items: int, cpu_seconds: float, cap: float) -> dict[str, Any]:
        """Run items of which 1 % raise an exception."""
        faults = dict.fromkeys(range(_FAULT, items, 100), "exception")
        place = self._prepare(peer, python, items, cpu_seconds, faults, _TIMED_LIMIT_SECONDS)
        execution = place.run(Limits(cap_seconds=cap))
        return place.finish(execution)

    def measure_fault(self, peer: Peer, python: Path, items: int, cpu_seconds: float, kind: str) -> dict[str, Any]:
        """Run items of which one fails as ``kind``."""
        place = self._prepare(peer, python, items, cpu_seconds, {_FAULT: kind})
        return place.finish(place.run(Limits()))

    def measure_mixture(self, peer: Peer, python: Path, items: int, cpu_seconds: float) -> dict[str, Any]:
        """Run items of which 1 % fail: an exception, a segfault and a hang in turn."""
        faults = {number: KINDS[number // 100 % 3] for number in range(_FAULT, items, 100)}
        place = self._prepare(peer, python, items, cpu_seconds, faults)
        return place.finish(place.run(Limits(cap_seconds=240)))

    def measure_clean(self, peer: Peer, python: Path, items: int, cpu_seconds: float) -> dict[str, Any]:
        """Run items without faults, delete one file, truncate another, and run again."""
        place = self._prepare(peer, python, items, cpu_seconds, {})
        execution = place.run(Limits())
        first = place.summarize(execution)
        unfinished = set(place.find_missing())
        out = place.job.folder / "out"
        (out / f"{_DELETED}.txt").unlink(missing_ok=True)
        if (path := out / f"{_TRUNCATED}.txt").exists():
            os.truncate(path, path.stat().st_size // 2)
        offset = place.get_log_size()
        again = place.run(Limits())
        trace, missing = Trace.read(place.log, offset), place.find_missing()
        place.remove()
        return {
            **first,
            "again_seconds": again.wall_seconds,
            "again_ended": again.ended,
            "again_others": len(set(trace.started) - unfinished - {_DELETED, _TRUNCATED}),
            "deleted_restored": _DELETED not in missing,
            "truncated_restored": _TRUNCATED not in missing,
        }

    def measure_kill(self, peer: Peer, python: Path, items: int, cpu_seconds: float) -> dict[str, Any]:
        """Kill the main process when half of the items are done; wait; run the same command again."""
        place = self._prepare(peer, python, items, cpu_seconds, {})
        killed = place.run(Limits(), lambda: count_ended(place.log) >= items // 2, keep_orphans=True)
        offset = place.get_log_size()
        before = Trace.read(place.log)
        again = place.run(Limits())
        repaired = False
        if again.ended != "exit 0" and peer.repair and place.get_log_size() == offset:
            command = [str(word) for word in peer.repair(place.job)]
            subprocess.run(command, env=place.environment, capture_output=True, check=False)
            again, repaired = place.run(Limits()), True
        after = Trace.read(place.log, offset)
        kill_marked()
        result = place.finish(again)
        return {
            **result,
            "killed": killed.ended,
            "ended_before": len(before.ended),
            "run_twice": sum(number in after.started for number in before.ended),
            "repeated_in_second_run": sum(count > 1 for count in after.started.values()),
            "processes_left": killed.processes_left,
            "repaired": repaired,
        }

    def _prepare(
        self,
        peer: Peer,
        python: Path,
        items: int,
        cpu_seconds: float,
        faults: dict[int, str],
        limit: int = _LIMIT_SECONDS,
    ) -> _Place:
        folder = self.folder / f"{peer.name}-{time.monotonic_ns() % 10**9}"
        (folder / "run/out").mkdir(parents=True)
        home, plan = folder / "home", folder / "plan.json"
        if (template := self.templates / peer.name).exists():
            shutil.copytree(template, home, symlinks=True)
        else:
            home.mkdir()
        passes = self.calibration.count_passes(cpu_seconds)
        plan.write_text(json.dumps({"log": str(folder / "log"), "passes": passes, "faults": faults}))
        own = {name: text.format(home=home) for name, text in peer.environment.items()}
        environment = {
            **_copy_environment(),
            **own,
            "DO_NOT_TRACK": "1",
            "PEERS_PLAN": str(plan),
            "PYTHONPATH": str(SCRIPTS),
        }
        return _Place(
            peer, Job(python, items, self.slots, limit, folder / "run"), cpu_seconds, faults, environment, folder
        )


@dataclass(frozen=True)
class _Place:
    """The folder of one cell, and its command."""

    peer: Peer
    job: Job
    cpu_seconds: float
    faults: dict[int, str]
    environment: dict[str, str]
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def run(self, limits: Limits, kill_when: Callable[[], bool] | None = None, keep_orphans: bool = False) -> Execution:
        command = self.peer.build_command(self.job)
        output = self.folder / "output.txt"
        return run_command(command, self.environment, self.log, output, limits, kill_when, keep_orphans)

    def get_log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def find_missing(self) -> list[int]:
        return find_missing(self.job.folder / "out", self.job.items)

    def read_output(self) -> str:
        return (self.folder / "output.txt").read_text(errors="replace")

    def finish(self, execution: Execution) -> dict[str, Any]:
        result = self.summarize(execution)
        self.remove()
        return result

    def summarize(self, execution: Execution) -> dict[str, Any]:
        trace = Trace.read(self.log)
        ended = sum(trace.ended.values())
        missing = self.find_missing()
        return {
            **asdict(execution),
            "items": self.job.items,
            "cpu_ms": self.cpu_seconds * 1000,
            "faults": len(self.faults),
            "ended_items": ended,
            "span_seconds": trace.span_seconds,
            "items_cpu_seconds": trace.cpu_seconds,
            "lost": len([number for number in missing if number not in self.faults]),
            "fault_runs": sum(trace.started[number] for number in self.faults),
            "repeated": sum(count > 1 for number, count in trace.started.items() if number not in self.faults),
            "load": os.getloadavg()[0],
            "output_tail": self.read_output()[-1500:],
        }

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _copy_environment() -> dict[str, str]:
    """Return this process's environment without settings that would change how a peer runs."""
    dropped = ("PREFECT_", "DASK_", "RAY_", "DAGSTER_", "LUIGI_", "HEADRACE_", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def _ignore_special_files(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not (Path(folder, name).is_dir() or Path(folder, name).is_file())]
