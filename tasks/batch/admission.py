"""Decide which workers get items, and tell the user about the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tasks.batch.membership import Change, Joined
from tasks.batch.probe import Versions, read_versions
from tasks.engine.running.workers import WorkerPool

_FIRST_SECONDS = 30.0  # for which a run waits for the first answers of all workers, before anything runs


class Admission:
    """Takes the reports of workers. Nothing may run until all workers that were there at the beginning have answered.

    obstacle  why the run cannot continue; empty if it can
    """

    def __init__(self, workers: WorkerPool, say: Callable[[str], None]) -> None:
        self.say = say
        self.obstacle = ""
        self._workers = workers
        self._names: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._has_admitted = False
        self._awaited: set[str] | None = None
        self._give_up_at = 0.0
        self._told_versions: set[Versions] = set()

    def get_name(self, address: str) -> str:
        """Return the name of a worker."""
        return self._names.get(address, address)

    @property
    def is_open(self) -> bool:
        """True if items may run: the workers that were there at the beginning have answered, or had time to."""
        if self._awaited is None:
            return False
        if self._awaited and time.monotonic() >= self._give_up_at:
            for address in sorted(self._awaited):
                self.say(f"worker {address} does not answer: it gets no items until it does")
            self._awaited = set()
        return not self._awaited

    def admit(self, change: Change) -> list[Joined]:
        """Return the workers that may get items; say why others may not, and whose versions differ."""
        if self._awaited is None:
            self._awaited, self._give_up_at = set(change.pending), time.monotonic() + _FIRST_SECONDS
        self._awaited &= set(change.pending)
        for address in change.left:
            self._refused.pop(address, None)
        self._names |= {joined.address: joined.report.name or joined.address for joined in change.joined}
        self._compare_versions(change.joined)
        refused = [joined for joined in change.joined if joined.report.problems]
        self._tell_refused(refused)
        admitted = [joined for joined in change.joined if not joined.report.problems]
        self._has_admitted |= bool(admitted)
        if self._refused and not self._has_admitted and not self._awaited and not change.pending:
            problem = next(iter(self._refused.values()))
            self.obstacle = f"no worker can run items: {problem}"
        return admitted

    def _tell_refused(self, refused: Sequence[Joined]) -> None:
        by_problem: dict[str, list[Joined]] = {}
        for joined in refused:
            problem = "; it ".join(joined.report.problems)
            self._refused[joined.address] = f"{self._describe(joined)} {problem}"
            by_problem.setdefault(problem, []).append(joined)
        for problem, workers in by_problem.items():
            others = f" and {len(workers) - 1} others" if len(workers) > 1 else ""
            self.say(f"{self._describe(workers[0])}{others} get{'' if others else 's'} no items: it {problem}")

    def _describe(self, joined: Joined) -> str:
        name = self.get_name(joined.address)
        return f"worker {name}" if name == joined.address else f"worker {name} at {joined.address}"

    def _compare_versions(self, joined: Sequence[Joined]) -> None:
        """Say once for each other version which worker has it."""
        own = read_versions()
        for each in joined:
            versions = each.versions
            if versions and versions != own and versions not in self._told_versions:
                self._told_versions.add(versions)
                self.say(f"{self._describe(each)} has {versions}; this run has {own}: install the same on all machines")
