"""Run trials: start a run, kill one of its processes while items are running, and repeat the command.

``python -m tests.chaos.storm --trials 100`` runs many and prints the table of ``docs/reliability.md``; ``pytest
tests/chaos`` runs a few of every kind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.engine.store.layout import STATE_FOLDER, Layout
from tasks.engine.store.records import RecordStore
from tests.chaos import graph_flow
from tests.chaos.cluster import Cluster, start_cluster
from tests.engine import graph_kills, injection, test_kills
from tests.engine.processes import find_processes, wait_for_exit, wait_until
from tests.homes import run_api
from tests.runs.bench import FAULT_FLOW, Bench, FlowProcess, flush_prefect_logs, hash_files, load_records

SLOTS = 2
IO_SLOTS = 8
_SLACK = 6  # items that may end after the moment to kill; the rest wait for the kill, however late it comes
_PROCESS_SECONDS = 30.0
_END_SECONDS = 300.0  # Prefect retries calls to a killed server for a minute, twice

# Exit code of the run by killed process. MIX has the number of trials of each in a hundred.
EXPECTED_CODES = {
    "item's child": 0,
    "flow": -signal.SIGKILL,
    "own Prefect server": 1,
    "other Prefect server": 1,
    "cluster: item's child": 0,
    "cluster: worker": 0,
    "cluster: nanny": 0,
    "cluster: flow": -signal.SIGKILL,
    "cluster: scheduler": 1,
}
MESSAGES = {
    "own Prefect server": "does not answer",
    "other Prefect server": "does not answer",
    "cluster: scheduler": "is gone; start one and give the same command again",
}
PUBLISHING, AT_RANDOM = "publishing, between two steps", "publishing, at any moment"
MIX = {
    PUBLISHING: 20,
    AT_RANDOM: 6,
    "item's child": 12,
    "flow": 16,
    "own Prefect server": 4,
    "other Prefect server": 2,
    "cluster: item's child": 6,
    "cluster: worker": 14,
    "cluster: nanny": 6,
    "cluster: flow": 6,
    "cluster: scheduler": 8,
}
_STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 17, 23, 40, 61, 62, 63, 64, 65, 66)


@dataclass(frozen=True)
class Trial:
    """Killed process, and the seed that determines when and which one. ``is_graph``: of a run of several stages."""

    target: str
    seed: int
    is_graph: bool = False

    @property
    def is_remote(self) -> bool:
        """Return True if the run uses a cluster."""
        return self.target.startswith("cluster")


@dataclass
class Verdict:
    """Result of a trial. ``problems`` describes failed checks."""

    trial: Trial
    mid_flight: bool = False
    done_before: int = 0
    in_flight: int = 0
    redone: int = 0
    lost: int = 0
    torn: int = 0
    orphans: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def expect(self, holds: object, problem: str) -> None:
        """Add ``problem`` unless ``holds``."""
        if not holds:
            self.problems.append(problem)


@dataclass(frozen=True)
class Workload:
    """The flow of a trial, its number of items, and the slots that may run one each.

    removed  prefixes of the items whose records are removed once they are used up
    """

    flow: str
    count: int
    slots: int
    removed: tuple[str, ...] = ()

    def build_options(self, bench: Bench) -> list[object]:
        """Write the input of the flow; return its options."""
        if self.flow != FAULT_FLOW:
            return ["--output-dir", bench.output]
        generator = random.Random(0)
        seconds = [generator.uniform(0.05, 0.1) for _ in range(self.count)]
        bench.write_manifest(
            *({"id": f"item-{n:02d}", "do": "take_time", "seconds": time} for n, time in enumerate(seconds))
        )
        return []


# Items of 50 to 100 ms that write two files each: of one stage, and of seven stages that follow from each other.
FLAT = Workload(FAULT_FLOW, 40, SLOTS)
GRAPH = Workload("tests.chaos.graph_flow", graph_flow.COUNT, SLOTS + IO_SLOTS, graph_flow.REMOVED)


@dataclass(frozen=True)
class Baseline:
    """Results of an undisturbed run."""

    digests: dict[str, str]
    records: dict[str, Any]
    workload: Workload = FLAT

    @classmethod
    def measure(cls, bench: Bench, workload: Workload = FLAT) -> Baseline:
        """Run the items of a trial without a kill."""
        assert bench.run("--workers", SLOTS, *workload.build_options(bench), flow=workload.flow) == 0
        return cls(hash_files(bench.output / "made"), load_records(bench.output), workload)


class TrialRunner:
    """Runs trials in ``bench``; remote trials need ``cluster``."""

    def __init__(self, bench: Bench, baseline: Baseline, cluster: Cluster | None = None) -> None:
        self.bench = bench
        self.baseline = baseline
        self.workload = baseline.workload
        self.cluster = cluster
        self.recorded: set[str] = set()
        self.in_flight: set[str] = set()
        self.lines = 0

    def run(self, trial: Trial) -> Verdict:
        """Run one trial and check its results."""
        verdict = Verdict(trial)
        start = time.monotonic()
        generator = random.Random(trial.seed)
        options = ["--workers", SLOTS, "--shard-size", generator.randrange(1, 6)]
        options += self.workload.build_options(self.bench)
        with ExitStack() as stack:
            api = self._prepare(trial, options, stack)
            wanted = max(1, round(generator.uniform(0.05, 0.7) * self.workload.count))
            self.bench.hold(min(wanted + _SLACK, self.workload.count - 2 * SLOTS))
            stack.callback(self.bench.release)
            with self.bench.start_flow(*options, flow=self.workload.flow) as flow:
                started = self._kill(trial, generator, flow, wanted, verdict)
                self._check_end(trial, flow, verdict)
            # A child may receive an item at the moment of the kill; a cluster's workers continue until they notice it.
            if trial.is_remote or trial.target == "flow":
                self.in_flight |= set(self.bench.count_tries()) - self._list_recorded()
            self.bench.api = api
            self._check_torn(verdict)
            self._repeat_run(trial, options, started, verdict)
        verdict.seconds = time.monotonic() - start
        return verdict

    def _prepare(self, trial: Trial, options: list[Any], stack: ExitStack) -> str | None:
        """Prepare the trial; return the API that the second run uses."""
        api = self.bench.api
        if trial.is_remote:
            assert self.cluster is not None
            self.cluster.repair()
            self.bench.ledger = self.cluster.ledger
            options += ["--scheduler", self.cluster.address]
        if trial.target == "own Prefect server":
            self.bench.api = None
        if trial.target == "other Prefect server":
            self._server = stack.enter_context(run_api(self.bench.folder / "other-home"))
            self.bench.api = self._server.url
        self.bench.ledger.unlink(missing_ok=True)
        return api

    def _kill(
        self, trial: Trial, generator: random.Random, flow: FlowProcess, wanted: int, verdict: Verdict
    ) -> set[str]:
        """Kill once ``wanted`` items have ended; return the items that had been started by then."""
        wait_until(lambda: self._is_ready(wanted, flow), lambda: f"{wanted} items ended: {flow.log.read_text()}", 90.0)
        victim_pid = self._choose_victim(trial, generator, flow)
        workers = psutil.Process(victim_pid).children() if trial.target == "cluster: nanny" else []
        self.recorded = self._list_recorded()
        os.kill(victim_pid, signal.SIGKILL)
        self.bench.release()
        started, recorded = set(self.bench.count_tries()), self._list_recorded()
        self.lines = len(self._read_ledger())
        self.in_flight = started - self.recorded
        psutil.wait_procs(workers, _PROCESS_SECONDS)  # a worker ends when it notices that its nanny has ended
        self.in_flight |= set(self.bench.count_tries()) - self.recorded if workers else set()
        verdict.done_before, verdict.in_flight = len(self.recorded), len(started - recorded)
        verdict.mid_flight = bool(started - recorded) and len(started) < self.workload.count
        verdict.expect(verdict.mid_flight, f"no item was running: {len(started)} started, {len(recorded)} recorded")
        return started

    def _is_ready(self, wanted: int, flow: FlowProcess) -> bool:
        assert flow.process.poll() is None, f"it ended before the kill: {flow.log.read_text()}"
        ended = self.bench.count_tries("end")
        return sum(ended.values()) >= wanted and bool(self.bench.count_tries() - ended)

    def _choose_victim(self, trial: Trial, generator: random.Random, flow: FlowProcess) -> int:
        number = generator.randrange(SLOTS)
        if trial.target.endswith("child"):
            ended = self.bench.count_tries("end")
            at_work = [line.split() for line in self._read_ledger() if line.split()[1] not in ended]
            return int(at_work[number % len(at_work)][2])
        if trial.target.endswith("flow"):
            return flow.process.pid
        if trial.target == "own Prefect server":
            return next(
                pid for pid, words in find_processes(self.bench.mark).items() if "tasks.launcher.api_server" in words
            )
        if trial.target == "other Prefect server":
            return self._server.process.pid
        assert self.cluster is not None
        return self.cluster.pick(trial.target.removeprefix("cluster: "), number)

    def _check_end(self, trial: Trial, flow: FlowProcess, verdict: Verdict) -> None:
        """Check that the run ends with the expected message and leaves no process."""
        try:
            code: int | None = wait_for_exit(flow.process, _END_SECONDS)
        except AssertionError:
            verdict.problems.append(f"hangs: {flow.log.read_text()[-2000:]}")
            code = None
        log = flow.log.read_text()
        verdict.expect(code == EXPECTED_CODES[trial.target], f"exit code {code}: {log[-2000:]}")
        verdict.expect("Traceback" not in log, f"a traceback: {log[-3000:]}")
        if words := MESSAGES.get(trial.target):
            lines = [line for line in log.splitlines() if words in line]
            verdict.expect(len(lines) == 1, f"not exactly one line about it: {log[-2000:]}")
        flow.process.kill()
        verdict.orphans = len(self._wait_for_orphans(trial))
        verdict.expect(not verdict.orphans, f"processes of the killed run are left: {self._wait_for_orphans(trial)}")

    def _wait_for_orphans(self, trial: Trial) -> dict[int, str]:
        """Return the processes of the run that are still alive after some time."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self._find_processes(trial), "the end of all processes", _PROCESS_SECONDS)
        return self._find_processes(trial)

    def _find_processes(self, trial: Trial) -> dict[int, str]:
        if self.cluster is not None:
            self.cluster.reap()
        remote = self.cluster.find_children() if self.cluster and trial.is_remote else {}
        return find_processes(self.bench.mark) | remote

    def _check_torn(self, verdict: Verdict) -> None:
        """Check that every record is complete and that its outputs match it."""
        torn = set[str]()
        for store in self._list_stores():
            stored = store.load()
            torn |= store.ids() - set(stored)  # unreadable
            torn |= {
                name
                for name, record in stored.items()
                if not (record.dropped or store.has_intact_outputs(record, "digest"))
            }
        verdict.torn = len(torn)
        verdict.expect(not torn, f"torn: {torn}")

    def _repeat_run(self, trial: Trial, options: Sequence[object], started: set[str], verdict: Verdict) -> None:
        """Repeat the command and check that only items in flight ran twice and that no item is lost."""
        done = self._list_recorded()
        if trial.target == "cluster: scheduler":
            options = options[: options.index("--scheduler")]
        code = self.bench.run(*options, flow=self.workload.flow)
        verdict.expect(code == 0, f"the second run ends with {code}")
        counts = self.bench.count_items()
        is_flat = not self.workload.removed  # otherwise some of the items that are done are not needed any more
        verdict.expect(counts[2:] == (0, 0), f"counts {counts}")
        verdict.expect(not is_flat or counts[:2] == (self.workload.count - len(done), len(done)), f"counts {counts}")
        later = {line.split()[1] for line in self._read_ledger()[self.lines :] if line.startswith("start ")}
        twice = {item for item, tries in self.bench.count_tries().items() if tries > 1}
        verdict.redone = len(twice)
        verdict.expect(len(self.bench.count_tries()) == self.workload.count, "not every item was run")
        verdict.expect(twice <= self.in_flight, f"run twice, but not in flight: {twice - self.in_flight}")
        verdict.expect(len(twice) <= 2 * self.workload.slots, f"more items than the slots held were run twice: {twice}")
        verdict.expect(max(self.bench.count_tries().values()) <= 2, "run more than twice")
        digests, kept = hash_files(self.bench.output / "made"), load_records(self.bench.output)
        missing = self.recorded - {name.partition("/")[2] for name in kept}
        missing = {
            name for name in missing if not name.startswith(tuple(stage[:-1] for stage in self.workload.removed))
        }
        verdict.lost = len(missing | (self.recorded & later))
        verdict.expect(not verdict.lost, f"done before the kill, but lost: {missing | (self.recorded & later)}")
        verdict.expect(digests == self.baseline.digests, "outputs differ from the baseline")
        verdict.expect(kept == self.baseline.records, "records differ from the baseline")
        verdict.expect(not self._find_leftovers(), f"leftovers: {self._find_leftovers()}")
        verdict.expect(
            not self._find_processes(trial), f"processes of the second run are left: {self._find_processes(trial)}"
        )

    def _find_leftovers(self) -> list[str]:
        output = self.bench.output
        state_folder = output / ".headrace"
        leftovers = [
            *output.rglob("*.tmp"),
            *output.rglob("*.stale"),
            *(state_folder / "private").iterdir(),
            *state_folder.glob("*lock*"),
        ]
        leftovers += [path for path in output.iterdir() if path.name.startswith(".") and path != state_folder]
        return [str(path.relative_to(output)) for path in leftovers]

    def _list_recorded(self) -> set[str]:
        folder = Layout(self.bench.output).records("")
        return {path.stem for path in folder.glob("*/*.json") if not path.name.startswith(".")}

    def _list_stores(self) -> list[RecordStore]:
        layout = Layout(self.bench.output)
        return [RecordStore(layout, stage) for stage in layout.tree.folders(f"{STATE_FOLDER}/records")]

    def _read_ledger(self) -> list[str]:
        return self.bench.ledger.read_text().splitlines() if self.bench.ledger.exists() else []


