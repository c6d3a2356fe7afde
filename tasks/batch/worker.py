"""The part of a run that is executed in a Dask worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Worker, get_worker
from distributed.core import Status

from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.control import tell_to_stop
from tasks.engine.running.lease import run_shard
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.store.outcomes import Outcome, Outcomes

_REPORT_SECONDS = 0.5  # between reports of settled items
_RELEASE_CHECK_SECONDS = 0.5  # between checks that the scheduler still wants the shard


def run_order(order: ShardOrder) -> Outcomes:
    """Run a shard in a slot of this worker and report its settled items to the flow."""
    reporter = _Reporter(order)
    with _stop_when_released(order.context):
        return run_shard(order, reporter.settle)


def progress_topic(run_id: str) -> str:
    """Return the name of the Dask topic on which workers report settled items."""
    return f"headrace-{run_id}"


@contextmanager
def _stop_when_released(context: RunContext) -> Iterator[None]:
    """In a remote cluster, end this worker's part of the run once nobody waits for the shard."""
    if not context.elsewhere:
        yield
        return
    worker, finished = get_worker(), threading.Event()
    arguments = (worker, worker.get_current_task(), context.run_id, finished)
    threading.Thread(target=_watch_release, args=arguments, name="headrace-release", daemon=True).start()
    try:
        yield
    finally:
        finished.set()


def _watch_release(worker: Worker, key: Any, run_id: str, finished: threading.Event) -> None:
    """Stop the run's items here when Dask releases the task.

    Dask cannot interrupt a running task. If the flow or the scheduler is gone, only the worker's own state shows it.
    """
    while not finished.wait(_RELEASE_CHECK_SECONDS):
        task_state = worker.state.tasks.get(key)
        released = task_state is None or task_state.state == "cancelled"
        if released or worker.status not in (Status.running, Status.paused):
            if not finished.is_set():
                tell_to_stop(run_id, "stop")
                close_slots(run_id)
            return


class _Reporter:
    """Reports finished items to the flow, at most a few times per second, so that others can follow from them."""

    def __init__(self, order: ShardOrder) -> None:
        self._topic = progress_topic(order.context.run_id)
        self._stage = order.stage.name
        self._done: list[str] = []
        self._next = time.monotonic()

    def settle(self, outcome: Outcome) -> None:
        if outcome.outcome == "done":  # the flow takes the others with the shard
            self._done.append(outcome.id)
        if self._done and time.monotonic() >= self._next:
            self._next = time.monotonic() + _REPORT_SECONDS
            get_worker().log_event(self._topic, (self._stage, self._done))
            self._done = []
