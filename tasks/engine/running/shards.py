"""The shards that this process runs for a flow elsewhere, which may take back items that have not started."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running.context import ShardOrder
from tasks.engine.store.outcomes import Outcome, Outcomes


class Shard:
    """The items of an order, which are known beforehand. Thread-safe.

    ``start`` is called with the id of each item that begins, ``report`` with each outcome. Items that this process
    cannot finish before its walltime get no outcome, so that the flow gives them to another worker.
    """

    def __init__(self, order: ShardOrder, report: Callable[[Outcome], None], start: Callable[[str], None]) -> None:
        self.outcomes = Outcomes()
        self._waiting = deque(order.items)
        self._limit = order.walltime
        self._report = report
        self._start = start
        self._lock = threading.Lock()

    def take(self) -> PlannedItem | None:
        """Return the next item."""
        with self._lock:
            if not self._waiting:
                return None
            if self._limit and not self._limit.allows(self._waiting[0].item.cost):
                self._waiting.clear()
                return None
            planned = self._waiting.popleft()
            self._start(planned.item.id)
            return planned

    def settle(self, outcome: Outcome) -> None:
        """Keep the outcome and report it."""
        self.outcomes.append(outcome)
        self._report(outcome)

    def give_back(self, item_ids: Collection[str]) -> tuple[str, ...]:
        """Remove those of the items that have not started; return their ids."""
        with self._lock:
            waiting = [planned.item.id for planned in self._waiting]
            returned = tuple(item_id for item_id in waiting if item_id in item_ids)
            self._waiting = deque(planned for planned in self._waiting if planned.item.id not in returned)
        return returned


ShardKey = tuple[str, int]  # the run, and the number of the order
_lock = threading.Lock()
_shards: dict[ShardKey, Shard] = {}
_returned: dict[ShardKey, set[str]] = {}


@contextmanager
def serve_shard(order: ShardOrder, shard: Shard) -> Iterator[None]:
    """Let :func:`return_items` find the shard; give back the items that the flow has taken back before."""
    key = order.context.run_id, order.number
    with _lock:
        _shards[key] = shard
        shard.give_back(_returned.get(key, ()))
    try:
        yield
    finally:
        with _lock:
            _shards.pop(key, None)
            _returned.pop(key, None)


def return_items(run_id: str, number: int, item_ids: Collection[str]) -> tuple[str, ...]:
    """Give back those of the items that have not started here; return their ids. Called remotely on workers.

    If the shard has not begun here, it will not start any of them if it comes later.
    """
    key = run_id, number
    with _lock:
        if shard := _shards.get(key):
            return shard.give_back(item_ids)
        _returned.setdefault(key, set()).update(item_ids)
        return tuple(item_ids)


def forget_returned(run_id: str) -> None:
    """Forget what a run has taken back, once it is over."""
    with _lock:
        for key in [key for key in _returned if key[0] == run_id]:
            del _returned[key]
