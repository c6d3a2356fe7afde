"""Decide which item of a run is next: the graph's items, their dependencies, and the queue of those that are ready.

The scheduler knows neither processes nor Prefect. Slots take items from it and settle them, from any thread. A test
can drive it with a simulated clock.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Lane, Stage
from tasks.engine.planning.graph import Graph, Node, Whole
from tasks.engine.planning.plan import PlannedItem, SettledItem, rank_cost, retry_failed
from tasks.engine.planning.rates import MIN_COST
from tasks.engine.running.expansion import Expansion, Planned, is_pending
from tasks.engine.running.node_run import Entry, Held, NodeRun, Origin, WholeRun
from tasks.engine.running.space import Space
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Counts, Outcome, Outcomes, Record
from tasks.engine.store.records import RecordStore

_BACKOFF_SECONDS = 1.0
_MAX_BACKOFF_SECONDS = 60.0
_STARTED = -(2**62)  # the order of parts whose whole has started: before those of all others
_TABLE = Origin(place=2**62, order=2**62)  # items that need all others
_MAX_SKIPPED = 64  # items that a worker cannot run, before it gets none

Fits = Callable[[NodeRun, PlannedItem], bool]


class Scheduler:
    """The items of a run. Thread-safe.

    memory_bytes  that all running items may need together; None for no limit here, because other machines run them
    on_add        called with the stage and the item of every item that is new
    on_settle     called with the stage, the item and its outcome when it is final
    on_ready      called when items may have become ready
    """

    def __init__(
        self,
        graph: Graph,
        layout: Layout,
        execution: Execution,
        *,
        memory_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        random_source: random.Random | None = None,
    ) -> None:
        self.graph = graph
        self.execution = execution
        self.memory_bytes = memory_bytes
        self.on_settle: Callable[[str, Item, Outcome], None] = lambda *_: None
        self.on_add: Callable[[str, Item], None] = lambda *_: None
        self.on_ready: Callable[[], None] = lambda: None
        self.nodes = [NodeRun(node, RecordStore(layout, node.name), execution) for node in graph.nodes]
        for run in self.nodes:
            run.has_dependents = any(run.node in (other.after, other.parts) for other in graph.nodes)
        self._clock = clock
        self._random = random_source or random.Random()
        self._lock = threading.RLock()
        self._run_of: Mapping[Node, NodeRun] = {run.node: run for run in self.nodes}
        self._expansion = Expansion(graph, self._run_of, execution)
        self._space = Space(layout.output_dir, graph.scratch_bytes)
        self._in_flight: dict[tuple[str, str], Entry] = {}
        self._alone_in_flight: set[Entry] = set()
        self._retries: list[tuple[float, int, Entry]] = []
        self._alone: list[Entry] = []
        self._blocked: list[WholeRun] = []
        self._finished_wholes: list[WholeRun] = []
        self._used_up: list[Held] = []
        self._dropped: list[Held] = []
        self._remains: list[tuple[NodeRun, list[str]]] = []
        self._numbers = itertools.count()
        self._part_ids: Mapping[Node, set[str]] = {}
        self._is_stopped = False
        self._pending_roots = 0
        self._used_bytes = 0

    def plan(self) -> None:
        """Find what earlier runs have done, and queue the rest. Raises RunError for ids that collide."""
        stores = {part: self._run_of[part].store for part in self._list_removed_parts()}
        self._part_ids = {part: store.ids() | store.unfinished_ids() for part, store in stores.items()}
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node.store.holding())
            for node, given, origin in self._expansion.list_roots():
                self._insert_root(self._expansion.plan_item(node, given), origin)
        self._make_tables()

    @property
    def is_finished(self) -> bool:
        """True if no item is left to hand out or to wait for."""
        with self._lock:
            waits = self._retries or self._alone or self._blocked or any(node.ready for node in self.nodes)
            return not self._in_flight and (self._is_stopped or not waits)

    def has_ready(self) -> bool:
        """Return True if an item could be handed out now to a slot that can run it."""
        with self._lock:
            self._queue_due_retries()
            is_alone = bool(self._alone) and not (self._in_flight or self._retries)
            return not self._is_stopped and (is_alone or any(map(self._may_run, self.nodes)))

    @property
    def obstacle(self) -> RunError | None:
        """The reason why items wait in vain: they lack disk space, or the service that they need is down."""
        with self._lock:
            if outage := self._explain_outage():
                return outage
            waits = self._retries or self._alone or self._in_flight or any(map(self._may_run, self.nodes))
            will_free = self._finished_wholes or self._used_up
            if waits or will_free or self._is_stopped or not self._blocked:
                return None
            return self._space.explain(self._blocked)

    def _explain_outage(self) -> RunError | None:
        for node in self.nodes:
            if node.outage and (node.unsettled or node.has_left):
                given = f"{node.failing_count} items of {node.name} in a row failed ({node.outage})"
                return RunError(f"{given}; the service may be down: run the same command again later to continue")
        return None

    @property
    def used_bytes(self) -> int:
        """The memory that the running items may need together."""
        return self._used_bytes

    def stop(self) -> None:
        """Hand out no more items."""
        with self._lock:
            self._is_stopped = True

    def list_waiting_items(self) -> list[Item]:
        """Return the items that could run now, without those that run."""
        with self._lock:
            return [item for node in self.nodes for item in node.list_ready_items()]

    def count_useful_slots(self, lane: Lane) -> int:
        """Return how many slots of ``lane`` have an item or could take one now."""
        with self._lock:
            running = sum(node.running for node in self.nodes if node.lane == lane)
            return running + (0 if self._is_stopped else self._count_takeable(lane))

    def list_coming_stages(self) -> list[Stage]:
        """Return the stages whose next items follow from items that run now."""
        with self._lock:
            running = {run.node for run in self.nodes if run.running}
            return [
                run.node.stage
                for run in self.nodes
                if not run.is_exhausted and (run.node.after in running or run.node.parts in running)
            ]

    def wait_seconds(self) -> float | None:
        """Return the seconds until a retry is due; None if none is queued, or if it will not be handed out."""
        with self._lock:
            self._queue_due_retries()
            return self._retries[0][0] - self._clock() if self._retries and not self._is_stopped else None

    def take(
        self, lane: Lane, only: str | None = None, prefer: str | None = None, fits: Fits | None = None
    ) -> tuple[NodeRun, PlannedItem] | None:
        """Return the next item for a slot of ``lane``; None if there is none now.

        only    a stage: return None if the next item belongs to another one
        prefer  a stage: return an item of it, even if the next one belongs to another
        fits    returns False for an item that this slot cannot run; a few items behind it are tried instead
        """
        with self._lock:
            entry = self._take_entry(lane, only, prefer, fits)
            if entry is None:
                return None
            self._in_flight[entry.node.name, entry.planned.item.id] = entry
            if entry.planned.alone:
                self._alone_in_flight.add(entry)
            self._used_bytes += entry.node.estimate_bytes(entry.planned)
            entry.node.running += 1
            return entry.node, entry.planned

    def settle(self, outcome: Outcome) -> bool:
        """Take the outcome of an item that was handed out; return True if it is final.

        Items that follow from it become ready. A failure that may pass is queued again. ``remaining`` puts the item
        back. A second outcome of the same item is ignored.
        """
        with self._lock:
            entry = self._in_flight.get((outcome.stage, outcome.id))
            if entry is None:
                return False
            entry.node.note_failing(outcome)
            if outcome.outcome == "remaining" or self._try_again(entry, outcome):
                self._release(entry)
                if outcome.outcome == "remaining":
                    self._push(entry)
                return False
        record = self._read_record(entry) if outcome.outcome == "done" else None
        follow = self._expansion.plan_followers(entry.node, entry.planned.item, record) if record else ()
        with self._lock:
            if self._in_flight.get((outcome.stage, outcome.id)) is not entry:
                return False  # another thread was faster
            self._release(entry)
            entry.node.learn(entry, outcome)
            _learn_growth(entry, follow)
            held = self._hold(entry.node, record)
            self._finish(entry, outcome)
            self._insert_all(follow, entry.origin, held)
        self._make_tables()
        self.on_ready()
        return True

    def put_back(self, stage: str, item_ids: Sequence[str]) -> None:
        """Queue items again that were handed out to a worker that was lost; it does not count as their attempt."""
        for item_id in item_ids:
            self.settle(Outcome(item_id, stage, "remaining"))

    def clean_up(self) -> None:
        """Remove parts of finished wholes and outputs that are used up; items that wait for space may start then."""
        with self._lock:
            finished, self._finished_wholes = self._finished_wholes, []
            used_up, self._used_up = self._used_up, []
            remains, self._remains = self._remains, []
        for held in used_up:
            held.node.store.drop_outputs(held.item_id)
        for whole in finished:
            if parts := self._find_parts(whole):
                parts.discard(whole.part_ids)
        for parts, part_ids in remains:
            parts.discard(set(part_ids) - parts.list_ids())
        with self._lock:
            for held in used_up:
                self._space.waiting_bytes -= held.size_bytes
            self._dropped += used_up if self._is_elsewhere else ()
            for whole in finished:
                self._space.release(whole)
            if finished or used_up:
                self._push_blocked()

    def is_complete(self, node: Node) -> bool:
        """Return True if every item of ``node`` is settled and no more can come."""
        with self._lock:
            return self._run_of[node].is_exhausted

    def run_of(self, node: Node) -> NodeRun:
        """Return the items of ``node``."""
        return self._run_of[node]

    def tidy(self) -> None:
        """Remove what no item has any more: files that items dropped, rows of former tables, parts of former wholes.

        Call it at the end of a run that was not stopped.
        """
        for held in self._dropped:
            if (record := held.node.store.get(held.item_id)) and not record.dropped:
                held.node.store.drop_outputs(held.item_id)  # a worker that stalled has published them once more
        for node in self.nodes:
            node.store.tidy(node.list_ids() if self._is_pruned(node) else None)

    def _is_pruned(self, node: NodeRun) -> bool:
        """Return True if results of items that do not exist any more are removed, and all existing items are known."""
        after = node.node.after
        if any(_has_failed(self._run_of[wholes]) for wholes in self._find_wholes_of(node)):
            return False  # a whole that failed before its parts were planned may need them in a later run
        if after is None or not node.node.prunes:
            return node.node.prunes
        if not self._run_of[after].is_exhausted:
            return False
        return node.node.collect is not None or not any(map(_has_failed, self._list_sources(node)))

    @property
    def _is_elsewhere(self) -> bool:
        """True if other machines run the items."""
        return self.memory_bytes is None

    def _list_removed_parts(self) -> list[Node]:
        """Return the nodes of parts that are removed once their whole is done."""
        return [node.parts for node in self.graph.nodes if node.parts and not node.parts.keeps]

    def _list_sources(self, node: NodeRun) -> Iterator[NodeRun]:
        """Yield the nodes from whose items those of ``node`` follow, directly or not."""
        after = node.node.after
        while after is not None:
            yield self._run_of[after]
            after = after.after

    def count_outcomes(self) -> Counts:
        """Return the numbers of items by outcome."""
        return sum((node.outcomes.tally() for node in self.nodes), Counts())

    def collect_outcomes(self) -> Outcomes:
        """Return the outcomes of all items, stage by stage in the order of the graph."""
        outcomes = Outcomes()
        for node in self.nodes:
            outcomes.extend(node.sorted_outcomes())
        return outcomes

    # Planning

    def _read_record(self, entry: Entry) -> Record | None:
        """Return the record of an item that is done; None if nothing follows from it."""
        node, item_id = entry.node, entry.planned.item.id
        return node.read_record(item_id) if self.graph.followers(node.node) else None

    def _make_tables(self) -> None:
        """Plan the items that need all items of a node, once no more of those can come.

        With ``--part``, a later run without it makes them, because this one has only a part of the items.
        """
        while exhausted := self._find_exhausted():
            for node in exhausted:
                for table in () if self.execution.part else self.graph.tables(node.node):
                    assert table.collect is not None
                    run = self._run_of[table]
                    planned = [self._expansion.plan_item(run, item) for item in table.collect(node.records())]
                    run.growth.add([each.result.item for each in planned], len(node.outcomes), node.cost)
                    with self._lock:
                        self._insert_all(planned, _TABLE)
                        run.awaits_table = False

    def _find_exhausted(self) -> list[NodeRun]:
        """Mark and return the nodes whose items are all settled, and which get no more."""
        with self._lock:
            found = []
            for node in self.nodes:
                sources = [source for source in (node.node.after, *self._find_wholes_of(node)) if source]
                open_sources = any(not self._run_of[source].is_exhausted for source in sources)
                is_open = node.awaits_table or node.unsettled or node.has_left or open_sources
                if not (node.is_exhausted or is_open or self._is_stopped):
                    node.is_exhausted = True
                    found.append(node)
            return found

    def _find_wholes_of(self, node: NodeRun) -> list[Node]:
        """Return the node of the wholes whose parts ``node`` has."""
        return [other.node for other in self.nodes if other.node.parts is node.node]

    # Inserting

    def _insert_root(self, planned: Planned, origin: Origin) -> None:
        """Insert a root item with all that follows; leave it for a later run if ``--max-items`` are pending."""
        limit = self.execution.max_items
        pending = is_pending(planned)
        is_left = pending and limit is not None and self._pending_roots >= limit
        self._pending_roots += pending
        self._insert(planned, origin, is_left=is_left)

    def _insert_all(self, planned: Sequence[Planned], origin: Origin, held: Held | None = None) -> None:
        for each in planned:
            self._insert(each, origin, made_from=held)
        if held:
            self._let_go(held)

    def _hold(self, node: NodeRun, record: Record | None) -> Held | None:
        """Return the hold on the outputs of a finished item, if they are dropped once they are used up."""
        if record is None or not self._is_dropping(node):
            return None
        size = 0 if record.dropped else sum(output.size_bytes for output in record.outputs)
        self._space.waiting_bytes += size
        return Held(node, record.id, size)

    def _is_dropping(self, node: NodeRun) -> bool:
        """Return True if the outputs of ``node`` are dropped once the items made from them are done."""
        return not node.node.keeps and bool(self.graph.followers(node.node))

    def _let_go(self, held: Held, failed: bool = False) -> None:
        """Note that an item does not need the outputs any more in this run; if it failed, a later run needs them."""
        held.users -= 1
        held.is_kept |= failed
        if not held.users and held.is_kept:
            self._space.waiting_bytes -= held.size_bytes
        elif not held.users:
            self._used_up.append(held)

    def _insert(
        self,
        planned: Planned,
        origin: Origin,
        part_of: WholeRun | None = None,
        is_left: bool = False,
        made_from: Held | None = None,
    ) -> None:
        """Insert an item with its parts and all that follows."""
        node, result = planned.node, planned.result
        if isinstance(result, SettledItem):
            if made_from and result.record is None:
                made_from.is_kept = True
            self._insert_settled(planned, result, origin, part_of, is_left)
            return
        item = result.item
        position = node.add(item, None, origin)
        self.on_add(node.name, item)
        if is_left:
            node.leave(item.id)
            for part in planned.parts:
                part.node.leave(part.result.item.id)
            return
        node.unsettled += 1
        entry = Entry(node, replace(result, position=position), origin, part_of, made_from=made_from)
        if made_from:
            made_from.users += 1
        entry.rank = self._rank(entry)
        if part_of:
            part_of.held.append(entry)
            part_of.part_ids.append(item.id)
            part_of.waiting += 1
            part_of.total_cost += entry.cost
            part_of.missing_cost += entry.cost
        elif planned.whole and node.node.parts:
            self._insert_whole(planned, entry)
        else:
            node.push(entry.rank, entry)

    def _insert_settled(
        self, planned: Planned, result: SettledItem, origin: Origin, part_of: WholeRun | None, is_left: bool
    ) -> None:
        """Insert an item that an earlier run has settled, with all that follows."""
        node = planned.node
        node.add(result.item, result.outcome, origin)
        self.on_add(node.name, result.item)
        self.on_settle(node.name, result.item, result.outcome)
        if part_of:
            self._add_settled_part(part_of, result)
        if planned.whole and result.record:
            self._find_remains(node.node.parts, planned.whole)
        held = None if is_left else self._hold(node, result.record)
        for following in planned.follow:
            self._insert(following, origin, is_left=is_left, made_from=held)
        if held:
            self._let_go(held)

    def _find_remains(self, parts: Node | None, whole: Whole) -> None:
        """Note the parts of a whole that is done, if a killed run has not removed all of them."""
        if parts and (part_ids := self._part_ids.get(parts)):
            remains = [part.id for part in whole.make_parts() if part.id in part_ids]
            if remains:
                self._remains.append((self._run_of[parts], remains))

    def _insert_whole(self, planned: Planned, entry: Entry) -> None:
        assert planned.whole is not None
        whole = entry.whole = WholeRun(entry, planned.whole.parts_bytes)
        for part in planned.parts:
            self._insert(part, entry.origin, whole)
        if whole.waiting:
            self._push_held(whole)
        else:
            self._finish_parts(whole)

    def _add_settled_part(self, whole: WholeRun, part: SettledItem) -> None:
        whole.part_ids.append(part.item.id)
        whole.total_cost += max(part.item.cost, MIN_COST)
        if part.record is None:
            whole.failed_part = whole.failed_part or part.item.title

    def _rank(self, entry: Entry) -> tuple[int, int, int, float, int]:
        origin, cost = entry.origin, rank_cost(entry.planned.item, self.execution)
        return origin.priority, -entry.node.node.depth, origin.order, cost, next(self._numbers)

    def _push(self, entry: Entry) -> None:
        if entry.planned.alone:
            self._alone.append(entry)
        else:
            entry.node.push(entry.rank, entry)

    def _push_blocked(self) -> None:
        """Queue the wholes again that wait for disk space: some may be free."""
        for blocked in self._blocked:
            self._push_held(blocked)
        self._blocked = []

    def _push_held(self, whole: WholeRun) -> None:
        """Queue the parts of a whole as one; they are queued separately once there is room for all of them."""
        first = min(part.rank for part in whole.held)
        whole.held[0].node.push(first, whole)

    # Handing out

    def _take_entry(self, lane: Lane, only: str | None, prefer: str | None, fits: Fits | None) -> Entry | None:
        if self._is_stopped or self._is_alone_running():
            return None
        self._queue_due_retries()
        preferred = next((node for node in self._open(lane) if node.name == prefer), None)
        if preferred and (entry := self._pop_first(preferred, fits)):
            return entry
        unfit: set[NodeRun] = set()
        while nodes := [node for node in self._open(lane) if node not in unfit]:
            best = min(nodes, key=_get_head)
            if only and best.name != only:
                return None
            if entry := self._pop_first(best, fits):
                return entry
            unfit.add(best)
        return self._take_alone(lane, only, fits)

    def _open(self, lane: Lane) -> list[NodeRun]:
        """Return the nodes of ``lane`` whose next item may run now."""
        return [node for node in self.nodes if node.lane == lane and self._may_run(node)]

    def _may_run(self, node: NodeRun) -> bool:
        return node.head is not None and self._has_memory(node) and not (self._is_filling(node) and self._space.is_full)

    def _is_filling(self, node: NodeRun) -> bool:
        """Return True if the items of ``node`` make outputs that wait, and use up none that wait already."""
        after = node.node.after
        return self._is_dropping(node) and not (after and self._is_dropping(self._run_of[after]))

    def _has_memory(self, node: NodeRun) -> bool:
        """Return True if the memory of the running items and of the next one fit together, or if nothing runs."""
        if self.memory_bytes is None or not self._in_flight:
            return True
        return self._used_bytes + node.next_bytes <= self.memory_bytes

    def _pop_first(self, node: NodeRun, fits: Fits | None) -> Entry | None:
        """Return the next item of ``node`` that fits, after starting wholes that have room."""
        skipped: list[Entry] = []
        try:
            while node.head is not None and len(skipped) < _MAX_SKIPPED:
                queued = node.pop()
                if not isinstance(queued, Entry):
                    self._start_whole(queued)
                elif fits is None or fits(node, queued.planned):
                    return queued
                else:
                    skipped.append(queued)
            return None
        finally:
            for entry in skipped:
                node.push(entry.rank, entry)

    def _start_whole(self, whole: WholeRun) -> None:
        """Queue the parts of a whole if there is disk space for it; otherwise it waits until another is done."""
        if not self._space.reserve(whole):
            self._blocked.append(whole)
            return
        number = next(self._numbers)
        for part in whole.held:
            part.rank = (*part.rank[:2], _STARTED + number, *part.rank[3:])
            part.node.push(part.rank, part)
        whole.held = []

    def _is_alone_running(self) -> bool:
        return bool(self._alone_in_flight)

    def _take_alone(self, lane: Lane, only: str | None, fits: Fits | None) -> Entry | None:
        """Return an item that ran out of memory, once nothing else runs or is ready."""
        if self._in_flight or self._retries or any(map(self._may_run, self.nodes)):
            return None
        for entry in self._alone:
            is_wanted = entry.node.lane == lane and (only is None or entry.node.name == only)
            if is_wanted and (fits is None or fits(entry.node, entry.planned)):
                self._alone.remove(entry)
                return entry
        return None

    def _count_takeable(self, lane: Lane) -> int:
        if self._is_alone_running():
            return 0
        self._queue_due_retries()
        ready = sum(map(self._count_fitting, self._open(lane)))
        if not (self._in_flight or self._retries or any(map(self._may_run, self.nodes))):
            return any(entry.node.lane == lane for entry in self._alone)
        return ready

    def _count_fitting(self, node: NodeRun) -> int:
        """Return how many items of ``node`` could be handed out now, by their memory and the limit of the node."""
        count = node.ready
        if node.max_running is not None:
            count = min(count, node.max_running - node.running)
        if self.memory_bytes is not None:
            free = self.memory_bytes - self._used_bytes
            count = min(count, max(not self._in_flight, free // max(1, node.next_bytes)))
        return count

    def _queue_due_retries(self) -> None:
        while self._retries and self._retries[0][0] <= self._clock():
            entry = heapq.heappop(self._retries)[2]
            entry.node.push(entry.rank, entry)

    # Settling

    def _release(self, entry: Entry) -> None:
        del self._in_flight[entry.node.name, entry.planned.item.id]
        self._alone_in_flight.discard(entry)
        self._used_bytes -= entry.node.estimate_bytes(entry.planned)
        entry.node.running -= 1

    def _try_again(self, entry: Entry, outcome: Outcome) -> bool:
        """Queue a retry if the failure may pass and retries are left."""
        kind, planned = outcome.failure_kind, entry.planned
        may_pass = kind in ("crash", "timeout", "out_of_memory") or outcome.transient
        if not kind or not may_pass or planned.attempts >= self.execution.retries or self._is_stopped:
            return False
        entry.node.learn(entry, outcome)
        if kind == "out_of_memory":
            self._alone.append(_plan_again(entry, alone=True))
        else:
            due = self._clock() + self._compute_backoff(planned.attempts)
            heapq.heappush(self._retries, (due, next(self._numbers), _plan_again(entry)))
        return True

    def _compute_backoff(self, earlier_retries: int) -> float:
        """Return the seconds before a retry: exponential, with jitter of 50 % so that retries do not coincide."""
        seconds = _BACKOFF_SECONDS * 2.0**earlier_retries
        return min(_MAX_BACKOFF_SECONDS, seconds) * self._random.uniform(0.5, 1.5)

    def _finish(self, entry: Entry, outcome: Outcome) -> None:
        """Note the final outcome of an item, for itself and for the whole that it is a part of."""
        node, item = entry.node, entry.planned.item
        named = outcome.named(item)
        node.outcomes[entry.planned.position] = named
        node.unsettled -= 1
        self.on_settle(node.name, item, named)
        if entry.whole and outcome.outcome == "done":
            self._finished_wholes.append(entry.whole)
        elif entry.whole:
            self._space.release(entry.whole)
            self._push_blocked()
        if entry.made_from:
            self._let_go(entry.made_from, failed=outcome.outcome != "done")
        if whole := entry.part_of:
            whole.waiting -= 1
            whole.settled_cost += entry.cost
            if outcome.outcome == "failed":
                whole.failed_part = whole.failed_part or item.title
            if not whole.waiting:
                self._finish_parts(whole)

    def _finish_parts(self, whole: WholeRun) -> None:
        """Queue a whole whose parts are all settled, or fail it if one of them failed."""
        entry = whole.entry
        if not whole.failed_part:
            entry.node.push(entry.rank, entry)
            return
        message = f"{whole.failed_part} failed"
        item_id, stage = entry.planned.item.id, entry.node.name
        self._finish(entry, Outcome(item_id, stage, "failed", failure_kind="upstream", message=message))

    def _find_parts(self, whole: WholeRun) -> NodeRun | None:
        """Return the parts' items, if parts are removed once their whole is done."""
        parts = whole.entry.node.node.parts
        return None if parts is None or parts.keeps else self._run_of[parts]


def _learn_growth(entry: Entry, follow: Sequence[Planned]) -> None:
    """Take the items that follow from ``entry``, to predict how many follow from others."""
    made: dict[NodeRun, list[Item]] = {}
    for planned in [each for direct in follow for each in (direct, *direct.parts)]:
        made.setdefault(planned.node, []).append(planned.result.item)
    for node, items in made.items():
        node.growth.add(items, 1, entry.cost)


def _get_head(node: NodeRun) -> tuple[int, int, int, float, int]:
    assert node.head is not None
    return node.head


def _plan_again(entry: Entry, alone: bool = False) -> Entry:
    """Return ``entry`` with one more attempt counted."""
    entry.planned = retry_failed(entry.planned, alone)
    return entry


def _has_failed(node: NodeRun) -> bool:
    return any(node.outcomes.failed())
