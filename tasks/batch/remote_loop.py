"""The loop of a run on a Dask cluster that other processes run: each lease carries its items."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from distributed import CancelledError, KilledWorker
from distributed.client import ClosedClientError

from tasks.batch.loop import LeaseLoop, call_on_workers
from tasks.batch.prefect_tasks import Sealed, run_remote_lease
from tasks.batch.worker import Progress
from tasks.engine.contract.errors import RunError
from tasks.engine.contract.stage import Lane
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running.batches import Batch, BatchMaker
from tasks.engine.running.context import ShardOrder
from tasks.engine.running.control import StopLevel, tell_to_stop
from tasks.engine.running.node_run import NodeRun
from tasks.engine.running.shards import return_items
from tasks.engine.store.outcomes import Outcome, Outcomes

_UNREACHABLE = "Failed to reach API"  # the beginning of Prefect's error if a worker cannot reach its server
_LOOK_SECONDS = 5.0  # between checks that a cluster has workers, while no shard finishes
_SLOW_SECONDS = 2.0  # for which a worker runs one item, until those behind it are given to a worker that is free
_SILENT_SECONDS = 5.0  # after which a worker counts as stalled; workers report twice per second
_ASK_SECONDS = 0.5  # between looks for free workers
_ANSWER_SECONDS = 2.0  # for which answers of workers are awaited


@dataclass(frozen=True)
class Patience:
    """How long a run tolerates the failures of a remote cluster.

    losses           consecutive shards lost with their workers
    deserted_seconds without any worker
    """

    losses: int = 20
    deserted_seconds: float = 300.0


@dataclass(frozen=True)
class Cluster:
    """A Dask cluster that other processes run: the address of its scheduler."""

    address: str
    patience: Patience


@dataclass(frozen=True)
class _GivenBack:
    """The answer of workers: items of a batch that they have not started, and that they will not start."""

    number: int
    item_ids: tuple[str, ...]


class RemoteLoop(LeaseLoop):
    """Runs leases on the workers of a Dask cluster: each carries its items.

    ``widths`` holds the number of slots, which may change.
    """

    def __init__(
        self,
        run_id: str,
        cluster: Cluster,
        widths: dict[Lane, int],
        make_order: Callable[[NodeRun, tuple[PlannedItem, ...]], ShardOrder],
        *arguments: Any,
    ) -> None:
        super().__init__(*arguments)
        self._run_id = run_id
        self._cluster = cluster
        self._widths = widths
        self._make_order = make_order
        self._batches = BatchMaker(self.scheduler, widths, self.scheduler.execution)
        self._losses = 0
        self._cut_off = False
        self._deserted_at: float | None = None
        self._next_look = time.monotonic() + _LOOK_SECONDS
        self._next_ask = 0.0
        self._threads = widths["cpu"]
        self._in_flight: dict[int, Batch] = {}

    @property
    def in_flight(self) -> int:
        """The number of shards whose outcomes have not arrived."""
        return len(self._in_flight)

    @property
    def _max_in_flight(self) -> int:
        """Two batches per slot; one if the cluster has more threads than the run may use, which would run both."""
        slots = self._widths["cpu"]
        return 2 * slots if slots >= self._threads else slots

    def _list_open(self) -> list[int]:
        """Return the numbers of the batches that have items to run, in the order of their submission."""
        return [number for number, batch in self._in_flight.items() if batch.open_ids]

    def run(self) -> None:
        """Return when all items are settled, or when the run stops or the cluster is lost."""
        self._has_workers()
        super().run()
        for batch in self._in_flight.values():  # empty, unless the cluster was lost
            self._settle(batch, self._read_recorded(batch))

    def submit_leases(self) -> None:
        """Submit shards: each slot has one running and one waiting. Take back what waits while workers are free."""
        self._shrink()
        while len(self._list_open()) < self._max_in_flight and not self._cut_off:
            batch = self._batches.take()
            if batch is None:
                self._reclaim()
                return
            batch.submitted_at = time.monotonic()
            self._in_flight[self.submitted] = batch
            order = replace(self._make_order(batch.node, batch.items), number=self.submitted)
            name = f"{self.flow} {batch.node.name} {self.submitted + 1:04d}"
            try:
                self.submit(order.number, run_remote_lease, {"name": name, "sealed": Sealed(order)})
            except ClosedClientError:
                self._cut_off = True

    def take_result(self, lease: Any, future: Any) -> None:
        """Settle the items of a shard."""
        batch = self._in_flight.pop(lease)
        self._next_look = time.monotonic() + _LOOK_SECONDS
        self._settle(batch, self._take_outcomes(batch, future))

    def is_lost(self) -> bool:
        """Return True if the scheduler is gone, or if there was no worker for too long."""
        return self._check_scheduler_lost() or self._check_deserted()

    def tell_workers(self, level: StopLevel) -> None:
        """Tell all workers that the run stops."""
        call_on_workers(self.runner.client, tell_to_stop, self._run_id, level)

    def take_progress(self, message: dict[str, Any]) -> None:
        """Take the report of a worker, from a thread of the client."""
        self._events.put((Progress(**message), None))

    def take_event(self, subject: Any, future: Any) -> None:
        """Take a report or a result."""
        if isinstance(subject, _GivenBack):
            self._take_given_back(subject)
        elif not isinstance(subject, Progress):
            self.take_result(subject, future)
        elif batch := self._in_flight.get(subject.number):
            batch.note(subject.worker, subject.current, time.monotonic())
            self._settle_reported(batch, subject.done)

    def _take_given_back(self, answer: _GivenBack) -> None:
        """Queue the items again that a worker gave back."""
        if batch := self._in_flight.get(answer.number):
            batch.is_asked = False
            self.scheduler.put_back(batch.node.name, batch.give_back(answer.item_ids))

    def _settle_reported(self, batch: Batch, item_ids: Iterable[str]) -> None:
        """Settle items that a worker reports as done before its shard ends, so that others can follow."""
        for item_id in batch.open_ids.intersection(item_ids):
            record = batch.node.store.get(item_id)
            if record and record.run_id == self._run_id:
                batch.open_ids.discard(item_id)
                self.scheduler.settle(Outcome.of_record(record))

    def _settle(self, batch: Batch, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.id in batch.open_ids or outcome.outcome == "done":
                self.scheduler.settle(outcome)
        self.scheduler.put_back(batch.node.name, sorted(batch.open_ids))

    def _reclaim(self) -> None:
        """Take back items that wait for a worker while another one is free and no other item is ready.

        They wait behind an item that takes long; their worker gives back those that it has not started. Or their worker
        stalls and answers nothing. If it has started one nevertheless, it publishes it only if no other worker has: see
        ``settlement.py``.
        """
        now = time.monotonic()
        stuck = [number for number, batch in self._in_flight.items() if _is_stuck(batch, now)]
        if not stuck or now < self._next_ask or self.control.level:
            return
        self._next_ask = now + _ASK_SECONDS
        if self._has_free_worker():
            for number in stuck:
                self._take_back(number)

    def _shrink(self) -> None:
        """Take back what waits in batches that are too many after the number of slots was lowered."""
        numbers = self._list_open()
        for number in numbers[::-1][: max(0, len(numbers) - self._max_in_flight)]:
            if self._in_flight[number].unstarted_ids and not self._in_flight[number].is_asked:
                self._take_back(number)

    def _take_back(self, number: int) -> None:
        """Ask all workers for the items of a batch that have not started."""
        batch = self._in_flight[number]
        batch.is_asked = True
        arguments = number, tuple(sorted(batch.unstarted_ids))
        threading.Thread(target=self._ask_workers, args=arguments, name="headrace-reclaim", daemon=True).start()

    def _ask_workers(self, number: int, item_ids: tuple[str, ...]) -> None:
        """Pass the items to the loop that no worker has started. A stalled worker answers too late, and is ignored."""
        answers: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()

        def ask(worker: str) -> None:
            arguments = return_items, self._run_id, number, item_ids
            for answer in call_on_workers(self.runner.client, *arguments, workers=[worker]).values():
                answers.put(answer)

        workers = self._list_workers()
        for worker in workers:
            threading.Thread(target=ask, args=(worker,), name="headrace-reclaim", daemon=True).start()
        given = [set(answer) for answer in _take_for(_ANSWER_SECONDS, answers, len(workers))]
        self._events.put((_GivenBack(number, tuple(set.intersection(*given)) if given else ()), None))

    def _list_workers(self) -> list[str]:
        try:
            return list(self.runner.client.nthreads())
        except (OSError, CancelledError, ClosedClientError):  # an unreachable scheduler is handled elsewhere
            return []

    def _has_free_worker(self) -> bool:
        """Return True if a worker has fewer tasks than threads."""
        try:
            threads, tasks = self.runner.client.nthreads(), self.runner.client.processing()
        except (OSError, CancelledError, ClosedClientError):  # an unreachable scheduler is handled elsewhere
            return False
        return any(len(tasks.get(worker, ())) < count for worker, count in threads.items())

    def _check_scheduler_lost(self) -> bool:
        """Return True and fail the run if the remote scheduler is gone, and with it the workers' shards.

        If the client reconnects, the scheduler has forgotten the shards and the workers have dropped them.
        """
        if self._cut_off or self.runner.client.status != "running":
            advice = "start one and give the same command again, or leave --scheduler out: finished items stay done"
            self.control.fail(RunError(f"the Dask scheduler at {self._cluster.address} is gone; {advice}"))
            return True
        return False

    def _check_deserted(self) -> bool:
        """Return True if the cluster was without a worker for too long, or has none while the run stops."""
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + _LOOK_SECONDS
        if self._has_workers():
            self._deserted_at = None
            return False
        address, patience = self._cluster.address, self._cluster.patience.deserted_seconds
        advice = f"start some: dask worker {address}"
        if self._deserted_at is None:
            self._deserted_at = time.monotonic()
            self.display.say(f"{address} has no workers any more: waiting {patience:g} s for one; {advice}")
        if time.monotonic() - self._deserted_at < patience:
            return self.control.level is not None
        again = "then give the same command again: finished items stay done"
        self.control.fail(RunError(f"{address} has had no workers for {patience:g} s; {advice}, {again}"))
        return True

    def _has_workers(self) -> bool:
        """Count the threads of all workers; return True if there are some."""
        try:
            threads = sum(self.runner.client.nthreads().values())
        except (OSError, CancelledError, ClosedClientError):  # an unreachable scheduler is handled elsewhere
            return True
        self._threads = threads or self._threads
        return bool(threads)

    def _take_outcomes(self, batch: Batch, future: Any) -> Iterable[Outcome]:
        """Return a shard's outcomes; if its worker was lost, those of its records."""
        try:
            result = future.result(raise_on_failure=False)
            if isinstance(result, BaseException):
                raise result
        except RunError as error:
            self.control.fail(error)
            return self._read_recorded(batch)
        except RuntimeError as error:
            if not str(error).startswith(_UNREACHABLE):
                raise
            advice = "name a server that all workers reach, by PREFECT_API_URL"
            self.control.fail(RunError(f"a worker of {self._cluster.address}: {error}; {advice}"))
            return self._read_recorded(batch)
        except (KilledWorker, CancelledError, OSError) as error:
            self._cut_off = getattr(error, "reason", "") == "scheduler-connection-lost"
            self._losses += 1
            if self._losses > self._cluster.patience.losses:
                self.control.fail(RunError(f"{self._losses} workers in a row were lost; the last: {error}"))
            return self._read_recorded(batch)
        self._losses = 0
        assert isinstance(result, Outcomes)
        return result

    def _read_recorded(self, batch: Batch) -> list[Outcome]:
        """Return the outcomes of a lost shard's items that were done before the loss.

        The others go to another worker; the loss does not count as their attempt.
        """
        records = [(planned, batch.node.store.get(planned.item.id)) for planned in batch.items]
        return [
            Outcome.of_record(record)
            for planned, record in records
            if record and record.key == planned.key and record.run_id == self._run_id
        ]


def _is_stuck(batch: Batch, now: float) -> bool:
    """Return True if items wait for a worker that does not begin them, and that was not asked for them."""
    is_late = batch.is_silent(now, _SILENT_SECONDS) or batch.is_slow(now, _SLOW_SECONDS)
    return is_late and not batch.is_asked and bool(batch.unstarted_ids)


def _take_for(seconds: float, answers: queue.SimpleQueue[tuple[str, ...]], count: int) -> Iterator[tuple[str, ...]]:
    """Yield up to ``count`` answers that arrive within ``seconds``."""
    end = time.monotonic() + seconds
    with suppress(queue.Empty):
        for _ in range(count):
            yield answers.get(timeout=max(0.0, end - time.monotonic()))
