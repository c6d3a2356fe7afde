"""Plan a stage: find the items that earlier runs have done, and order the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item, is_safe_id
from tasks.engine.contract.stage import Stage
from tasks.engine.planning.identity import compute_item_key, compute_stage_digest, read_input_states
from tasks.engine.store.outcomes import Failure, Outcome, Outcomes, Record
from tasks.engine.store.records import RecordStore


@dataclass(frozen=True)
class PlannedItem:
    """An item to run.

    key       the key that its record will have
    position  its index in the manifest
    attempts  number of earlier attempts
    states    states of its inputs before the key was computed (see :func:`read_input_states`); empty if not read
    """

    item: Item
    key: str
    position: int
    attempts: int = 0
    states: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """All items of a stage: settled, to do in this run, or left for a later run (``--max-items``)."""

    settled: Outcomes
    todo: tuple[PlannedItem, ...]
    left: tuple[PlannedItem, ...] = ()

    @property
    def total(self) -> int:
        """The number of all items."""
        return len(self.settled) + len(self.todo) + len(self.left)

    def outcomes(self, stage: str) -> Outcomes:
        """Return the outcome of every item before the run, in the order of the manifest."""
        unsettled = (*self.todo, *self.left)
        return self.settled.with_gaps(
            {
                planned.position: Outcome(planned.item.id, stage, "remaining").named(planned.item)
                for planned in unsettled
            }
        )


def plan_stage(stage: Stage, items: Sequence[Item], store: RecordStore, execution: Execution) -> Plan:
    """Compare each item's key with its record, and its outputs with the sizes or digests in the record.

    Raises RunError if an id is not safe as a file name, or if two ids are equal or differ only in case, because their
    files would overwrite each other.
    """
    _check_ids(stage, items)
    digest = compute_stage_digest(stage)
    done = set() if execution.refresh else store.ids()
    failures = store.load_failures() if execution.keep_failed else {}
    settled, todo = Outcomes(), list[PlannedItem]()
    with store.reading():
        for position, item in enumerate(items):
            states = read_input_states(item)
            key = compute_item_key(digest, item, execution.identity)
            record = store.get(item.id) if item.id in done else None
            if known := _find_settled(key, record, failures.get(item.id), store, execution):
                settled.append(known.named(item))
            else:
                todo.append(PlannedItem(item, key, position, states=states))
    ordered = order_items(todo, execution)
    limit = execution.max_items if execution.max_items is not None else len(ordered)
    return Plan(settled, tuple(ordered[:limit]), tuple(ordered[limit:]))


def _check_ids(stage: Stage, items: Sequence[Item]) -> None:
    first: dict[str, Item] = {}
    for item in items:
        if not is_safe_id(item.id):
            raise RunError(
                f"{stage.name}: {item.id!r} cannot be a file name on every file system; use make_distinct_ids"
            )
        other = first.setdefault(item.id.lower(), item)
        if other is not item:
            titles = " and ".join(repr(each.title) for each in (other, item))
            raise RunError(f"{stage.name}: {titles} would get the same file name, {item.id}; rename one of them")


def _find_settled(
    key: str, record: Record | None, failure: Failure | None, store: RecordStore, execution: Execution
) -> Outcome | None:
    """Return the outcome of an earlier run if it still holds."""
    if record and record.key == key and store.has_intact_outputs(record, execution.verify):
        return Outcome.of_record(record, "cached")
    return Outcome.of_failure(failure) if failure and failure.key == key else None


def order_items(todo: Sequence[PlannedItem], execution: Execution) -> list[PlannedItem]:
    """Sort by ``--priority`` if given (larger first, missing last), then by ``--order``, then by the manifest."""
    sign = {"heaviest": -1.0, "manifest": 0.0, "lightest": 1.0}[execution.order]
    ordered = sorted(todo, key=lambda planned: sign * planned.item.cost)
    if execution.priority is None:
        return ordered
    field = execution.priority
    return sorted(ordered, key=lambda planned: _rank(planned.item.fields.get(field)), reverse=True)


def _rank(value: object) -> tuple[int, float, str]:
    """Return a sort key that orders mixed types: numbers above texts above missing values."""
    if isinstance(value, int | float):
        return (0, 0.0, "") if math.isnan(value) else (2, float(value), "")
    return (0, 0.0, "") if value is None else (1, 0.0, str(value))


def retry_failed(planned: PlannedItem) -> PlannedItem:
    """Return the item with one more attempt counted."""
    return replace(planned, attempts=planned.attempts + 1)
