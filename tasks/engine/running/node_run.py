"""The items of one node during a run: their outcomes, and those that are ready."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Lane
from tasks.engine.planning.graph import Node
from tasks.engine.planning.plan import ItemPlanner, PlannedItem
from tasks.engine.planning.rates import MIN_COST, Growth, Samples
from tasks.engine.store.outcomes import Outcome, Outcomes, Record
from tasks.engine.store.records import RecordStore

# Items run by priority, then depth first, then in the order of the root items, then by --order, then as they came.
Rank = tuple[int, int, int, float, int]


@dataclass(frozen=True, slots=True)
class Origin:
    """The root item from which an item follows: its place in the manifest, and in the order of the run.

    ``priority`` is smaller for items that run earlier.
    """

    place: int
    order: int
    priority: int = 0


@dataclass(eq=False)
class Held:
    """The outputs of an item that are dropped once nobody needs them: ``users`` items, or the scheduler itself.

    is_kept  an item made from them failed: they stay for a later run
    """

    node: NodeRun
    item_id: str
    size_bytes: int
    users: int = 1
    is_kept: bool = False


@dataclass(eq=False, slots=True)
class Entry:
    """An item of a run that is not settled."""

    node: NodeRun
    planned: PlannedItem
    origin: Origin
    part_of: WholeRun | None = None
    whole: WholeRun | None = None
    made_from: Held | None = None
    rank: Rank = (0, 0, 0, 0.0, 0)

    @property
    def cost(self) -> float:
        """The predicted work."""
        return max(self.planned.item.cost, MIN_COST)


@dataclass(eq=False)
class WholeRun:
    """A whole with the parts that it waits for.

    held           parts that wait until the whole may start, because they need disk space
    missing_bytes  estimated disk space of the parts that were missing at the beginning
    """

    entry: Entry
    parts_bytes: int
    held: list[Entry] = field(default_factory=list)
    part_ids: list[str] = field(default_factory=list)
    failed_part: str = ""
    waiting: int = 0
    total_cost: float = 0.0
    missing_cost: float = 0.0
    settled_cost: float = 0.0

    @property
    def missing_bytes(self) -> float:
        """Estimated disk space of the parts that earlier runs have not finished."""
        return self.parts_bytes * self.missing_cost / self.total_cost if self.total_cost else 0.0

    @property
    def needed_bytes(self) -> float:
        """Disk space for the missing parts and for the whole, which exist at the same time."""
        return self.missing_bytes + self.parts_bytes

    @property
    def written_bytes(self) -> float:
        """Estimated disk space of the parts that this run has finished."""
        return self.parts_bytes * self.settled_cost / self.total_cost if self.total_cost else 0.0


Queued = tuple[Rank, Entry | WholeRun]


class NodeRun:
    """The items of one node. Not thread-safe: the scheduler owns it."""

    def __init__(self, node: Node, store: RecordStore, execution: Execution) -> None:
        self.node = node
        self.store = store
        self.planner = ItemPlanner(node.stage, store, execution)
        needs = node.stage.needs()
        self.lane: Lane = "device" if needs.max_slots else node.stage.lane
        self.max_running = needs.max_slots
        self.memory_bytes = int(execution.memory_per_item or needs.memory_bytes)
        self.outcomes = Outcomes(stage=node.name)
        self.unsettled = 0
        self.running = 0
        self.is_exhausted = False
        self.awaits_table = node.collect is not None
        self.has_dependents = True
        self.seconds = 0.0
        self.cost = 0.0
        self.ready_cost = 0.0
        self.samples = Samples()
        self.growth = Growth()
        self._failing: dict[str, str] = {}
        self._left_ids: set[str] = set()
        self._discarded_ids: set[str] = set()
        self._places = array("q")
        self._ready: list[Queued] = []

    @property
    def name(self) -> str:
        """The name of the stage."""
        return self.node.name

    @property
    def head(self) -> Rank | None:
        """The rank of the next item; None if none is ready, or if no more may run at the same time."""
        if not self._ready or (self.max_running is not None and self.running >= self.max_running):
            return None
        return self._ready[0][0]

    @property
    def next_bytes(self) -> int:
        """The memory that the next item needs."""
        queued = self._ready[0][1]
        return self.memory_bytes if isinstance(queued, WholeRun) else self.estimate_bytes(queued.planned)

    @property
    def next_cost(self) -> float:
        """The predicted work of the next item; 0 if none is ready."""
        return _sum_cost(self._ready[0][1]) if self._ready else 0.0

    @property
    def ready(self) -> int:
        """The number of items that could run now, at least."""
        return len(self._ready)

    def list_ready_items(self) -> Iterator[Item]:
        """Yield the items that are ready, and the parts of wholes that may start."""
        for _, queued in self._ready:
            for entry in [queued] if isinstance(queued, Entry) else queued.held:
                yield entry.planned.item

    def list_pending(self) -> Iterator[Entry]:
        """Yield all items that must run, as long as none was taken."""
        for _, queued in self._ready:
            if isinstance(queued, Entry):
                yield queued
            else:
                yield from queued.held
                yield queued.entry

    def estimate_bytes(self, planned: PlannedItem) -> int:
        """Return the memory that an item needs."""
        return max(self.memory_bytes, planned.item.memory_bytes)

    def add(self, item: Item, outcome: Outcome | None, origin: Origin) -> int:
        """Add an item with its outcome, None if it must run; return its position."""
        self.planner.check_id(item)
        if outcome is None:
            self.outcomes.append_waiting(item)
        else:
            self.outcomes.append(outcome)
        self._places.append(origin.place)
        return len(self.outcomes) - 1

    def push(self, rank: Rank, queued: Entry | WholeRun) -> None:
        """Queue an item, or the parts of a whole that may not start yet."""
        heapq.heappush(self._ready, (rank, queued))
        self.ready_cost += _sum_cost(queued)

    def pop(self) -> Entry | WholeRun:
        """Return the next item."""
        queued = heapq.heappop(self._ready)[1]
        self.ready_cost -= _sum_cost(queued)
        return queued

    def leave(self, item_id: str) -> None:
        """Note an item that is left for a later run."""
        self._left_ids.add(item_id)

    def list_ids(self) -> set[str]:
        """Return the ids of all items, also of those that are left, without those that were discarded."""
        return ({outcome.id for outcome in self.outcomes} | self._left_ids) - self._discarded_ids

    def discard(self, item_ids: Collection[str]) -> None:
        """Remove the records and outputs of parts whose whole is done.

        A worker of a cluster that stalled may publish them once more; :meth:`Scheduler.tidy` removes them then.
        """
        self.store.discard(item_ids)
        self._discarded_ids.update(item_ids)

    @property
    def left_count(self) -> int:
        """The number of items that are left for a later run."""
        return len(self._left_ids)

    @property
    def has_left(self) -> bool:
        """True if items are left for a later run."""
        return bool(self._left_ids)

    def learn(self, entry: Entry, outcome: Outcome) -> None:
        """Take the duration of an item, to predict that of others."""
        self.seconds += outcome.usage.seconds
        self.cost += entry.cost
        if outcome.outcome == "done":
            self.samples.add(entry.cost, outcome.usage, outcome.output_bytes)

    def note_failing(self, outcome: Outcome) -> None:
        """Count an attempt that failed with a transient error; any other outcome proves that the service works."""
        if outcome.outcome == "failed" and outcome.failure_kind == "error" and outcome.transient:
            self._failing[outcome.id] = outcome.message
        elif outcome.outcome != "remaining":
            self._failing.clear()

    @property
    def outage(self) -> str:
        """The last message if too many items in a row failed with transient errors; empty while the service works."""
        limit = self.node.stage.max_failing
        return list(self._failing.values())[-1] if limit is not None and len(self._failing) >= limit else ""

    @property
    def failing_count(self) -> int:
        """The number of different items that failed in a row with transient errors."""
        return len(self._failing)

    def sorted_outcomes(self) -> Outcomes:
        """Return the outcomes in the order of the manifest."""
        places = sorted(range(len(self._places)), key=self._places.__getitem__)
        return self.outcomes.picked(places)

    def records(self) -> Iterator[Record]:
        """Yield the records of all items that are done, in the order of the manifest.

        Raises RunError if a record vanished during the run.
        """
        for outcome in self.sorted_outcomes():
            if outcome.outcome in ("done", "cached"):
                yield self.read_record(outcome.id)

    def read_record(self, item_id: str) -> Record:
        """Return the record of an item that is done. Raises RunError if it vanished during the run."""
        record = self.store.get(item_id)
        if record is None:
            raise RunError(f"the record of {item_id} has vanished from {self.store.folder} during the run")
        return record


def _sum_cost(queued: Entry | WholeRun) -> float:
    return queued.cost if isinstance(queued, Entry) else sum(part.cost for part in queued.held)
