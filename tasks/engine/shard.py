"""The one loop: runs a shard's items one after another in a slot, publishes each, and says what became of it."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.engine.control import StopSignal, stop_signal
from tasks.engine.errors import LockLost, OutputBlocked, RunError
from tasks.engine.execution import Identity
from tasks.engine.identity import input_states
from tasks.engine.inputs import find_change_since_plan, find_change_since_start
from tasks.engine.keeper import new_mark
from tasks.engine.layout import Layout
from tasks.engine.lock import Lock, check_lock, claimed
from tasks.engine.messages import Failed, Finished, Reply, Request
from tasks.engine.orphans import end_orphans_here, note_mark
from tasks.engine.outcomes import Failure, Outcome, Outcomes, Record
from tasks.engine.plan import PlannedItem
from tasks.engine.publish import publish
from tasks.engine.records import RecordStore
from tasks.engine.scratch import local_scratch, make_local_scratch, remove_local_scratch, sweep_local_scratch
from tasks.engine.sizing import MOST_MEMORY_SHARE, memory_share
from tasks.engine.slot import Limits, Slot
from tasks.engine.stage import Stage
from tasks.engine.text import short_line
from tasks.engine.write_errors import cannot_write, nothing_more, write_obstacle

# This process among all that are at work in one output folder; containers may share a host name and numbers.
_PLACE = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
_PLACE_PARTS = 4  # of the path of an item's private folder in that of its run: place, stage, slot, turn
_MEMORY_SECONDS = 0.2  # until an item that waits for memory asks again
_LOOK_SECONDS = 0.1
_IDLE_SECONDS = 10.0  # until a child ends that has nothing to do, in a cluster whose flow may be gone


@dataclass(frozen=True)
class RunContext:
    """What a shard has to know of its run."""

    run_id: str
    output_dir: Path
    limits: Limits
    slots: int | None = None  # of the process that runs the shard; None: as many as it has threads
    input_root: Path | None = None  # what all inputs lie under; when it is gone, no item can be done
    stage_inputs: bool = False
    lock_token: str = ""  # of the run's lock; empty if the caller holds none
    identity: Identity = "stat"  # how inputs are known

    def check_lock(self) -> None:
        """Raise LockLost unless the run still holds the lock of its output folder."""
        if self.lock_token:
            check_lock(self.layout.lock, self.lock_token)

    @property
    def elsewhere(self) -> bool:
        """Whether shards run in processes that are not the flow's."""
        return self.slots is None

    @property
    def layout(self) -> Layout:
        """The output folder's layout."""
        return Layout(self.output_dir)

    @property
    def private(self) -> Path:
        """The private folder of this run on the output folder's filesystem, so that a rename can publish."""
        return self.layout.private / self.run_id


@dataclass(frozen=True)
class ShardOrder:
    """A shard as it travels to the process that runs it."""

    context: RunContext
    stage: Stage
    items: tuple[PlannedItem, ...]


def run_shard(order: ShardOrder, report: Callable[[Outcome], None]) -> Outcomes:
    """Run the items of ``order`` in a free slot of this process; tells ``report`` of each when it is settled.

    Items that were not reached because the run stops are ``remaining``. While the child runs an item, the one before
    it is published, so that the disk's latency costs no slot time. Raises RunError where nothing can go on.
    """
    stop, layout = stop_signal(order.context.run_id), order.context.layout
    outcomes = Outcomes()
    order.context.check_lock()
    try:
        RecordStore(order.context.layout, order.stage.name).prepare()
        with layout.tree.opened(layout.relative(order.context.private), make=True):
            pass
    except OSError as error:
        raise cannot_write(order.context.output_dir, error) from error
    if order.context.stage_inputs:
        make_local_scratch(local_scratch(order.context.output_dir, order.context.run_id))
    with pool.slot(order) as slot:
        loop = _ShardLoop(order, slot, stop)
        for outcome in loop.run():
            outcomes.append(outcome)
            report(outcome)
    return outcomes


@dataclass(frozen=True)
class _Started:
    """An item that is run in the folder ``private``; ``states`` are those of its inputs from before it started."""

    planned: PlannedItem
    private: Path
    states: tuple[str, ...]