def run_publishing_trial(trial: Trial, folder: Path) -> Verdict:
    """Kill a process while it publishes: see ``tests/engine/test_kills.py``."""
    verdict = Verdict(trial, mid_flight=True)
    start = time.monotonic()
    folder.mkdir(parents=True)
    try:
        if trial.target == PUBLISHING:
            test_kills.test_killed_between_two_steps(folder, _STEPS[trial.seed % len(_STEPS)])
        else:
            test_kills.test_killed_at_a_random_moment(folder, trial.seed)
    except AssertionError as error:
        verdict.torn = 1
        verdict.problems.append(str(error))
    verdict.seconds = time.monotonic() - start
    return verdict


def create_trials(count: int, seed: int) -> list[Trial]:
    """Create ``count`` trials in the proportions of MIX, spread so that the first dozen has one of every kind.

    Every second trial of a kind kills a run of a graph.
    """
    turns = [(turn / number, target, turn % 2 == 1) for target, number in MIX.items() for turn in range(number)]
    chosen = islice(cycle(sorted(turns, key=lambda entry: entry[0])), count)
    return [Trial(target, seed + number, is_graph) for number, (_, target, is_graph) in enumerate(chosen)]


def format_table(verdicts: Sequence[Verdict]) -> str:
    """Format the verdicts by target as Markdown."""
    head = (
        "killed",
        "kills",
        "in mid-flight",
        "items in flight",
        "run twice",
        "lost",
        "torn",
        "orphans",
        "failed checks",
    )
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    by_target: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_target.setdefault(verdict.trial.target, []).append(verdict)
    for target in [*(name for name in MIX if name in by_target), "all"]:
        group = by_target.get(target, list(verdicts))
        figures = Counter[str]()
        for verdict in group:
            figures["mid"] += verdict.mid_flight
            for name in ("in_flight", "redone", "lost", "torn", "orphans"):
                figures[name] += getattr(verdict, name)
            figures["failed"] += bool(verdict.problems)
        names = ("mid", "in_flight", "redone", "lost", "torn", "orphans", "failed")
        lines.append(f"| {target} | {len(group)} | " + " | ".join(str(figures[name]) for name in names) + " |")
    return "\n".join(lines)


