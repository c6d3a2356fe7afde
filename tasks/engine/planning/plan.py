"""Plan items: find those that earlier runs have done, and order the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item, is_safe_id
from tasks.engine.contract.stage import Stage
from tasks.engine.planning.identity import Identified, compute_stage_digest, identify_item
from tasks.engine.store.mirrors import RemoteInput, find_remote_inputs
from tasks.engine.store.outcomes import Outcome, Record
from tasks.engine.store.records import RecordStore


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """An item to run.

    key       the key that its record will have
    position  its index among the items of its stage
    attempts  number of earlier attempts
    states    states of its inputs before the key was computed (see :func:`read_input_states`); empty if not read
    alone     no other item may run at the same time: it ran out of memory next to others
    inputs    digest of the identities of its inputs, for its record; empty if not computed
    remote    its inputs that are in a store; filled in when it is handed out
    """

    item: Item
    key: str
    position: int = 0
    attempts: int = 0
    states: tuple[str, ...] = ()
    alone: bool = False
    inputs: str = ""
    remote: tuple[RemoteInput, ...] = ()


@dataclass(frozen=True)
class SettledItem:
    """An item that an earlier run has settled. ``record`` is None if it failed."""

    item: Item
    outcome: Outcome
    record: Record | None


@dataclass(frozen=True)
class DroppedItem:
    """An item that is done, but whose outputs were dropped: it must run again if they are needed."""

    record: Record
    planned: PlannedItem


class ItemPlanner:
    """Compares the items of one stage with the records of earlier runs."""

    def __init__(self, stage: Stage, store: RecordStore, execution: Execution) -> None:
        self.stage = stage
        self.store = store
        self._execution = execution
        self._digest = compute_stage_digest(stage)
        self._done = set() if execution.refresh else store.ids()
        if self._done:
            store.prefetch()
        self._failures = store.load_failures() if execution.keep_failed else {}
        self._first: dict[str, str] = {}

    def plan(self, item: Item) -> SettledItem | PlannedItem | DroppedItem:
        """Compare the key of ``item`` with its record, and its outputs with the sizes or digests in the record."""
        identified = identify_item(self._digest, item, self._execution.identity)
        key = identified.key
        record = self.store.get(item.id) if item.id in self._done else None
        if record and record.key == key:
            if record.dropped:
                return DroppedItem(record, _make_planned(item, identified))
            if self.store.has_intact_outputs(record, self._execution.verify):
                return settle_cached(item, record)
        failure = self._failures.get(item.id)
        if failure and failure.key == key:
            return SettledItem(item, Outcome.of_failure(failure).named(item), None)
        return _make_planned(item, identified)

    def check_id(self, item: Item) -> None:
        """Raise RunError if the id is not safe as a file name, or if it differs from an earlier one at most in case.

        The files of two such items would overwrite each other.
        """
        name = self.stage.name
        if not is_safe_id(item.id):
            raise RunError(f"{name}: {item.id!r} cannot be a file name on every file system; use make_distinct_ids")
        folded = item.id.lower()
        folded = item.id if folded == item.id else folded  # many ids, and one text each
        if folded in self._first:
            titles = f"{self._first[folded]!r} and {item.title!r}"
            raise RunError(f"{name}: {titles} would get the same file name, {item.id}; rename one of them")
        self._first[folded] = item.title


def _make_planned(item: Item, identified: Identified) -> PlannedItem:
    return PlannedItem(item, identified.key, states=identified.read_states(), inputs=identified.hash_inputs())


def add_remote_inputs(planned: PlannedItem) -> PlannedItem:
    """Return the item with its inputs that are in a store. Their ETags tell changes, so it needs no states."""
    remote = planned.remote or find_remote_inputs(planned.item.inputs)
    return replace(planned, remote=remote, states=()) if remote else planned


def settle_cached(item: Item, record: Record) -> SettledItem:
    """Return an item that an earlier run has done."""
    return SettledItem(item, Outcome.of_record(record, "cached", item), record)


def order_items(items: Sequence[Item], execution: Execution) -> list[int]:
    """Return the places of ``items`` in the order in which they run.

    Sorts by ``--priority`` if given (larger first, missing last), then by ``--order``, then by the manifest.
    """
    places = sorted(range(len(items)), key=lambda place: rank_cost(items[place], execution))
    if execution.priority is None:
        return places
    return sorted(places, key=lambda place: rank_priority(items[place], execution), reverse=True)


def rank_cost(item: Item, execution: Execution) -> float:
    """Return a sort key for ``--order``; it is the same for all items if they run as listed."""
    return {"heaviest": -item.cost, "manifest": 0.0, "lightest": item.cost}[execution.order]


def rank_priority(item: Item, execution: Execution) -> tuple[int, float, str]:
    """Return a sort key for ``--priority`` that orders mixed types: numbers above texts above missing values."""
    value = item.fields.get(execution.priority) if execution.priority else None
    if isinstance(value, int | float):
        return (0, 0.0, "") if math.isnan(value) else (2, float(value), "")
    return (0, 0.0, "") if value is None else (1, 0.0, str(value))


def retry_failed(planned: PlannedItem, alone: bool = False) -> PlannedItem:
    """Return the item with one more attempt counted."""
    return replace(planned, attempts=planned.attempts + 1, alone=alone)