class _ShardLoop:
    def __init__(self, order: ShardOrder, slot: Slot, stop: StopSignal) -> None:
        self.order = order
        self.context = order.context
        self.slot = slot
        self.stop = stop
        self.store = RecordStore(order.context.layout, order.stage.name)
        if not self.context.elsewhere:  # where a process that is thought lost may be at the same items
            self.store.look([planned.item.id for planned in order.items])
        self._folders = itertools.cycle(self._private_folders())

    def run(self) -> Iterator[Outcome]:
        """Yield an outcome for every item, in order."""
        unpublished: tuple[_Started, Reply, bytes] | None = None
        for planned in self.order.items:
            if settled := self._settled_before(planned):
                yield settled
                continue
            reply: Reply | None = None
            item = _Started(planned, next(self._folders), input_states(planned.item))
            if failed := find_change_since_plan(planned, item.states, self.order.stage, self.context.identity):
                yield self._settle(item, failed, b"")
                continue
            started = self._start(item)
            if unpublished:
                yield self._settle(*unpublished)
                unpublished = None
            if started:
                reply = self.slot.wait(self.context.limits, self.stop)
                pool.leave(self.slot)
            if reply is None:
                self._clear(item)
                yield Outcome(planned.item.id, self.order.stage.name, "remaining")
            else:
                log = self.slot.log_tail() if isinstance(reply, Failed) else b""
                unpublished = (item, reply, log)
        if unpublished:
            yield self._settle(*unpublished)

    def _settled_before(self, planned: PlannedItem) -> Outcome | None:
        """The item's outcome where this run has done it: Dask gives a shard out again whose worker was lost.

        In one process nobody else can have done it.
        """
        record = self.store.get(planned.item.id) if self.context.elsewhere else None
        if record is None or record.run_id != self.context.run_id or record.key != planned.key:
            return None
        return Outcome.of_record(record)

    def _start(self, item: _Started) -> bool:
        if not pool.admit(self.slot, self.stop):
            return False
        self.slot.open()
        planned = item.planned
        self.slot.start(Request(planned.item, item.private, self.context.output_dir, self._local(planned)))
        return True

    def _private_folders(self) -> list[Path]:
        """Two folders of this slot's own take turns: one is published while the next item fills the other.

        They are this process's alone: one that was cut off, and is thought lost, may be at the same item.
        """
        folder = self.context.private / _PLACE / self.order.stage.name / self.slot.label
        return [folder / "a", folder / "b"]

    def _local(self, planned: PlannedItem) -> Path | None:
        if not self.context.stage_inputs:
            return None
        scratch = local_scratch(self.context.output_dir, self.context.run_id)
        return scratch / self.order.stage.name / planned.item.id

    def _clear(self, item: _Started) -> None:
        """Leave nothing of the item for the one after the next."""
        layout = self.context.layout
        for name in ("outputs", "scratch"):
            layout.tree.clear(layout.relative(item.private / name))
        if local := self._local(item.planned):  # the child removes it, unless it was ended
            remove_local_scratch(local)

    def _settle(self, item: _Started, reply: Reply, log: bytes) -> Outcome:
        """Publish what finished, keep what is known of what failed."""
        planned = item.planned
        try:
            reply = self._judge_inputs(item, reply)
            if isinstance(reply, Finished):
                try:
                    return self._publish(planned, reply, item.private)
                except OutputBlocked as error:
                    reply = Failed("error", str(error), reply.usage)
            return self._fail(planned, reply, log)
        except OSError as error:
            raise cannot_write(self.context.output_dir, error) from error
        finally:
            self._clear(item)

    def _judge_inputs(self, item: _Started, reply: Reply) -> Reply:
        """Return ``reply``, or a failure if an input changed while the item could read it.

        Errors that the stage found in the input may come of the change too. A lost child has another reason. Only
        content can tell on a retry that the input is the planned one again.
        """
        if isinstance(reply, Failed) and reply.kind not in ("bad_input", "error"):
            return reply
        change = find_change_since_start(item.planned, item.states)
        may_pass = self.context.identity == "content"
        return Failed("error", change, reply.usage, transient=may_pass) if change else reply

    def _publish(self, planned: PlannedItem, reply: Finished, private: Path) -> Outcome:
        record = Record(
            id=planned.item.id,
            stage=self.order.stage.name,
            version=self.order.stage.version,
            key=planned.key,
            outputs=reply.outputs,
            values=reply.result.values,
            detail=reply.result.detail,
            usage=reply.usage,
            attempts=planned.attempts + 1,
            run_id=self.context.run_id,
        )
        try:
            with self._claim(planned, private) as claim:
                if settled := self._settled_before(planned):
                    return settled
                self._publish_claimed(private, record, claim)
        except LockLost:
            self.context.check_lock()  # if the run has its lock, the claim was lost: another process does the item
            return self._settled_before(planned) or Outcome(planned.item.id, self.order.stage.name, "remaining")
        return Outcome.of_record(record)

    def _publish_claimed(self, private: Path, record: Record, claim: Lock | None) -> None:
        """Publish, unless the run's lock or the claim was lost."""
        self._check_locks(claim)
        try:
            publish(private / "outputs", record, self.store)
        except RunError:
            self._check_locks(claim)  # a loss explains it better
            raise

    def _check_locks(self, claim: Lock | None) -> None:
        self.context.check_lock()
        if claim:
            claim.check()

    @contextmanager
    def _claim(self, planned: PlannedItem, private: Path) -> Iterator[Lock | None]:
        """Be the only one that publishes the item.

        A worker that was cut off from its cluster goes on until it notices. If it ends the item at the same time as
        the worker that took over, then the first publishes it and the other finds the record.
        """
        if not self.context.elsewhere:
            yield None
            return
        folder = self.context.private / "claims" / self.order.stage.name
        mine = private.relative_to(self.context.private).as_posix()
        with ExitStack() as stack:
            try:
                layout, path = self.context.layout, folder / planned.item.id
                stack.enter_context(layout.tree.opened(layout.relative(folder), make=True))
                claim = stack.enter_context(claimed(path, self.context.run_id, mine, self._fence))
            except OSError as error:
                raise cannot_write(self.context.output_dir, error) from error
            yield claim

    def _fence(self, folder: str) -> None:
        """Take away what a silent process was about to publish from ``folder``, which its claim names."""
        parts = Path(folder).parts
        if len(parts) != _PLACE_PARTS or ".." in parts or os.path.isabs(folder):
            return
        aside = self.context.private / f"fenced-{uuid.uuid4().hex[:12]}"
        with suppress(FileNotFoundError):  # it had published, or nothing was left of it
            (self.context.private / folder).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _fail(self, planned: PlannedItem, reply: Failed, log: bytes) -> Outcome:
        if settled := self._settled_before(planned):
            return settled
        self.context.check_lock()
        self._check_ground(reply)
        failure = Failure(
            id=planned.item.id,
            stage=self.order.stage.name,
            key=planned.key,
            kind=reply.kind,
            message=short_line(reply.message),
            attempts=planned.attempts + 1,
            usage=reply.usage,
            run_id=self.context.run_id,
            transient=reply.transient,
            log=self._keep_log(planned, log),
        )
        self.store.write_failure(failure)
        return Outcome.of_failure(failure)

    def _check_ground(self, reply: Failed) -> None:
        """Raise RunError if a failure is not the item's: nothing more can be written, or the inputs' folder is gone."""
        root = self.context.input_root
        if root is not None and not root.exists():
            raise RunError(f"the input folder {root} has vanished; bring it back, then run the same command again")
        obstacle = write_obstacle(self.context.private)
        if reply.no_room or obstacle:
            raise nothing_more(self.context.output_dir, reply.message, reply.no_room, obstacle)

    def _keep_log(self, planned: PlannedItem, text: bytes) -> str:
        if not text:
            return ""
        layout = self.context.layout
        path = layout.log(self.order.stage.name, planned.item.id)
        with layout.tree.opened(layout.relative(path.parent), make=True):
            layout.tree.write(layout.relative(path), text, durable=False)
        return layout.relative(path)


