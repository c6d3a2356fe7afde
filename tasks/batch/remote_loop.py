"""The loop of a run on a Dask cluster that other processes run: each lease carries its items to one worker."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from distributed import CancelledError, KilledWorker
from distributed.client import ClosedClientError

from tasks.batch.admission import Admission
from tasks.batch.loop import LeaseLoop, call_on_workers
from tasks.batch.membership import Change
from tasks.batch.prefect_tasks import Sealed, run_remote_lease
from tasks.batch.task_runner import RemoteTaskRunner
from tasks.batch.waiting import Patience, Waiting
from tasks.batch.worker import Progress
from tasks.engine.contract.errors import RunError
from tasks.engine.contract.stage import Lane
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.planning.sizing import RunSize
from tasks.engine.running.batches import Batch, BatchMaker
from tasks.engine.running.context import ShardOrder, Walltime
from tasks.engine.running.control import StopLevel, tell_to_stop
from tasks.engine.running.devices import Device
from tasks.engine.running.node_run import NodeRun
from tasks.engine.running.shards import return_items
from tasks.engine.running.workers import WorkerPool, WorkerState
from tasks.engine.store.outcomes import Outcome, Outcomes

_UNREACHABLE = "Failed to reach API"  # the beginning of Prefect's error if a worker cannot reach its server
_LOOK_SECONDS = 1.0  # between checks that a cluster has workers, and requests for more or fewer of them
_SLOW_SECONDS = 2.0  # for which a worker runs one item, until those behind it are given to a worker that is free
_SILENT_SECONDS = 5.0  # after which a batch counts as late; workers report twice per second
_ASK_SECONDS = 0.5  # between looks for free workers
_ANSWER_SECONDS = 2.0  # for which the answer of a worker is awaited
_LATE_SECONDS = 2.0  # after which a worker that has no time for any item is ended


class Manager(Protocol):
    """Starts and ends the workers of a cluster. Its methods return at once."""

    def request(self, slots: int, idle: Sequence[str]) -> None:
        """Ask for workers with this number of slots in all; those called ``idle`` have nothing to do."""

    def end(self, names: Sequence[str]) -> None:
        """End these workers: their walltime is nearly over."""

    def describe(self) -> str:
        """Return the state of the queue in a few words; empty if there is none."""

    @property
    def problem(self) -> str:
        """The reason why no worker will ever come; empty if one may."""


@dataclass(frozen=True)
class Cluster:
    """A Dask cluster that other processes run: its name for messages, and the manager that scales it, if any."""

    address: str
    patience: Patience
    manager: Manager | None = None


MakeOrder = Callable[[NodeRun, tuple[PlannedItem, ...], RunSize, Device | None], ShardOrder]


@dataclass(frozen=True)
class _GivenBack:
    """The answer of a worker: items of a batch that it has not started, and that it will not start."""

    number: int
    item_ids: tuple[str, ...]


class RemoteLoop(LeaseLoop):
    """Runs leases on the workers of a Dask cluster: each carries its items to one worker.

    ``widths`` holds the number of slots, which may change. ``allow_slots`` is called with the number of threads of all
    workers when it has changed.
    """

    runner: RemoteTaskRunner

    def __init__(
        self,
        run_id: str,
        cluster: Cluster,
        widths: dict[Lane, int],
        make_order: MakeOrder,
        *arguments: Any,
    ) -> None:
        super().__init__(*arguments)
        self.workers = WorkerPool()
        self.admission = Admission(self.workers, self.display.say)
        self.waiting = Waiting(cluster.address, cluster.patience, self.workers, cluster.manager is not None)
        self.allow_slots: Callable[[int], None] = lambda _: None
        self.say_status: Callable[[str], None] = self.display.say
        self._run_id = run_id
        self._cluster = cluster
        self._widths = widths
        self._make_order = make_order
        self._batches = BatchMaker(self.scheduler, widths, self.scheduler.execution)
        self._losses = 0
        self._lost: set[str] = set()  # workers that count already
        self._cut_off = False
        self._next_look = 0.0
        self._next_ask = 0.0
        self._in_flight: dict[int, Batch] = {}
        self._futures: dict[int, Any] = {}

    @property
    def in_flight(self) -> int:
        """The number of shards whose outcomes have not arrived."""
        return len(self._in_flight)

    @property
    def _max_per_thread(self) -> int:
        """Two batches per slot; one if the cluster has more threads than the run may use, which would run both."""
        return 2 if self._widths["cpu"] >= self.workers.threads else 1

    @property
    def _max_in_flight(self) -> int:
        return self._max_per_thread * self._widths["cpu"]

    def _list_open(self) -> list[int]:
        """Return the numbers of the batches that have items to run, in the order of their submission."""
        return [number for number, batch in self._in_flight.items() if batch.open_ids]

    def run(self) -> None:
        """Return when all items are settled, or when the run stops or the cluster is lost."""
        super().run()
        for batch in self._in_flight.values():  # empty, unless the cluster was lost
            self._settle(batch, self._read_recorded(batch))

    def submit_leases(self) -> None:
        """Submit shards: each slot has one running and one waiting. Take back what waits while workers are free."""
        self._look_at_cluster()
        if not self.admission.is_open or self._cut_off:
            return
        self._shrink()
        while self._submit_some():
            pass
        if len(self._list_open()) < self._max_in_flight:
            self._reclaim()

    def _submit_some(self) -> bool:
        """Submit a batch to each worker that can take one; return True if there was one."""
        if not self.scheduler.has_ready():
            return False
        now, submitted = time.monotonic(), self.submitted
        for worker in self.workers.list_free(now, self._widths["cpu"], self._max_per_thread):
            allowance = self.workers.make_allowance(worker, now)
            if batch := self._batches.take(allowance):
                self._submit_batch(worker, batch, now)
            elif not self.scheduler.has_ready():
                break
            worker.note_time(now, allowance.is_late)
        return self.submitted > submitted and not self._cut_off

    def _submit_batch(self, worker: WorkerState, batch: Batch, now: float) -> None:
        number = self.submitted
        if not worker.batches:
            worker.heard_at = now
        batch.submitted_at, batch.worker = now, worker.address
        batch.device = self.workers.find_device(worker, batch.node.name) if batch.node.lane == "device" else None
        self._in_flight[number] = worker.batches[number] = batch
        walltime = self._make_walltime(worker, batch)
        worker.has_worked = True
        order = self._make_order(batch.node, batch.items, self.workers.size(worker), batch.device)
        order = replace(order, number=number, walltime=walltime)
        name = f"{self.flow} {batch.node.name} {number + 1:04d}"
        try:
            self.submit(number, run_remote_lease, {"name": name, "sealed": Sealed(order)})
        except ClosedClientError:
            self._cut_off = True

    def _make_walltime(self, worker: WorkerState, batch: Batch) -> Walltime | None:
        """Return the time that the worker has; None if it does not matter."""
        ends_at, rate = worker.capacity.ends_at, self._batches.predict_seconds_per_cost(batch.node)
        return None if ends_at is None or rate is None or worker.is_fresh else Walltime(ends_at, rate)

    def submit(self, lease: Any, task: Any, parameters: dict[str, Any]) -> None:
        """Submit a task run to the worker of its batch."""
        self.submitted += 1
        future = self.runner.submit_to(self._in_flight[lease].worker, task, parameters)
        self._futures[lease] = future
        future.add_done_callback(lambda done: self._events.put((lease, done)))

    def take_result(self, lease: Any, future: Any) -> None:
        """Settle the items of a shard."""
        self._futures.pop(lease, None)
        if batch := self._in_flight.pop(lease, None):  # unless its worker has left before
            self._release(lease, batch)
            self._settle(batch, self._take_outcomes(batch, future))

    def _release(self, number: int, batch: Batch) -> None:
        if worker := self.workers.get(batch.worker):
            worker.batches.pop(number, None)
            worker.heard_at = time.monotonic()

    def is_lost(self) -> bool:
        """Return True if the scheduler is gone, or if there was no worker for too long."""
        return self._check_scheduler_lost() or self._check_deserted()

    def tell_workers(self, level: StopLevel) -> None:
        """Tell all workers that the run stops."""
        call_on_workers(self.runner.client, tell_to_stop, self._run_id, level)

    def take_progress(self, message: dict[str, Any]) -> None:
        """Take the report of a worker, from a thread of the client."""
        self._events.put((Progress(**message), None))

    def take_change(self, change: Change) -> None:
        """Take a change of the workers, from a thread."""
        self._events.put((change, None))

    def take_event(self, subject: Any, future: Any) -> None:
        """Take a report, a change or a result."""
        if isinstance(subject, _GivenBack):
            self._take_given_back(subject)
        elif isinstance(subject, Change):
            self._take_change(subject)
        elif not isinstance(subject, Progress):
            self.take_result(subject, future)
        elif batch := self._in_flight.get(subject.number):
            now = time.monotonic()
            batch.note(subject.worker, subject.current, now)
            if worker := self.workers.get(subject.worker):
                worker.heard_at = now
            self._settle_reported(batch, subject.done)

    def _take_change(self, change: Change) -> None:
        """Let workers in that can run items, and queue the items of those that have left."""
        for address in change.left:
            self._lose(address)
        for joined in self.admission.admit(change):
            self.workers.join(joined.address, joined.threads, joined.report.capacity, time.monotonic())
        self._adapt_to_devices()
        if self.workers.threads:
            self.allow_slots(self.workers.threads)
        if self.admission.obstacle:
            self.control.fail(RunError(self.admission.obstacle))

    def _adapt_to_devices(self) -> None:
        """Let as many items run that need a device as the workers have devices."""
        for node in self.scheduler.nodes:
            if node.lane == "device":
                node.max_running = self.workers.count_devices(node.name)

    def _lose(self, address: str) -> None:
        """Queue the items of a worker that has left; those that it has finished are settled."""
        worker = self.workers.leave(address)
        batches = worker.batches if worker else {}
        for number, batch in batches.items():
            self._in_flight.pop(number, None)
            self._cancel(self._futures.pop(number, None))
            self._settle(batch, self._read_recorded(batch))
        if any(batch.reported_at for batch in batches.values()):
            self._count_loss(address, "it has left the cluster")

    def _cancel(self, future: Any) -> None:
        """Let Dask forget a task whose worker is gone: it would wait for a worker at the same address."""
        if future is None:
            return

        def cancel() -> None:
            with suppress(OSError, CancelledError, ClosedClientError):
                self.runner.client.cancel([future.wrapped_future], force=True)

        threading.Thread(target=cancel, name="headrace-cancel", daemon=True).start()

    def _count_loss(self, address: str, cause: object) -> None:
        """Count a worker that was lost with items; it gets no others until the cluster has noticed it too."""
        if worker := self.workers.get(address):
            worker.is_leaving = True
        self._losses += address not in self._lost
        self._lost.add(address)
        if self._losses > self._cluster.patience.losses:
            self.control.fail(RunError(f"{self._losses} workers in a row were lost; the last: {address}: {cause}"))

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
        if now < self._next_ask or self.control.level:
            return
        self._next_ask = now + _ASK_SECONDS
        if not self.workers.has_free_thread(now):
            return
        for number in [number for number, batch in self._in_flight.items() if _is_stuck(batch, now)]:
            self._take_back(number)

    def _shrink(self) -> None:
        """Take back what waits in batches that are too many after the number of slots was lowered."""
        numbers = self._list_open()
        for number in numbers[::-1][: max(0, len(numbers) - self._max_in_flight)]:
            if self._in_flight[number].unstarted_ids and not self._in_flight[number].is_asked:
                self._take_back(number)

    def _take_back(self, number: int) -> None:
        """Ask the worker of a batch for the items that it has not started."""
        batch = self._in_flight[number]
        batch.is_asked = True
        arguments = batch.worker, number, tuple(sorted(batch.unstarted_ids))
        threading.Thread(target=self._ask_worker, args=arguments, name="headrace-reclaim", daemon=True).start()

    def _ask_worker(self, address: str, number: int, item_ids: tuple[str, ...]) -> None:
        """Pass the items to the loop that the worker has not started: all of them if it stalls and does not answer."""
        answers: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()

        def ask() -> None:
            arguments = return_items, self._run_id, number, item_ids
            answer = call_on_workers(self.runner.client, *arguments, workers=[address]).get(address)
            answers.put(item_ids if answer is None else answer)

        threading.Thread(target=ask, name="headrace-reclaim", daemon=True).start()
        try:
            answer = answers.get(timeout=_ANSWER_SECONDS)
        except queue.Empty:
            answer = item_ids
        self._events.put((_GivenBack(number, answer), None))

    def _look_at_cluster(self) -> None:
        """Ask for the number of workers that have something to do; end those that have no time left; say what waits."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        has_ready = self.scheduler.has_ready()
        if manager := self._cluster.manager:
            self._scale(manager, now, has_ready)
        description = manager.describe() if manager else ""
        if status := self.waiting.update(now, has_ready and self.admission.is_open, description):
            self.say_status(status)

    def _scale(self, manager: Manager, now: float, has_ready: bool) -> None:
        if manager.problem:
            self.control.fail(RunError(manager.problem))
        idle = [worker for worker in self.workers if not worker.batches]
        if has_ready:
            self._end_late(manager, [worker for worker in idle if worker.is_late_for(now, _LATE_SECONDS)])
        slots = sum(self.scheduler.count_useful_slots(lane) for lane in ("io", "device", "cpu"))
        if self.control.level:
            slots = len(self._list_open())
        limit = self.scheduler.execution.workers
        wanted = min(slots, limit) if limit else slots
        manager.request(wanted, [self.admission.get_name(worker.address) for worker in idle])

    def _end_late(self, manager: Manager, late: Sequence[WorkerState]) -> None:
        """End workers whose time is too short for any item, so that others can take their place."""
        for worker in late:
            worker.is_leaving = True
        if late:
            manager.end([self.admission.get_name(worker.address) for worker in late])

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
        if error := self.waiting.error:
            self.control.fail(error)
            return True
        return self.waiting.is_deserted and self.control.level is not None

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
            self._count_loss(batch.worker, error)
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
