"""Cut the pending items into shards, and queue retries of failures that may pass."""

from __future__ import annotations

import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tasks.engine.contract.execution import Execution
from tasks.engine.planning.plan import PlannedItem, retry_failed
from tasks.engine.store.outcomes import Outcome, Outcomes

_FIRST_SHARD_ITEMS = 4  # to measure the rate; later shards are sized by time
_SHORTEST_SHARD_SECONDS = 1.0
_TAIL_SHARE = (
    2 / 3
)  # of the remaining work per slot; less would need more task runs, more would leave slots idle at the end
_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 60.0
_MIN_COST = 1e-6  # an empty file has no cost, but its turn takes time
_MAX_ITEMS = 5_000  # the outcomes of a shard are sent in one message


@dataclass(frozen=True)
class Shard:
    """Items that one task run processes one after another. ``alone``: no other item may run at the same time."""

    items: tuple[PlannedItem, ...]
    alone: bool = False

    @property
    def span(self) -> str:
        """The positions of the items in the manifest, from 1: ``0121-0160``, or ``0007`` for one item."""
        places = [planned.position + 1 for planned in self.items]
        first, last = min(places), max(places)
        return f"{first:04d}" if first == last else f"{first:04d}-{last:04d}"


@dataclass
class Dispatcher:
    """Holds the unsettled items of one stage. Not thread-safe: one loop owns it.

    Shards shrink towards the end (guided self-scheduling): each takes at most the time that ``slots`` need for two
    thirds of the remaining work, so that all slots end at about the same time.
    """

    todo: Sequence[PlannedItem]
    slots: int
    execution: Execution
    clock: Callable[[], float] = time.monotonic
    random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._waiting = deque(self.todo)
        self._waiting_cost = sum(map(_sum_cost, self.todo))
        self._retries: list[tuple[float, int, PlannedItem]] = []
        self._alone: deque[PlannedItem] = deque()
        self._in_flight: dict[int, Shard] = {}
        self._seconds = 0.0
        self._cost = 0.0
        self._stopped = False

    @property
    def finished(self) -> bool:
        """True if no item is left to hand out or to wait for."""
        waiting = bool(self._waiting or self._retries or self._alone)
        return not self._in_flight and (self._stopped or not waiting)

    def stop(self) -> None:
        """Hand out no more items."""
        self._stopped = True

    def pop_shard(self) -> Shard | None:
        """Return the next shard to submit; None if none is due."""
        if not self._open:
            return None
        shard = self._pop_due_retry() or self._cut() or self._pop_alone()
        if shard:
            self._in_flight[id(shard)] = shard
        return shard

    @property
    def _open(self) -> bool:
        """Return True if another shard fits: each slot has one running and one waiting shard."""
        alone = any(shard.alone for shard in self._in_flight.values())
        return not self._stopped and not alone and len(self._in_flight) < 2 * self.slots

    def get_wait_seconds(self) -> float | None:
        """Return the seconds until a retry is due; None if none is queued, or if no shard fits."""
        return max(0.0, self._retries[0][0] - self.clock()) if self._retries and self._open else None

    def take(self, shard: Shard, outcomes: Iterable[Outcome]) -> Outcomes:
        """Take the outcomes of a shard; return those that settle their item."""
        settled = Outcomes()
        del self._in_flight[id(shard)]
        missing = {planned.item.id: planned for planned in shard.items}
        for outcome in outcomes:
            planned = missing.get(outcome.id)
            if planned is None or outcome.outcome == "remaining":
                continue
            del missing[outcome.id]
            self._learn(planned, outcome)
            if not (outcome.failure_kind and self._try_again(planned, outcome)):
                settled.append(outcome)
        for planned in missing.values():
            self._put_back(planned)
        return settled

    def _learn(self, planned: PlannedItem, outcome: Outcome) -> None:
        self._seconds += outcome.usage.seconds
        self._cost += _sum_cost(planned)

    def _put_back(self, planned: PlannedItem) -> None:
        """Queue an item that its shard did not reach, because the run stops or the worker was lost."""
        self._waiting.appendleft(planned)
        self._waiting_cost += _sum_cost(planned)

    def _try_again(self, planned: PlannedItem, failed: Outcome) -> bool:
        """Queue a retry if the failure may pass and retries are left."""
        may_pass = failed.failure_kind in ("crash", "timeout", "out_of_memory") or failed.transient
        if not may_pass or planned.attempts >= self.execution.retries or self._stopped:
            return False
        again = retry_failed(planned)
        if failed.failure_kind == "out_of_memory":
            self._alone.append(again)
        else:
            due = self.clock() + self._compute_backoff(planned.attempts)
            heapq.heappush(self._retries, (due, again.position, again))
        return True

    def _compute_backoff(self, earlier_retries: int) -> float:
        """Return the seconds before a retry: exponential, with jitter of 50 % so that retries do not coincide."""
        seconds = _BACKOFF_SECONDS * 2.0**earlier_retries
        return min(_LONGEST_BACKOFF_SECONDS, seconds) * self.random.uniform(0.5, 1.5)

    def _pop_due_retry(self) -> Shard | None:
        if self._retries and self._retries[0][0] <= self.clock():
            return Shard((heapq.heappop(self._retries)[2],))
        return None

    def _pop_alone(self) -> Shard | None:
        """Return an item that ran out of memory, once all others are settled."""
        if self._alone and not self._in_flight and not self._retries:
            return Shard((self._alone.popleft(),), alone=True)
        return None

    def _cut(self) -> Shard | None:
        """Cut the next items in order, up to the shard's size or its predicted duration."""
        if not self._waiting:
            return None
        limit = self._max_items()
        budget = self._compute_cost_budget()
        taken: list[PlannedItem] = []
        cost = 0.0
        while self._waiting and len(taken) < limit:
            following = _sum_cost(self._waiting[0])
            if taken and cost + following > budget:
                break
            cost += following
            taken.append(self._waiting.popleft())
        self._waiting_cost -= cost
        return Shard(tuple(taken))

    def _max_items(self) -> int:
        if self.execution.shard_size is not None:
            return self.execution.shard_size
        if self._seconds:
            return _MAX_ITEMS
        return max(1, min(_FIRST_SHARD_ITEMS, len(self._waiting) // (4 * self.slots)))

    def _compute_cost_budget(self) -> float:
        """Return the maximum cost of a shard, from the rate of the items so far."""
        if self.execution.shard_size is not None or not self._seconds:
            return float("inf")
        rate = self._cost / self._seconds
        tail_seconds = _TAIL_SHARE * self._waiting_cost / rate / self.slots
        return rate * min(self.execution.shard_seconds, max(_SHORTEST_SHARD_SECONDS, tail_seconds))


def _sum_cost(planned: PlannedItem) -> float:
    return max(planned.item.cost, _MIN_COST)
