"""The part of a run that is executed in a Dask worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from distributed import Worker, get_worker
from distributed.core import Status

from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.control import tell_to_stop
from tasks.engine.running.lease import run_shard
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.store.outcomes import Outcome, Outcomes

_RELEASE_CHECK_SECONDS = 0.5  # between reports of progress, and checks that the scheduler still wants the shard


@dataclass(frozen=True)
class Progress:
    """The progress of a shard: the number of its order, its worker, the item that runs, and items that are done."""

    number: int
    worker: str
    current: str
    done: tuple[str, ...]


def run_order(order: ShardOrder) -> Outcomes:
    """Run a shard in a slot of this worker, and report its progress to the flow."""
    reporter = _Reporter(order)
    with _stop_when_released(order.context, reporter):
        return run_shard(order, reporter.settle, reporter.start)


def progress_topic(run_id: str) -> str:
    """Return the name of the Dask topic on which workers report settled items."""
    return f"headrace-{run_id}"


@contextmanager
def _stop_when_released(context: RunContext, reporter: _Reporter) -> Iterator[None]:
    """In a remote cluster, end this worker's part of the run once nobody waits for the shard; report until then."""
    if not context.elsewhere:
        yield
        return
    worker, finished = get_worker(), threading.Event()
    arguments = (worker, worker.get_current_task(), context.run_id, finished, reporter)
    threading.Thread(target=_watch_release, args=arguments, name="headrace-release", daemon=True).start()
    try:
        yield
    finally:
        finished.set()


def _watch_release(worker: Worker, key: Any, run_id: str, finished: threading.Event, reporter: _Reporter) -> None:
    """Stop the run's items here when Dask releases the task.

    Dask cannot interrupt a running task. If the flow or the scheduler is gone, only the worker's own state shows it.
    """
    reporter.report(worker)  # that the shard has begun
    while not finished.wait(_RELEASE_CHECK_SECONDS):
        reporter.report(worker)
        task_state = worker.state.tasks.get(key)
        released = task_state is None or task_state.state == "cancelled"
        if released or worker.status not in (Status.running, Status.paused):
            if not finished.is_set():
                tell_to_stop(run_id, "stop")
                close_slots(run_id)
            return


class _Reporter:
    """Collects the progress of a shard. A thread sends it twice per second, also as a sign of life."""

    def __init__(self, order: ShardOrder) -> None:
        self._topic = progress_topic(order.context.run_id)
        self._number = order.number
        self._lock = threading.Lock()
        self._current = ""
        self._done: list[str] = []

    def start(self, item_id: str) -> None:
        """Note the item that begins."""
        with self._lock:
            self._current = item_id

    def settle(self, outcome: Outcome) -> None:
        """Note a finished item; the flow takes the others with the shard."""
        if outcome.outcome == "done":
            with self._lock:
                self._done.append(outcome.id)

    def report(self, worker: Worker) -> None:
        """Send the progress since the last report."""
        with self._lock:
            progress = Progress(self._number, worker.address, self._current, tuple(self._done))
            self._done = []
        worker.log_event(self._topic, asdict(progress))  # Dask takes plain values only
