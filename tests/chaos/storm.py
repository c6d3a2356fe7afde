"""Strokes: a run is started, a part of it is killed while it is at work, and the same command is given again.

``python -m tests.chaos.storm --strokes 100`` gives many and prints the table of ``docs/reliability.md``; ``pytest
tests/chaos`` gives a few of every kind.
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

from tasks.engine.store.layout import Layout
from tasks.engine.store.records import RecordStore
from tests.chaos.cluster import Cluster, cluster_in
from tests.engine import injection, test_kills
from tests.engine.processes import find_processes, wait_for_exit, wait_until
from tests.homes import run_api
from tests.runs.bench import Bench, FlowProcess, flush_prefect_logs, hash_files, load_records

ITEMS = 40
SLOTS = 2
_STAGE = "faults"
_SLACK = 6  # items that may end after the moment to kill; then the others wait for it, however late this process is
_GONE_SECONDS = 30.0
_END_SECONDS = 300.0  # Prefect calls a server that is gone for a minute, twice

# What is killed, with the exit code that the run ends with. How many of a hundred strokes each gets: see MIX.
EXPECTED = {
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
WORDS = {
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
class Stroke:
    """What is killed, and the seed of when and which."""

    target: str
    seed: int

    @property
    def remote(self) -> bool:
        """Whether the run uses a cluster elsewhere."""
        return self.target.startswith("cluster")


@dataclass
class Verdict:
    """What a stroke came to. ``problems``: what does not hold, in words."""

    stroke: Stroke
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
        """Note ``problem`` unless ``holds``."""
        if not holds:
            self.problems.append(problem)


@dataclass(frozen=True)
class Undisturbed:
    """What a run that nobody disturbs makes."""

    made: dict[str, str]
    records: dict[str, Any]

    @classmethod
    def of(cls, bench: Bench) -> Undisturbed:
        """Run the items of a stroke in peace."""
        bench.write_manifest(*manifest())
        assert bench.run("--workers", SLOTS) == 0
        return cls(hash_files(bench.output / "made"), load_records(bench.output))


def manifest() -> list[dict[str, object]]:
    """Forty items of 50 to 100 ms that write two files each."""
    chance = random.Random(0)
    return [{"id": f"item-{n:02d}", "do": "take_time", "seconds": chance.uniform(0.05, 0.1)} for n in range(ITEMS)]


class Storm:
    """Gives strokes to runs in ``bench``; ``cluster`` is there for those that need one."""

    def __init__(self, bench: Bench, undisturbed: Undisturbed, cluster: Cluster | None = None) -> None:
        self.bench = bench
        self.undisturbed = undisturbed
        self.cluster = cluster
        self.store = RecordStore(Layout(bench.output), _STAGE)
        self.known: set[str] = set()
        self.in_flight: set[str] = set()
        self.lines = 0

    def give(self, stroke: Stroke) -> Verdict:
        """One stroke and what follows from it."""
        verdict = Verdict(stroke)
        begun = time.monotonic()
        self.bench.write_manifest(*manifest())
        chance = random.Random(stroke.seed)
        options = ["--workers", SLOTS, "--shard-size", chance.randrange(1, 6)]
        with ExitStack() as stack:
            api = self._prepare(stroke, options, stack)
            wanted = max(1, round(chance.uniform(0.05, 0.7) * ITEMS))
            self.bench.hold(min(wanted + _SLACK, ITEMS - 2 * SLOTS))
            stack.callback(self.bench.release)
            with self.bench.start_flow(*options) as flow:
                started = self._strike(stroke, chance, flow, wanted, verdict)
                self._await_end(stroke, flow, verdict)
            # A child may be handed an item in the moment of the kill; a cluster's workers go on until they notice.
            if stroke.remote or stroke.target == "flow":
                self.in_flight |= set(self.bench.count_tries()) - self._recorded()
            self.bench.api = api
            self._check_torn(verdict)
            self._again(stroke, options, started, verdict)
        verdict.seconds = time.monotonic() - begun
        return verdict

    def _prepare(self, stroke: Stroke, options: list[Any], stack: ExitStack) -> str | None:
        """Set the scene; returns the API that the second run uses."""
        api = self.bench.api
        if stroke.remote:
            assert self.cluster is not None
            self.cluster.mend()
            self.bench.ledger = self.cluster.ledger
            options += ["--scheduler", self.cluster.address]
        if stroke.target == "own Prefect server":
            self.bench.api = None
        if stroke.target == "other Prefect server":
            self._server = stack.enter_context(run_api(self.bench.folder / "other-home"))
            self.bench.api = self._server.url
        self.bench.ledger.unlink(missing_ok=True)
        return api

    def _strike(
        self, stroke: Stroke, chance: random.Random, flow: FlowProcess, wanted: int, verdict: Verdict
    ) -> set[str]:
        """Kill once ``wanted`` items have ended; returns what had been started by then."""
        wait_until(lambda: self._ripe(wanted, flow), lambda: f"{wanted} items ended: {flow.log.read_text()}", 90.0)
        victim = self._victim(stroke, chance, flow)
        heirs = psutil.Process(victim).children() if stroke.target == "cluster: nanny" else []
        self.known = self._recorded()
        os.kill(victim, signal.SIGKILL)
        self.bench.release()
        started, recorded = set(self.bench.count_tries()), self._recorded()
        self.lines = len(self._ledger())
        self.in_flight = started - self.known
        psutil.wait_procs(heirs, _GONE_SECONDS)  # a worker goes when it notices that its nanny is gone
        self.in_flight |= set(self.bench.count_tries()) - self.known if heirs else set()
        verdict.done_before, verdict.in_flight = len(self.known), len(started - recorded)
        verdict.mid_flight = bool(started - recorded) and len(started) < ITEMS
        verdict.expect(verdict.mid_flight, f"not in mid-flight: {len(started)} started, {len(recorded)} recorded")
        return started

    def _ripe(self, wanted: int, flow: FlowProcess) -> bool:
        assert flow.process.poll() is None, f"it ended before the stroke: {flow.log.read_text()}"
        ended = self.bench.count_tries("end")
        return sum(ended.values()) >= wanted and bool(self.bench.count_tries() - ended)

    def _victim(self, stroke: Stroke, chance: random.Random, flow: FlowProcess) -> int:
        number = chance.randrange(SLOTS)
        if stroke.target.endswith("child"):
            ended = self.bench.count_tries("end")
            at_work = [line.split() for line in self._ledger() if line.split()[1] not in ended]
            return int(at_work[number % len(at_work)][2])
        if stroke.target.endswith("flow"):
            return flow.process.pid
        if stroke.target == "own Prefect server":
            return next(
                pid for pid, words in find_processes(self.bench.mark).items() if "tasks.launcher.api_server" in words
            )
        if stroke.target == "other Prefect server":
            return self._server.process.pid
        assert self.cluster is not None
        return self.cluster.pick(stroke.target.removeprefix("cluster: "), number)

    def _await_end(self, stroke: Stroke, flow: FlowProcess, verdict: Verdict) -> None:
        """The run ends by itself, with the right words, and no process of it is left."""
        try:
            code: int | None = wait_for_exit(flow.process, _END_SECONDS)
        except AssertionError:
            verdict.problems.append(f"hangs: {flow.log.read_text()[-2000:]}")
            code = None
        log = flow.log.read_text()
        verdict.expect(code == EXPECTED[stroke.target], f"exit code {code}: {log[-2000:]}")
        verdict.expect("Traceback" not in log, f"a traceback: {log[-3000:]}")
        if words := WORDS.get(stroke.target):
            lines = [line for line in log.splitlines() if words in line]
            verdict.expect(len(lines) == 1, f"not one line about it: {log[-2000:]}")
        flow.process.kill()
        verdict.orphans = len(self._left(stroke))
        verdict.expect(not verdict.orphans, f"processes of the dead run are left: {self._left(stroke)}")

    def _left(self, stroke: Stroke) -> dict[int, str]:
        """Processes of the run that are still there after some time."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self._marked(stroke), "the end of all processes", _GONE_SECONDS)
        return self._marked(stroke)

    def _marked(self, stroke: Stroke) -> dict[int, str]:
        if self.cluster is not None:
            self.cluster.reap()
        elsewhere = self.cluster.children() if self.cluster and stroke.remote else {}
        return find_processes(self.bench.mark) | elsewhere

    def _check_torn(self, verdict: Verdict) -> None:
        """Every record is whole, and so is what it tells of."""
        found = self.store.load()
        unreadable = self._recorded() - set(found)
        torn = {
            name for name, record in found.items() if not self.store.has_intact_outputs(record, "digest")
        } | unreadable
        verdict.torn = len(torn)
        verdict.expect(not torn, f"torn: {torn}")

    def _again(self, stroke: Stroke, options: Sequence[object], started: set[str], verdict: Verdict) -> None:
        """The same command again: everything is there once, and nothing was done twice but what was in flight."""
        done = self._recorded()
        if stroke.target == "cluster: scheduler":
            options = options[: options.index("--scheduler")]
        code = self.bench.run(*options)
        verdict.expect(code == 0, f"the second run ends with {code}")
        verdict.expect(
            self.bench.count_items() == (ITEMS - len(done), len(done), 0, 0), f"counts {self.bench.count_items()}"
        )
        later = {line.split()[1] for line in self._ledger()[self.lines :] if line.startswith("start ")}
        twice = {item for item, tries in self.bench.count_tries().items() if tries > 1}
        verdict.redone = len(twice)
        verdict.expect(set(self.bench.count_tries()) == {row["id"] for row in manifest()}, "not every item was run")
        verdict.expect(twice <= self.in_flight, f"run twice, but not in flight: {twice - self.in_flight}")
        verdict.expect(len(twice) <= 2 * SLOTS, f"more than the slots held were run twice: {twice}")
        verdict.expect(max(self.bench.count_tries().values()) <= 2, "run more than twice")
        made, kept = hash_files(self.bench.output / "made"), load_records(self.bench.output)
        missing = self.known - {name.partition("/")[2] for name in kept}
        verdict.lost = len(missing | (self.known & later))
        verdict.expect(not verdict.lost, f"done before the kill, but lost: {missing | (self.known & later)}")
        verdict.expect(made == self.undisturbed.made, "outputs differ from those of an undisturbed run")
        verdict.expect(kept == self.undisturbed.records, "records differ from those of an undisturbed run")
        verdict.expect(not self._leftovers(), f"leftovers: {self._leftovers()}")
        verdict.expect(not self._marked(stroke), f"processes of the second run are left: {self._marked(stroke)}")

    def _leftovers(self) -> list[str]:
        output = self.bench.output
        house = output / ".headrace"
        found = [
            *output.rglob("*.tmp"),
            *output.rglob("*.stale"),
            *(house / "private").iterdir(),
            *house.glob("*lock*"),
        ]
        found += [path for path in output.iterdir() if path.name.startswith(".") and path != house]
        return [str(path.relative_to(output)) for path in found]

    def _recorded(self) -> set[str]:
        return {path.stem for path in self.store.folder.glob("*.json") if not path.name.startswith(".")}

    def _ledger(self) -> list[str]:
        return self.bench.ledger.read_text().splitlines() if self.bench.ledger.exists() else []