def main() -> int:
    """Run the trials and print the table; return 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", "--strokes", type=int, default=100, dest="trials", help="number of trials")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first trial")
    parser.add_argument("--only", default="", help="prefix of the targets")
    parser.add_argument("--no-injection", action="store_true", help="skip the injection of failing system calls")
    options = parser.parse_args()
    failed_injections = 0 if options.no_injection or options.only else injection.main([]) + graph_kills.main()
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        with _run_server(folder) as api, start_cluster(folder / "cluster") as cluster:
            baselines = [
                Baseline.measure(create_bench(folder / f"undisturbed-{number}", folder, api, patch), workload)
                for number, workload in enumerate((FLAT, GRAPH))
            ]
            chosen = [
                trial for trial in create_trials(options.trials, options.seed) if trial.target.startswith(options.only)
            ]
            for number, trial in enumerate(chosen):
                place = folder / f"trial-{number}"
                if trial.target in EXPECTED_CODES:
                    bench = create_bench(place, folder, api, patch)
                    runner = TrialRunner(bench, baselines[trial.is_graph], cluster)
                    verdicts.append(_run_trial(runner, trial))
                else:
                    verdicts.append(run_publishing_trial(trial, place))
                print(f"{number + 1}/{len(chosen)} {verdicts[-1]}", file=sys.stderr, flush=True)
    print(format_table(verdicts))
    for verdict in verdicts:
        for problem in verdict.problems:
            print(f"{verdict.trial}: {problem}", file=sys.stderr)
    return int(any(verdict.problems for verdict in verdicts) or failed_injections)


def _run_trial(runner: TrialRunner, trial: Trial) -> Verdict:
    try:
        return runner.run(trial)
    except (AssertionError, StopIteration, OSError) as error:
        return Verdict(trial, problems=[f"the trial failed: {error!r}"])


def create_bench(place: Path, home: Path, api: str, patch: pytest.MonkeyPatch) -> Bench:
    place.mkdir(parents=True)
    return Bench(place, home / "prefect-home", api, patch)


@contextmanager
def _run_server(folder: Path) -> Iterator[str]:
    """Run one Prefect server for all trials."""
    with run_api(folder / "prefect-home") as api:
        yield api.url
        flush_prefect_logs()


if __name__ == "__main__":
    raise SystemExit(main())
