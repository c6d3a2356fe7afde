"""Cut the ready items into batches for workers elsewhere, which cannot take items one by one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.stage import LANES, Lane
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.planning.rates import MIN_COST
from tasks.engine.running.node_run import NodeRun
from tasks.engine.running.scheduler import Scheduler

_FIRST_ITEMS = 4  # to measure the rate; later batches are sized by time
_MIN_SECONDS = 1.0
_MAX_SECONDS = 2.0  # of work that a worker has not started; with many slots more, so that the flow keeps up
_MAX_ORDERS_PER_SECOND = 10
# Of the remaining work per slot; less would need more task runs, more would leave slots idle at the end.
_TAIL_SHARE = 2 / 3
_ROUNDING = 1 + 1e-9  # sums of equal durations differ in their last digits
_MAX_ITEMS = 5_000  # the outcomes of a batch are sent in one message


@dataclass(eq=False)
class Batch:
    """Items of one stage that one task run processes one after another.

    open_ids      items that are not settled and not given back
    current       the item that the worker runs, as it reported; empty before its first report
    worker        its address
    submitted_at  when the batch was submitted
    reported_at   when the worker reported last; 0 before its first report
    current_since when it began to run ``current``, at most
    is_asked      the worker was asked to give back items, and has not answered
    """

    node: NodeRun
    items: tuple[PlannedItem, ...]
    open_ids: set[str] = field(default_factory=set)
    current: str = ""
    worker: str = ""
    submitted_at: float = 0.0
    reported_at: float = 0.0
    current_since: float = 0.0
    is_asked: bool = False

    def __post_init__(self) -> None:
        self.open_ids = {planned.item.id for planned in self.items}

    def note(self, worker: str, current: str, now: float) -> None:
        """Take a report of the worker."""
        if current != self.current or not self.reported_at:
            self.current, self.current_since = current, now
        self.worker, self.reported_at = worker, now

    def is_silent(self, now: float, seconds: float) -> bool:
        """Return True if nothing was heard of the batch for ``seconds``: it has not begun, or its worker stalls."""
        return now - max(self.reported_at, self.submitted_at) > seconds

    def is_slow(self, now: float, seconds: float) -> bool:
        """Return True if its worker has been running one item for ``seconds``."""
        return bool(self.reported_at) and now - self.current_since > seconds

    @property
    def unstarted_ids(self) -> set[str]:
        """The items that wait for the worker, or behind its current item."""
        if not self.reported_at:
            return self.open_ids.copy()
        return self.open_ids - {self.current or self.items[0].item.id}

    def give_back(self, item_ids: Collection[str]) -> list[str]:
        """Remove items that the worker will not run; return those that it would have run."""
        returned = self.open_ids.intersection(item_ids)
        self.open_ids -= returned
        return sorted(returned)


class BatchMaker:
    """Takes batches from a scheduler, for slots elsewhere, whose number is in ``widths``. One loop owns it.

    Batches shrink towards the end (guided self-scheduling): each takes at most the time that the slots need for two
    thirds of the ready work, so that all slots end at about the same time.
    """

    def __init__(self, scheduler: Scheduler, widths: Mapping[Lane, int], execution: Execution) -> None:
        self._scheduler = scheduler
        self._widths = widths
        self._execution = execution

    @property
    def _slots(self) -> int:
        return self._widths["cpu"]

    def take(self) -> Batch | None:
        """Return the next items, up to the size of a batch or its predicted duration; None if none is ready."""
        first = next((taken for lane in LANES if (taken := self._scheduler.take(lane))), None)
        if first is None:
            return None
        node, planned = first
        limit, budget = self._compute_max_items(node), self._compute_cost_budget(node)
        items, cost = [planned], _get_cost(planned)
        while len(items) < limit and not planned.alone and cost + node.next_cost <= budget:
            taken = self._scheduler.take(node.lane, only=node.name)
            if taken is None:
                break
            items.append(taken[1])
            cost += _get_cost(taken[1])
        return Batch(node, tuple(items))

    def _compute_max_items(self, node: NodeRun) -> int:
        if self._execution.shard_size is not None:
            return self._execution.shard_size
        if node.seconds:
            return _MAX_ITEMS
        return max(1, min(_FIRST_ITEMS, (node.ready + 1) // (4 * self._slots)))

    def _compute_cost_budget(self, node: NodeRun) -> float:
        """Return the maximum cost of a batch, from the rate of the items so far."""
        if self._execution.shard_size is not None or not node.seconds:
            return float("inf")
        rate = node.cost / node.seconds
        tail_seconds = _TAIL_SHARE * node.ready_cost / rate / self._slots
        seconds = min(self._execution.shard_seconds, max(_MAX_SECONDS, self._slots / _MAX_ORDERS_PER_SECOND))
        return rate * min(seconds, max(_MIN_SECONDS, tail_seconds)) * _ROUNDING


def _get_cost(planned: PlannedItem) -> float:
    return max(planned.item.cost, MIN_COST)