def publishing(stroke: Stroke, folder: Path) -> Verdict:
    """Kill a process that publishes: see ``tests/engine/test_kills.py``."""
    verdict = Verdict(stroke, mid_flight=True)
    begun = time.monotonic()
    folder.mkdir(parents=True)
    try:
        if stroke.target == PUBLISHING:
            test_kills.test_killed_between_two_steps(folder, _STEPS[stroke.seed % len(_STEPS)])
        else:
            test_kills.test_killed_at_a_random_moment(folder, stroke.seed)
    except AssertionError as error:
        verdict.torn = 1
        verdict.problems.append(str(error))
    verdict.seconds = time.monotonic() - begun
    return verdict


def strokes(count: int, seed: int) -> list[Stroke]:
    """``count`` strokes in the proportions of MIX, spread so that the first dozen has one of every kind."""
    turns = [(turn / number, target) for target, number in MIX.items() for turn in range(number)]
    targets = [target for _, target in sorted(turns, key=lambda entry: entry[0])]
    return [Stroke(target, seed + number) for number, target in enumerate(islice(cycle(targets), count))]


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts by target, as Markdown."""
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
        by_target.setdefault(verdict.stroke.target, []).append(verdict)
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
    """Give the strokes and print the table; 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", "--strokes", type=int, default=100, dest="strokes", help="how many kills")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first trial")
    parser.add_argument("--only", default="", help="targets that begin so")
    parser.add_argument("--no-injection", action="store_true", help="leave out failing system calls")
    wanted = parser.parse_args()
    failed_injections = 0 if wanted.no_injection or wanted.only else injection.main([])
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        with _session(folder) as api, cluster_in(folder / "cluster") as cluster:
            undisturbed = Undisturbed.of(_bench(folder / "undisturbed", folder, api, patch))
            chosen = [
                stroke for stroke in strokes(wanted.strokes, wanted.seed) if stroke.target.startswith(wanted.only)
            ]
            for number, stroke in enumerate(chosen):
                place = folder / f"stroke-{number}"
                if stroke.target in EXPECTED:
                    storm = Storm(_bench(place, folder, api, patch), undisturbed, cluster)
                    verdicts.append(_given(storm, stroke))
                else:
                    verdicts.append(publishing(stroke, place))
                print(f"{number + 1}/{len(chosen)} {verdicts[-1]}", file=sys.stderr, flush=True)
    print(table(verdicts))
    for verdict in verdicts:
        for problem in verdict.problems:
            print(f"{verdict.stroke}: {problem}", file=sys.stderr)
    return int(any(verdict.problems for verdict in verdicts) or failed_injections)


def _given(storm: Storm, stroke: Stroke) -> Verdict:
    try:
        return storm.give(stroke)
    except (AssertionError, StopIteration, OSError) as error:
        return Verdict(stroke, problems=[f"the stroke itself failed: {error!r}"])


def _bench(place: Path, home: Path, api: str, patch: pytest.MonkeyPatch) -> Bench:
    place.mkdir(parents=True)
    return Bench(place, home / "prefect-home", api, patch)


@contextmanager
def _session(folder: Path) -> Iterator[str]:
    """A Prefect server for all strokes."""
    with run_api(folder / "prefect-home") as api:
        yield api.url
        flush_prefect_logs()


if __name__ == "__main__":
    raise SystemExit(main())
