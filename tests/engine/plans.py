"""Plan all items of one stage, without a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage
from tasks.engine.planning.plan import DroppedItem, ItemPlanner, PlannedItem, SettledItem, order_items
from tasks.engine.store.outcomes import Outcomes
from tasks.engine.store.records import RecordStore


@dataclass(frozen=True)
class Plan:
    """The items of a stage: settled, to do, or left for a later run (``--max-items``)."""

    settled: Outcomes
    todo: tuple[PlannedItem, ...]
    left: tuple[PlannedItem, ...] = ()

    @property
    def total(self) -> int:
        """The number of all items."""
        return len(self.settled) + len(self.todo) + len(self.left)


def plan_stage(stage: Stage, items: Sequence[Item], store: RecordStore, execution: Execution) -> Plan:
    """Plan all ``items`` of a stage, in the order in which they run. Raises RunError for ids that collide."""
    planner = ItemPlanner(stage, store, execution)
    settled, todo = Outcomes(), dict[int, PlannedItem]()
    with store.holding():
        for position, item in enumerate(items):
            planner.check_id(item)
            planned = planner.plan(item)
            if isinstance(planned, SettledItem):
                settled.append(planned.outcome)
            else:
                pending = planned.planned if isinstance(planned, DroppedItem) else planned
                todo[position] = replace(pending, position=position)
    ordered = [todo[position] for position in order_items(items, execution) if position in todo]
    limit = execution.max_items if execution.max_items is not None else len(ordered)
    return Plan(settled, tuple(ordered[:limit]), tuple(ordered[limit:]))
