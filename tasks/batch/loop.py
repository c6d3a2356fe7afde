"""The loop of a stage: keep a bounded window of shards in flight and take their outcomes."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from distributed import CancelledError, Client, KilledWorker
from distributed.client import ClosedClientError
from prefect_dask.task_runners import DaskTaskRunner

from tasks.batch.control import RunControl
from tasks.batch.prefect_tasks import Sealed, run_shard
from tasks.engine.contract.errors import RunError
from tasks.engine.contract.stage import Stage
from tasks.engine.reporting.progress import ProgressDisplay
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.control import StopLevel, tell_to_stop
from tasks.engine.running.dispatch import Dispatcher, Shard
from tasks.engine.store.outcomes import Outcome, Outcomes
from tasks.engine.store.records import RecordStore

_STOP_MESSAGES: dict[StopLevel, str] = {
    "drain": "finishing the running items; Ctrl+C once more to stop now",
    "stop": "stopping now; what is not finished is left for the next run",
}
_UNREACHABLE = "Failed to reach API"  # the beginning of Prefect's error if a worker cannot reach its server
_LOOK_SECONDS = 5.0  # between checks that a cluster has workers, while no shard finishes
_MAX_WAIT_SECONDS = 0.25


@dataclass(frozen=True)
class Patience:
    """How long a run tolerates the failures of a remote cluster.

    losses           consecutive shards lost with their workers
    deserted_seconds without any worker
    """

    losses: int = 20
    deserted_seconds: float = 300.0


@dataclass(frozen=True)
class StageShards:
    """The shards of one stage.

    task_name     prefix of their names in the UI
    make_context  returns the context of a shard, given whether it runs alone
    scheduler     address of a remote Dask scheduler; None for this process
    """

    run_id: str
    stage: Stage
    store: RecordStore
    task_name: str
    make_context: Callable[[bool], RunContext]
    scheduler: str | None = None
    patience: Patience = Patience()


class StageLoop:
    """Keeps a bounded window of shards in flight and yields their outcomes."""

    def __init__(
        self,
        shards: StageShards,
        dispatcher: Dispatcher,
        runner: DaskTaskRunner,
        control: RunControl,
        display: ProgressDisplay,
    ) -> None:
        self.shards = shards
        self.dispatcher = dispatcher
        self.runner = runner
        self.control = control
        self.display = display
        self.submitted = 0
        self._announced: StopLevel | None = None
        self._losses = 0
        self._cut_off = False
        self._deserted_at: float | None = None
        self._next_look = time.monotonic() + _LOOK_SECONDS
        self._in_flight: dict[int, Shard] = {}
        self._finished: queue.SimpleQueue[tuple[Shard, Any]] = queue.SimpleQueue()

    def run(self) -> Iterator[Outcome]:
        """Yield outcomes as items settle, until nothing is left or the run stops."""
        while not self.dispatcher.finished and not self._check_scheduler_lost() and not self._check_deserted():
            self._pass_on_stop()
            while shard := self.dispatcher.pop_shard():
                self._submit(shard)
            self.display.tick()
            try:
                shard, future = self._finished.get(timeout=self._wait_seconds())
            except queue.Empty:
                continue
            del self._in_flight[id(shard)]
            self._next_look = time.monotonic() + _LOOK_SECONDS
            yield from self.dispatcher.take(shard, self._take_outcomes(shard, future))
        self.dispatcher.stop()
        for shard in self._in_flight.values():  # empty, unless the cluster was lost
            yield from self.dispatcher.take(shard, self._read_recorded(shard))

    def _check_scheduler_lost(self) -> bool:
        """Return True and fail the run if the remote scheduler is gone, and with it the workers' shards.

        If the client reconnects, the scheduler has forgotten the shards and the workers have dropped them.
        """
        if self._cut_off or self.runner.client.status != "running":
            advice = "start one and give the same command again, or leave --scheduler out: finished items stay done"
            self.control.fail(RunError(f"the Dask scheduler at {self.shards.scheduler} is gone; {advice}"))
            return True
        return False

    def _check_deserted(self) -> bool:
        """Return True if the cluster was without a worker for too long, or has none while the run stops."""
        if not self.shards.scheduler or time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + _LOOK_SECONDS
        if self._has_workers():
            self._deserted_at = None
            return False
        address, patience = self.shards.scheduler, self.shards.patience.deserted_seconds
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
        try:
            return bool(self.runner.client.nthreads())
        except (OSError, CancelledError, ClosedClientError):  # an unreachable scheduler is handled elsewhere
            return True

    def _wait_seconds(self) -> float:
        due = self.dispatcher.get_wait_seconds()
        return _MAX_WAIT_SECONDS if due is None else min(_MAX_WAIT_SECONDS, due)

    def _submit(self, shard: Shard) -> None:
        self.submitted += 1
        order = ShardOrder(self.shards.make_context(shard.alone), self.shards.stage, shard.items)
        self._in_flight[id(shard)] = shard
        try:
            future = self.runner.submit(
                run_shard, {"name": f"{self.shards.task_name} {shard.span}", "sealed": Sealed(order)}
            )
        except ClosedClientError:
            self._cut_off = True
            return
        future.add_done_callback(lambda done: self._finished.put((shard, done)))

    def _pass_on_stop(self) -> None:
        """Hand out nothing more once the run stops, and tell workers in other processes."""
        level = self.control.level
        if level is None or level == self._announced:
            return
        self._announced = level
        self.display.say(_STOP_MESSAGES[level])
        self.dispatcher.stop()
        if self.shards.scheduler:
            call_on_workers(self.runner.client, tell_to_stop, self.shards.run_id, level)

    def _take_outcomes(self, shard: Shard, future: Any) -> Iterable[Outcome]:
        """Return a shard's outcomes; if its worker was lost, those of its records."""
        try:
            outcomes: Outcomes = future.result()
        except RunError as error:
            self.control.fail(error)
            return self._read_recorded(shard)
        except RuntimeError as error:
            if not (self.shards.scheduler and str(error).startswith(_UNREACHABLE)):
                raise
            advice = "name a server that all workers reach, by PREFECT_API_URL"
            self.control.fail(RunError(f"a worker of {self.shards.scheduler}: {error}; {advice}"))
            return self._read_recorded(shard)
        except (KilledWorker, CancelledError, OSError) as error:
            self._cut_off = getattr(error, "reason", "") == "scheduler-connection-lost"
            self._losses += 1
            if self._losses > self.shards.patience.losses:
                self.control.fail(RunError(f"{self._losses} workers in a row were lost; the last: {error}"))
            return self._read_recorded(shard)
        self._losses = 0
        return outcomes

    def _read_recorded(self, shard: Shard) -> list[Outcome]:
        """Return the outcomes of a lost shard's items that were done before the loss.

        The others go to another worker; the loss does not count as their attempt.
        """
        records = [(planned, self.shards.store.get(planned.item.id)) for planned in shard.items]
        return [
            Outcome.of_record(record)
            for planned, record in records
            if record and record.key == planned.key and record.run_id == self.shards.run_id
        ]


def call_on_workers(client: Client, function: Callable[..., None], *arguments: object) -> None:
    """Call ``function`` on every worker. Lost workers, or a lost scheduler, are ignored."""
    if client.status == "running":
        with suppress(OSError, CancelledError):
            client.run(function, *arguments, on_error="ignore")
