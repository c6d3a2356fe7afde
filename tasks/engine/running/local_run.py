"""Run the items of a scheduler in the slots of this process, lease by lease."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from tasks.engine.contract.stage import Lane
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running.context import ShardOrder
from tasks.engine.running.control import get_stop_signal
from tasks.engine.running.lease import prepare_folders, run_items
from tasks.engine.running.node_run import NodeRun
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.running.slot_pool import pool
from tasks.engine.running.starting import warm_template
from tasks.engine.store.outcomes import Counts, Outcome

_STICKY_SHARE = 0.05  # of a lease, in which it keeps its stage even if a later stage has items: switching costs time


@dataclass(frozen=True)
class LeaseReport:
    """What a lease did: its stage, the number of final outcomes, and the failures. Without a stage: nothing."""

    stage: str = ""
    counts: Counts = field(default_factory=Counts)
    failures: tuple[Outcome, ...] = ()


@dataclass
class LocalRun:
    """A run whose items run in this process.

    widths         number of slots per lane; may change during the run
    make_order     returns the context of a stage's items
    lease_seconds  after which a slot ends its lease
    lease_items    number of items after which it ends its lease; None for no limit
    """

    run_id: str
    scheduler: Scheduler
    widths: dict[Lane, int]
    make_order: Callable[[NodeRun], ShardOrder]
    lease_seconds: float
    lease_items: int | None = None
    _warmed: set[str] = field(default_factory=set)

    def warm_coming_stages(self) -> None:
        """Import the stages that come next, so that their first items need not wait for that."""
        for stage in self.scheduler.list_coming_stages():
            if stage.name not in self._warmed:
                self._warmed.add(stage.name)
                warm_template(stage)

    def is_wanted(self) -> bool:
        """Return False if a lease that waits for a slot would find nothing to do."""
        return not self.scheduler.is_finished and not get_stop_signal(self.run_id).draining


_runs: dict[str, LocalRun] = {}


@contextmanager
def serve_local_run(run: LocalRun) -> Iterator[None]:
    """Let :func:`run_lease` find the run by its id, in any thread of this process."""
    _runs[run.run_id] = run
    try:
        yield
    finally:
        del _runs[run.run_id]


def run_lease(run_id: str, lane: Lane) -> LeaseReport:
    """Take items of one stage from the scheduler and run them in a free slot of ``lane``, until the lease ends.

    It ends after about ``lease_seconds``, or if the next item belongs to another stage. Raises RunError if the run
    cannot continue.
    """
    run = _runs[run_id]
    with pool.seat(run_id, lane, lambda: run.widths[lane], run.is_wanted) as seat:
        if seat is None or get_stop_signal(run_id).draining or not (first := run.scheduler.take(lane)):
            return LeaseReport()
        node, planned = first
        with _Lease(run, lane, node, planned) as lease:
            order = run.make_order(node)
            prepare_folders(order.context, node.name)
            run_items(order, pool.open_child(seat, order), lease)
        return LeaseReport(node.name, lease.counts, tuple(lease.failures))


class _Lease:
    """The items of one lease. On exit, items that were not settled are put back."""

    def __init__(self, run: LocalRun, lane: Lane, node: NodeRun, first: PlannedItem) -> None:
        self.counts = Counts()
        self.failures: list[Outcome] = []
        self._run = run
        self._lane = lane
        self._node = node
        self._first: PlannedItem | None = first
        self._open_ids = {first.item.id}
        self._stop = get_stop_signal(run.run_id)
        self._started = time.monotonic()
        self._taken = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._run.scheduler.put_back(self._node.name, list(self._open_ids))

    def take(self) -> PlannedItem | None:
        """Return the next item of the lease's stage."""
        if first := self._first:
            self._first = None
            return first
        age = time.monotonic() - self._started
        if self._stop.draining or age >= self._run.lease_seconds or self._is_full() or self._is_surplus():
            return None
        name = self._node.name
        is_young = age < _STICKY_SHARE * self._run.lease_seconds
        taken = self._run.scheduler.take(self._lane, only=name, prefer=name if is_young else None)
        if taken is None:
            return None
        self._taken += 1
        self._open_ids.add(taken[1].item.id)
        return taken[1]

    def _is_full(self) -> bool:
        return self._run.lease_items is not None and self._taken >= self._run.lease_items

    def _is_surplus(self) -> bool:
        """Return True if the lane has more slots than it should have now."""
        return pool.count_busy(self._run.run_id, self._lane) > self._run.widths[self._lane]

    def settle(self, outcome: Outcome) -> None:
        """Pass an outcome on to the scheduler; count it if it is final.

        If the scheduler raises, the item is put back on exit: otherwise the run would wait for it forever.
        """
        is_final = self._run.scheduler.settle(outcome)
        self._open_ids.discard(outcome.id)
        if is_final:
            self.counts += Counts(**{outcome.outcome: 1})
            self.failures += [outcome] if outcome.outcome == "failed" else []
