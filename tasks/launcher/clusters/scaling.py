"""Start and end the workers of a cluster as a run needs them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

from tasks.engine.contract.text import count_noun, one_line
from tasks.launcher.clusters.queues import JobState, Queue, describe_jobs

_LOOK_SECONDS = 1.0
_QUEUE_SECONDS = 5.0  # between questions to the batch system
_GRACE_SECONDS = 20.0  # until a job that was submitted must be in the list of jobs, or its worker must have joined
_RETRY_SECONDS = 10.0  # after a submission that failed
_MAX_FAILURES = 3  # jobs in a row that end before their worker has joined


class Scaler:
    """Follows requests for workers in a thread of its own, because batch systems may take seconds to answer.

    ``queue`` is that of the batch system, if there is one; ``logs`` is the place of the workers' logs, for messages.
    """

    def __init__(
        self,
        cluster: Any,
        minimum: int,
        maximum: int,
        threads: int,
        idle_seconds: float,
        queue: Queue | None = None,
        logs: str = "",
    ) -> None:
        self._cluster = cluster
        self._minimum = minimum
        self._maximum = maximum
        self._threads = threads
        self._idle_seconds = idle_seconds
        self._queue = queue
        self._logs = logs
        self._slots = 0
        self._idle_since: dict[str, float] = {}
        self._ending: set[str] = set()
        self._jobs: dict[str, JobState] | None = None
        self._next_question = 0.0
        self._not_before = 0.0
        self._started_at: dict[str, float] = {}
        self._joined: set[str] = set()
        self._failures = 0
        self._problem = ""
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="headrace-scaler", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread; the cluster ends its workers when it is closed."""
        self._is_over.set()
        self._thread.join(_LOOK_SECONDS)

    @property
    def problem(self) -> str:
        """The reason why no worker will ever come; empty if one may."""
        return self._problem

    def request(self, slots: int, idle: Sequence[str]) -> None:
        """Ask for workers with this number of slots in all; those called ``idle`` have nothing to do."""
        now = time.monotonic()
        with self._lock:
            self._slots = slots
            self._idle_since = {name: self._idle_since.get(name, now) for name in idle}

    def end(self, names: Sequence[str]) -> None:
        """End these workers."""
        with self._lock:
            self._ending.update(names)

    def describe(self) -> str:
        """Return the state of the queue, or the number of workers that are starting."""
        starting = len(self._cluster.worker_spec) - len(self._observed & set(self._cluster.worker_spec))
        if self._queue is None:
            return f"{count_noun(starting, 'worker')} starting" if starting else ""
        if self._jobs is None:
            return f"{count_noun(starting, 'job')} submitted"
        return describe_jobs(self._queue, self._select_own(self._jobs))

    @property
    def _observed(self) -> set[str]:
        """The names of the workers that have joined."""
        return {str(worker["name"]) for worker in self._cluster.scheduler_info["workers"].values()}

    def _select_own(self, jobs: dict[str, JobState]) -> dict[str, JobState]:
        own = {str(worker.job_id) for worker in self._cluster.workers.values() if getattr(worker, "job_id", None)}
        return {job_id: state for job_id, state in jobs.items() if job_id in own}

    def _follow(self) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            with suppress(OSError, RuntimeError, TimeoutError):  # the cluster is being closed
                self._note_joined()
                self._ask_queue()
                self._drop_failed()
                self._adjust()

    def _note_joined(self) -> None:
        new = self._observed - self._joined
        if new:
            self._failures = 0
        self._joined |= new

    def _ask_queue(self) -> None:
        now = time.monotonic()
        if self._queue and now >= self._next_question and self._cluster.workers:
            self._next_question = now + _QUEUE_SECONDS
            self._jobs = self._queue.list_jobs()

    def _drop_failed(self) -> None:
        """Forget workers that will not join, because their submission has failed or their job or process has ended."""
        now = time.monotonic()
        for name, worker in list(self._cluster.workers.items()):
            started = self._started_at.setdefault(name, now)
            if name in self._joined:
                continue
            cause = self._find_failure(worker, now - started)
            if cause:
                self._failures += 1
                self._not_before = now + _RETRY_SECONDS * (self._failures - 1)
                self._drop(name)
                if self._failures >= _MAX_FAILURES:
                    place = f"; see {self._logs}" if self._logs else ""
                    self._problem = (
                        f"{self._failures} workers in a row did not start; the last: {one_line(cause)}{place}"
                    )

    def _find_failure(self, worker: Any, age_seconds: float) -> str:
        if error := getattr(worker, "submit_error", ""):
            return str(error)
        if getattr(worker, "has_ended", False):
            return "its process has ended"
        job_id = str(getattr(worker, "job_id", None) or "")
        is_gone = self._jobs is not None and job_id and job_id not in self._jobs
        return f"job {job_id} has ended" if is_gone and age_seconds > _GRACE_SECONDS else ""

    def _drop(self, name: str) -> None:
        worker = self._cluster.workers.pop(name, None)
        self._cluster.worker_spec.pop(name, None)
        self._started_at.pop(name, None)
        if worker is not None:
            self._cluster.sync(worker.close)

    def _adjust(self) -> None:
        with self._lock:
            slots, ending, self._ending = self._slots, self._ending, set()
            idle_since = dict(self._idle_since)
        known = set(self._cluster.worker_spec)
        if ending & known:
            self._cluster.sync(self._cluster.scale_down, sorted(ending & known))
        wanted = min(self._maximum, max(self._minimum, math.ceil(slots / self._threads)))
        count = len(self._cluster.worker_spec)
        if count < wanted or len(self._cluster.workers) < count:
            if time.monotonic() >= self._not_before and not self._problem:
                self._cluster.scale(max(wanted, count))
        elif surplus := self._list_surplus(count - wanted, idle_since):
            self._cluster.sync(self._cluster.scale_down, surplus)

    def _list_surplus(self, count: int, idle_since: dict[str, float]) -> list[str]:
        """Return up to ``count`` workers to end: those that have not started, then those that are idle for long."""
        if count <= 0:
            return []
        now, known = time.monotonic(), set(self._cluster.worker_spec)
        waiting = sorted(known - self._observed - self._joined)
        idle = [name for name, since in idle_since.items() if name in known and now - since >= self._idle_seconds]
        return [*waiting, *sorted(idle, key=idle_since.__getitem__)][:count]


class SimpleScaler(Scaler):
    """Scales clusters that only take a number of workers and choose themselves which to end."""

    _asked = -1
    _surplus_since: float | None = None

    def describe(self) -> str:
        """Return the number of workers that were asked for."""
        return f"asked for {count_noun(max(0, self._asked), 'worker')}"

    def _follow(self) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            with suppress(OSError, RuntimeError, TimeoutError):
                self._ask()

    def _ask(self) -> None:
        now = time.monotonic()
        wanted = min(self._maximum, max(self._minimum, math.ceil(self._slots / self._threads)))
        if wanted >= self._asked:
            self._surplus_since = None
        elif self._surplus_since is None:
            self._surplus_since = now
        is_due = wanted > self._asked or (
            self._surplus_since is not None and now - self._surplus_since >= self._idle_seconds
        )
        if is_due:
            self._cluster.scale(wanted)
            self._asked, self._surplus_since = wanted, None