class SlotPool:
    """The slots of this process. A slot keeps its child, and the stage's warm state, from one shard to the next."""

    def __init__(self) -> None:
        self._freed = threading.Condition()
        self._idle: dict[tuple[str, str], list[Slot]] = {}
        self._made: Counter[tuple[str, str]] = Counter()
        self._running: set[Slot] = set()
        self._uses: Counter[Slot] = Counter()
        self._marks: dict[str, str] = {}
        self._share = 0.0
        self._next_look = 0.0

    def admit(self, slot: Slot, stop: StopSignal) -> bool:
        """Let ``slot`` start an item; False where the run stops first.

        While most of the memory is in use and another item runs, nothing starts: it would make the kernel choose.
        """
        while not stop.draining:
            with self._freed:
                others = self._running - {slot}
                if not others or self._memory_share() < MOST_MEMORY_SHARE:
                    self._running.add(slot)
                    return True
            time.sleep(_MEMORY_SECONDS)
        return False

    def _memory_share(self) -> float:
        """The share in use, looked up ten times a second at most: reading it costs more than a light item."""
        if time.monotonic() >= self._next_look:
            self._share = memory_share()
            self._next_look = time.monotonic() + _LOOK_SECONDS
        return self._share

    def leave(self, slot: Slot) -> None:
        """``slot`` runs nothing any more."""
        with self._freed:
            self._running.discard(slot)

    @contextmanager
    def slot(self, order: ShardOrder) -> Iterator[Slot]:
        """A free slot for the order's run and stage; waits for one where the run may have no more."""
        key = (order.context.run_id, order.stage.name)
        most = order.context.slots
        with self._freed:
            self._freed.wait_for(lambda: self._idle.get(key) or most is None or self._made[key] < most)
            idle = self._idle.setdefault(key, [])
            slot = idle.pop() if idle else self._make(order, key)
        try:
            yield slot
        except BaseException:
            slot.close()
            raise
        finally:
            with self._freed:
                self._running.discard(slot)
                self._idle.setdefault(key, []).append(slot)
                self._freed.notify()
            if order.context.elsewhere:
                self._reap_later(key, slot)

    def _reap_later(self, key: tuple[str, str], slot: Slot) -> None:
        """End the child of ``slot`` where it gets no further shard: nobody may be there any more to tell it to end."""
        self._uses[slot] += 1
        timer = threading.Timer(_IDLE_SECONDS, self._reap, (key, slot, self._uses[slot]))
        timer.daemon = True
        timer.start()

    def _reap(self, key: tuple[str, str], slot: Slot, uses: int) -> None:
        with self._freed:
            idle = self._idle.get(key, [])
            if slot not in idle or self._uses[slot] != uses:
                return
            slot.close()  # holds up other slots for a moment; there is little to do here

    def close(self, run_id: str) -> None:
        """End the idle children of a run."""
        with self._freed:
            keys = [key for key in self._idle if key[0] == run_id]
            slots = [slot for key in keys for slot in self._idle.pop(key)]
            for slot in slots:
                del self._uses[slot]
            for key in keys:
                del self._made[key]
            self._marks.pop(run_id, None)
        for slot in slots:
            slot.close()

    def _make(self, order: ShardOrder, key: tuple[str, str]) -> Slot:
        context = order.context
        self._made[key] += 1
        sweep_local_scratch(context.output_dir, but=context.run_id)
        label = f"{socket.gethostname()}-{self._made[key]:02d}"
        folder = context.private / _PLACE
        folder.mkdir(exist_ok=True)
        log = folder / f"{order.stage.name}-{label}.log"
        log.touch()
        return Slot(order.stage, label, log, self._made[key] - 1, self._mark(context))

    def _mark(self, context: RunContext) -> str:
        """Return the mark of what this process starts for a run; it is noted where the next run finds it."""
        if context.run_id not in self._marks:
            if context.elsewhere:
                end_orphans_here(context.private)
            mark = new_mark()
            note_mark(context.private, mark)
            self._marks[context.run_id] = mark
        return self._marks[context.run_id]


pool = SlotPool()


def close_slots(run_id: str) -> None:
    """End the children of a run in this process; for calling by name in another."""
    pool.close(run_id)
