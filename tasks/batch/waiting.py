"""Report that a run waits for workers, and give up after a while."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.engine.contract.errors import RunError
from tasks.engine.running.workers import WorkerPool

_REPEAT_SECONDS = 5.0  # between two lines about a queue that changes


@dataclass(frozen=True)
class Patience:
    """How long a run tolerates the failures of a remote cluster.

    losses           consecutive shards lost with their workers
    deserted_seconds without any worker, after there were some, if nobody starts others
    wait_seconds     without any worker otherwise; None for no limit
    """

    losses: int = 20
    deserted_seconds: float = 300.0
    wait_seconds: float | None = None


class Waiting:
    """Notices that items wait and no worker can take them. ``is_managed``: the run starts workers itself."""

    def __init__(self, title: str, patience: Patience, workers: WorkerPool, is_managed: bool) -> None:
        self.error: RunError | None = None
        self._title = title
        self._patience = patience
        self._workers = workers
        self._is_managed = is_managed
        self._had_workers = False
        self._since: float | None = None
        self._said = ""
        self._next_line = 0.0

    @property
    def is_deserted(self) -> bool:
        """True if items wait for a worker."""
        return self._since is not None

    def update(self, now: float, has_ready: bool, queue: str) -> str:
        """Return a line for the user if there is something new to say; ``queue`` is the state of its queue."""
        if len(self._workers):
            self._had_workers, self._since, self._said = True, None, ""
            return ""
        if not has_ready:
            return ""
        if self._since is None:
            self._since = now
        limit = self._limit
        if limit is not None and now - self._since >= limit:
            again = "then give the same command again: finished items stay done"
            self.error = RunError(f"{self._title} has had no workers for {limit:g} s; {self._advice}{again}")
        line = self._describe(queue)
        if line == self._said or now < self._next_line:
            return ""
        self._said, self._next_line = line, now + _REPEAT_SECONDS
        return line

    @property
    def _limit(self) -> float | None:
        is_left = self._had_workers and not self._is_managed
        return self._patience.deserted_seconds if is_left else self._patience.wait_seconds

    @property
    def _advice(self) -> str:
        return "" if self._is_managed else f"start some: dask worker {self._title}, "

    def _describe(self, queue: str) -> str:
        if self._is_managed:
            limit = "" if self._limit is None else f" for at most {self._limit:g} s"
            return f"{self._title}: waiting for workers{limit}{f'; {queue}' if queue else ''}"
        advice = f"start some: dask worker {self._title}"
        if self._had_workers:
            return f"{self._title} has no workers any more: waiting {self._limit:g} s for one; {advice}"
        limit = "" if self._limit is None else f" {self._limit:g} s"
        return f"{self._title} has no workers yet: waiting{limit} for one; {advice}"
