"""Run the items of a shard one after another in a slot."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from tasks.engine.planning.identity import read_input_states
from tasks.engine.running.context import ShardOrder
from tasks.engine.running.control import StopSignal, get_stop_signal
from tasks.engine.running.input_changes import find_change_since_plan
from tasks.engine.running.messages import Failed, Reply, Request
from tasks.engine.running.scratch import get_local_scratch, make_local_scratch
from tasks.engine.running.settlement import ItemSettler, StartedItem
from tasks.engine.running.slot import Slot
from tasks.engine.running.slot_pool import PROCESS_FOLDER, pool
from tasks.engine.store.outcomes import Outcome, Outcomes
from tasks.engine.store.records import RecordStore
from tasks.engine.store.write_errors import explain_write_error


def run_shard(order: ShardOrder, report: Callable[[Outcome], None]) -> Outcomes:
    """Run the items of ``order`` in a free slot of this process; call ``report`` for each settled item.

    Items that are not reached because the run stops are ``remaining``. While the child runs an item, the previous one
    is published, so that disk latency costs no slot time. Raises RunError if the run cannot continue.
    """
    stop, layout = get_stop_signal(order.context.run_id), order.context.layout
    outcomes = Outcomes()
    order.context.check_lock()
    try:
        RecordStore(order.context.layout, order.stage.name).prepare()
        with layout.tree.opened(layout.relative(order.context.private), make=True):
            pass
    except OSError as error:
        raise explain_write_error(order.context.output_dir, error) from error
    if order.context.stage_inputs:
        make_local_scratch(get_local_scratch(order.context.output_dir, order.context.run_id))
    with pool.slot(order) as slot:
        loop = _ShardLoop(order, slot, stop)
        for outcome in loop.run():
            outcomes.append(outcome)
            report(outcome)
    return outcomes


class _ShardLoop:
    def __init__(self, order: ShardOrder, slot: Slot, stop: StopSignal) -> None:
        self.order = order
        self.context = order.context
        self.slot = slot
        self.stop = stop
        self.settler = ItemSettler(order)
        self._folders = itertools.cycle(self._choose_private_folders())

    def run(self) -> Iterator[Outcome]:
        """Yield the outcome of every item, in order."""
        unpublished: tuple[StartedItem, Reply, bytes] | None = None
        for planned in self.order.items:
            if settled := self.settler.find_settled(planned):
                yield settled
                continue
            reply: Reply | None = None
            item = StartedItem(planned, next(self._folders), read_input_states(planned.item))
            if failed := find_change_since_plan(planned, item.states, self.order.stage, self.context.identity):
                yield self.settler.settle(item, failed, b"")
                continue
            started = self._start(item)
            if unpublished:
                yield self.settler.settle(*unpublished)
                unpublished = None
            if started:
                reply = self.slot.wait(self.context.limits, self.stop)
                pool.leave(self.slot)
            if reply is None:
                self.settler.clear(item)
                yield Outcome(planned.item.id, self.order.stage.name, "remaining")
            else:
                log = self.slot.read_log_tail() if isinstance(reply, Failed) else b""
                unpublished = (item, reply, log)
        if unpublished:
            yield self.settler.settle(*unpublished)

    def _start(self, item: StartedItem) -> bool:
        if not pool.admit(self.slot, self.stop):
            return False
        self.slot.open()
        local = self.settler.local_folder(item.planned)
        self.slot.start(Request(item.planned.item, item.private, self.context.output_dir, local))
        return True

    def _choose_private_folders(self) -> list[Path]:
        """Return two private folders that alternate: one is published while the next item fills the other.

        No other process uses them: a worker that was cut off may work on the same item.
        """
        folder = self.context.private / PROCESS_FOLDER / self.order.stage.name / self.slot.label
        return [folder / "a", folder / "b"]
