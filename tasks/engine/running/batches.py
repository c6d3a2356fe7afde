"""Cut the ready items into batches for workers elsewhere, which cannot take items one by one."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.stage import LANES, Lane
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.planning.rates import MIN_COST, StageRates, choose_rates, find_rates_file, read_rates
from tasks.engine.running.devices import Device
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
_END_SECONDS = 5.0  # before a worker's walltime: its last item is published, and nothing runs any more
_UNKNOWN_SECONDS = 30.0  # that a worker must have left for an item of unknown duration


@dataclass
class Allowance:
    """What a worker may take now; by default everything.

    lanes         whose items it may take
    seconds       until its walltime, less the work that it has
    is_fresh      no other worker would have more time: it also takes items that seem to need more than its walltime
    usable_bytes  memory that its running items may use together, ``share_bytes`` that of one slot; None for no limit
    used_bytes    memory of the items that it has
    accepts       returns False for a stage that it cannot run now
    is_late       set if an item was refused because the worker has no time for it
    """

    lanes: tuple[Lane, ...] = LANES
    seconds: float = math.inf
    is_fresh: bool = True
    usable_bytes: int | None = None
    used_bytes: int = 0
    share_bytes: int = 0
    accepts: Callable[[NodeRun], bool] = lambda _: True
    is_late: bool = False

    def has_memory(self, needed_bytes: int) -> bool:
        """Return True if an item that needs more than the share of a slot fits next to the others, or runs alone."""
        if self.usable_bytes is None or needed_bytes <= self.share_bytes or not self.used_bytes:
            return True
        return self.used_bytes + needed_bytes <= self.usable_bytes


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
    device        the device that its items use; None if they need none
    predicted_seconds  of all its items
    memory_bytes  the memory that one of its items needs at most
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
    device: Device | None = None
    predicted_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.open_ids = {planned.item.id for planned in self.items}
        self.memory_bytes = max(map(self.node.estimate_bytes, self.items))

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
        self._rates: list[StageRates] | None = None
        self._earlier: dict[str, float | None] = {}

    @property
    def _slots(self) -> int:
        return max(1, self._widths["cpu"])

    def take(self, allowance: Allowance | None = None) -> Batch | None:
        """Return the next items that a worker may take, up to the size of a batch or its predicted duration.

        Returns None if there are none.
        """
        allowance = allowance or Allowance()

        def fits(node: NodeRun, planned: PlannedItem) -> bool:
            return self._fits(node, planned, allowance)

        first = next((taken for lane in allowance.lanes if (taken := self._scheduler.take(lane, fits=fits))), None)
        if first is None:
            return None
        node, planned = first
        limit, budget = self._compute_max_items(node), self._compute_cost_budget(node, allowance)
        items, cost = [planned], _get_cost(planned)
        while len(items) < limit and not planned.alone and cost + node.next_cost <= budget:
            taken = self._scheduler.take(node.lane, only=node.name, fits=fits)
            if taken is None:
                break
            items.append(taken[1])
            cost += _get_cost(taken[1])
        return Batch(node, tuple(items), predicted_seconds=(self.predict_seconds_per_cost(node) or 0.0) * cost)

    def _fits(self, node: NodeRun, planned: PlannedItem, allowance: Allowance) -> bool:
        """Return True if a worker may run an item: it has the device and the memory, and time until its walltime."""
        if not allowance.accepts(node) or not allowance.has_memory(node.estimate_bytes(planned)):
            return False
        if allowance.seconds == math.inf:
            return True
        rate = self.predict_seconds_per_cost(node)
        needed = _UNKNOWN_SECONDS if rate is None else rate * _get_cost(planned)
        is_late = needed + _END_SECONDS > allowance.seconds and not allowance.is_fresh
        allowance.is_late |= is_late
        return not is_late

    def predict_seconds_per_cost(self, node: NodeRun) -> float | None:
        """Return the duration of slow items per cost, from this run or earlier ones; None if nothing is known."""
        if node.samples.count:
            return node.samples.compute_slow_rate()
        if node.name not in self._earlier:
            if self._rates is None:
                self._rates = read_rates(find_rates_file(os.environ))
            known = choose_rates(node.node.stage, self._rates)
            self._earlier[node.name] = known.rate.high if known else None
        return self._earlier[node.name]

    def _compute_max_items(self, node: NodeRun) -> int:
        if self._execution.shard_size is not None:
            return self._execution.shard_size
        if node.seconds:
            return _MAX_ITEMS
        return max(1, min(_FIRST_ITEMS, (node.ready + 1) // (4 * self._slots)))

    def _compute_cost_budget(self, node: NodeRun, allowance: Allowance) -> float:
        """Return the maximum cost of a batch, from the rate of the items so far and the time that the worker has."""
        return min(self._compute_target_cost(node), self._compute_last_cost(node, allowance))

    def _compute_last_cost(self, node: NodeRun, allowance: Allowance) -> float:
        """Return the cost that a worker can finish before its walltime."""
        rate = self.predict_seconds_per_cost(node)
        return (allowance.seconds - _END_SECONDS) / rate if rate else math.inf

    def _compute_target_cost(self, node: NodeRun) -> float:
        if self._execution.shard_size is not None or not node.seconds:
            return math.inf
        rate = node.cost / node.seconds
        tail_seconds = _TAIL_SHARE * node.ready_cost / rate / self._slots
        seconds = min(self._execution.shard_seconds, max(_MAX_SECONDS, self._slots / _MAX_ORDERS_PER_SECOND))
        return rate * min(seconds, max(_MIN_SECONDS, tail_seconds)) * _ROUNDING


def _get_cost(planned: PlannedItem) -> float:
    return max(planned.item.cost, MIN_COST)
