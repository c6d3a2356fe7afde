"""Plan the items of a graph: compare them with the records of earlier runs, and make those that follow from records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tasks.engine.contract.errors import BadInput, InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Done, Graph, Node, Whole
from tasks.engine.planning.plan import DroppedItem, PlannedItem, SettledItem, order_items, rank_priority, settle_cached
from tasks.engine.running.node_run import NodeRun, Origin
from tasks.engine.store.outcomes import Record


@dataclass(frozen=True)
class Planned:
    """An item compared with the records of earlier runs, and what follows from it.

    parts  of a whole that is not done
    """

    node: NodeRun
    result: SettledItem | PlannedItem
    whole: Whole | None = None
    parts: Sequence[Planned] = ()
    follow: Sequence[Planned] = ()


class Expansion:
    """Plans the items of a run. Reads records, and changes nothing."""

    def __init__(self, graph: Graph, run_of: Mapping[Node, NodeRun], execution: Execution) -> None:
        self._graph = graph
        self._run_of = run_of
        self._execution = execution
        self._part = execution.chosen_part

    def list_roots(self) -> Iterator[tuple[NodeRun, Item | Whole, Origin]]:
        """Yield the items given as input in the order in which they run."""
        place = 0
        for node in self._run_of.values():
            given = [each for each in node.node.items if self._is_chosen(each)]
            items = [each.item if isinstance(each, Whole) else each for each in given]
            ranks = {key: rank for rank, key in enumerate(self._list_priorities(items))}
            for order, index in enumerate(order_items(items, self._execution)):
                priority = ranks[rank_priority(items[index], self._execution)]
                yield node, given[index], Origin(place + index, place + order, priority)
            place += len(given)

    def _is_chosen(self, given: Item | Whole) -> bool:
        """Return True if this run takes the item: with ``--part``, those of its part."""
        return self._part is None or self._part.has(given.item.id if isinstance(given, Whole) else given.id)

    def _list_priorities(self, items: Sequence[Item]) -> list[tuple[int, float, str]]:
        return sorted({rank_priority(item, self._execution) for item in items}, reverse=True)

    def plan_item(self, node: NodeRun, given: Item | Whole) -> Planned:
        """Compare an item with its record; plan the parts that it needs, or the items that follow if it is done."""
        whole = given if isinstance(given, Whole) else None
        item = given.item if isinstance(given, Whole) else given
        result = node.planner.plan(item)
        if isinstance(result, DroppedItem):
            follow = self.plan_followers(node, item, result.record)
            if self._graph.followers(node.node) and not any(map(is_pending, follow)):
                return Planned(node, settle_cached(item, result.record), whole, follow=follow)
            return Planned(node, result.planned)
        if isinstance(result, SettledItem):
            record = result.record
            return Planned(node, result, whole, follow=self.plan_followers(node, item, record) if record else ())
        if whole is None or node.node.parts is None:
            return Planned(node, result)
        parts = self._run_of[node.node.parts]
        return Planned(node, result, whole, [self.plan_item(parts, part) for part in whole.make_parts()])

    def plan_followers(self, node: NodeRun, item: Item, record: Record) -> list[Planned]:
        """Plan the items that follow from a finished one."""
        followers = self._graph.followers(node.node)
        if not followers:
            return []
        done = Done(item, record)
        return [
            self.plan_item(self._run_of[follower], given)
            for follower in followers
            for given in _make_items(follower, done)
        ]


def _make_items(node: Node, done: Done) -> Sequence[Item | Whole]:
    """Return the items that follow from ``done``; if ``each`` refuses it, one item that fails with the reason."""
    if node.split:
        return list(node.split(done))
    assert node.each is not None
    try:
        return [node.each(done)]
    except (BadInput, InvalidInput) as error:
        return [replace(done.item, payload={}, cost=0.0, refusal=str(error))]


def is_pending(planned: Planned) -> bool:
    """Return True if the item, or one that follows, must run."""
    return isinstance(planned.result, PlannedItem) or any(map(is_pending, planned.follow))
