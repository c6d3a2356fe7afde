"""Run items one after another in a slot."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from tasks.engine.planning.identity import read_input_states
from tasks.engine.planning.plan import PlannedItem, add_remote_inputs
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.control import StopSignal, get_stop_signal
from tasks.engine.running.fetching import FetchedInputs, get_input_cache
from tasks.engine.running.input_changes import find_change_since_plan
from tasks.engine.running.messages import Failed, Reply, Request
from tasks.engine.running.scratch import get_local_scratch, make_local_scratch
from tasks.engine.running.settlement import ItemSettler, StartedItem
from tasks.engine.running.shards import Shard, serve_shard
from tasks.engine.running.slot import Limits, Slot
from tasks.engine.running.slot_pool import PROCESS_FOLDER, pool
from tasks.engine.store.outcomes import Outcome, Outcomes
from tasks.engine.store.records import RecordStore
from tasks.engine.store.sessions import join_output_dir
from tasks.engine.store.write_errors import explain_write_error


class ItemSource(Protocol):
    """Hands out the items of a lease, and takes their outcomes."""

    def take(self) -> PlannedItem | None:
        """Return the next item; None if there is none now."""

    def settle(self, outcome: Outcome) -> None:
        """Take the outcome of an item."""


def run_shard(
    order: ShardOrder, report: Callable[[Outcome], None], start: Callable[[str], None] = lambda _: None
) -> Outcomes:
    """Run the items of ``order`` in a free slot of this process.

    ``start`` is called with the id of each item that begins, ``report`` with each outcome.

    Items that are not reached because the run stops are ``remaining``. Items that the flow takes back meanwhile have no
    outcome. Raises RunError if the run cannot continue.
    """
    order = replace(order, context=order.context.here())
    prepare_folders(order.context, order.stage.name)
    shard = Shard(order, report, start)
    with serve_shard(order, shard), pool.slot(order) as slot:
        run_items(order, slot, shard)
    order.context.layout.tree.flush()
    return shard.outcomes


def prepare_folders(context: RunContext, stage: str) -> None:
    """Create the folders that the items of a stage need. Raises RunError if they cannot be written."""
    layout = context.layout
    if layout.store and context.elsewhere:
        make_local_scratch(layout.output_dir)
        join_output_dir(layout, context.run_id, context.check_lock)
    context.check_lock()
    try:
        RecordStore(layout, stage).prepare()
        with layout.tree.opened(layout.relative(context.private), make=True):
            pass
    except OSError as error:
        raise explain_write_error(context.output_dir, error) from error
    if context.stage_inputs:
        make_local_scratch(get_local_scratch(context.output_dir, context.run_id))


def run_items(order: ShardOrder, slot: Slot, source: ItemSource) -> None:
    """Run the items of ``source`` one after another until it has none.

    While the child runs an item, the previous one is published, so that disk latency costs no slot time.
    """
    stop = get_stop_signal(order.context.run_id)
    loop = _ItemLoop(order, slot, source, stop)
    for outcome in loop.run():
        source.settle(outcome)


class _ItemLoop:
    def __init__(self, order: ShardOrder, slot: Slot, source: ItemSource, stop: StopSignal) -> None:
        self.order = order
        self.context = order.context
        self.slot = slot
        self.source = source
        self.stop = stop
        self.settler = ItemSettler(order)
        self._folders = itertools.cycle(self._choose_private_folders())
        self._unpublished: tuple[StartedItem, Reply, bytes] | None = None

    def run(self) -> Iterator[Outcome]:
        """Yield the outcome of every item, in order. Publishing the last one may make the source hand out more."""
        while True:
            if planned := self.source.take():
                yield from self._run_item(planned)
            elif self._unpublished:
                yield from self._publish_previous()
            else:
                return

    def _run_item(self, planned: PlannedItem) -> Iterator[Outcome]:
        if settled := self.settler.find_settled(planned):
            yield settled
            return
        planned = add_remote_inputs(planned)
        item = StartedItem(planned, next(self._folders), read_input_states(planned.item))
        failed = find_change_since_plan(planned, item.states, self.order.stage, self.context.identity)
        if planned.remote and not failed:
            yield from self._publish_previous()
            fetched = get_input_cache(self.context).fetch(planned.remote)
            failed = fetched if isinstance(fetched, Failed) else None
            item = replace(item, fetched=fetched) if isinstance(fetched, FetchedInputs) else item
        if failed:
            yield self.settler.settle(item, failed, b"")
            return
        yield from self._run_started(item)

    def _run_started(self, item: StartedItem) -> Iterator[Outcome]:
        started = self._start(item)
        yield from self._publish_previous()
        reply: Reply | None = None
        if started:
            reply = self.slot.wait(self._limit(item.planned), self.stop)
            pool.leave(self.slot)
        if reply is None:
            self.settler.clear(item)
            yield Outcome(item.planned.item.id, self.order.stage.name, "remaining")
        else:
            log = self.slot.read_log_tail() if isinstance(reply, Failed) else b""
            self._unpublished = (item, reply, log)

    def _publish_previous(self) -> Iterator[Outcome]:
        if self._unpublished:
            previous, self._unpublished = self._unpublished, None
            yield self.settler.settle(*previous)

    def _limit(self, planned: PlannedItem) -> Limits:
        """Return the limits of an item: alone on the host, it may use more memory."""
        limits = self.context.limits
        memory = self.context.memory_alone_bytes if planned.alone else 0
        return replace(limits, memory_bytes=max(limits.memory_bytes, memory, planned.item.memory_bytes))

    def _start(self, item: StartedItem) -> bool:
        if not pool.admit(self.slot, self.stop):
            return False
        self.slot.open()
        local = self.settler.local_folder(item.planned)
        request = Request(item.planned.item, item.private, self.context.output_dir, local, item.fetched.paths)
        self.slot.start(request)
        return True

    def _choose_private_folders(self) -> list[Path]:
        """Return two private folders that alternate: one is published while the next item fills the other.

        No other process uses them: a worker that was cut off may work on the same item.
        """
        folder = self.context.private / PROCESS_FOLDER / self.order.stage.name / self.slot.label
        return [folder / "a", folder / "b"]
