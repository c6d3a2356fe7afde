"""The slots of this process: each shard borrows one."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.engine.planning.sizing import MAX_MEMORY_SHARE, read_memory_share
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.control import StopSignal
from tasks.engine.running.orphans import end_orphans_here, note_mark
from tasks.engine.running.scratch import sweep_local_scratch
from tasks.engine.running.slot import Slot
from tasks.engine.running.watchdog import new_mark

# Identifies this process among all that work in one output folder: containers may share a host name and process ids.
PROCESS_FOLDER = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
_MEMORY_SECONDS = 0.2  # until an item that waits for memory asks again
_LOOK_SECONDS = 0.1
_IDLE_SECONDS = 10.0  # until an idle child ends, in a cluster whose flow may have ended


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
        """Wait until ``slot`` may start an item; return False if the run stops first.

        While memory is scarce and another item runs, no item starts: otherwise the kernel might kill one.
        """
        while not stop.draining:
            with self._freed:
                others = self._running - {slot}
                if not others or self._read_memory_share() < MAX_MEMORY_SHARE:
                    self._running.add(slot)
                    return True
            time.sleep(_MEMORY_SECONDS)
        return False

    def _read_memory_share(self) -> float:
        """Return the share of memory in use, read at most ten times per second: reading it is slow."""
        if time.monotonic() >= self._next_look:
            self._share = read_memory_share()
            self._next_look = time.monotonic() + _LOOK_SECONDS
        return self._share

    def leave(self, slot: Slot) -> None:
        """Note that ``slot`` has finished its item."""
        with self._freed:
            self._running.discard(slot)

    @contextmanager
    def slot(self, order: ShardOrder) -> Iterator[Slot]:
        """Borrow a free slot for the order's run and stage; wait for one if the run has its maximum."""
        key = (order.context.run_id, order.stage.name)
        max_slots = order.context.slots
        with self._freed:
            self._freed.wait_for(lambda: self._idle.get(key) or max_slots is None or self._made[key] < max_slots)
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
        """End the child of ``slot`` later if it gets no other shard: the flow that would end it may be gone."""
        self._uses[slot] += 1
        timer = threading.Timer(_IDLE_SECONDS, self._reap, (key, slot, self._uses[slot]))
        timer.daemon = True
        timer.start()

    def _reap(self, key: tuple[str, str], slot: Slot, uses: int) -> None:
        with self._freed:
            idle = self._idle.get(key, [])
            if slot not in idle or self._uses[slot] != uses:
                return
            slot.close()  # blocks other slots briefly, but there is little work now

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
        folder = context.private / PROCESS_FOLDER
        folder.mkdir(exist_ok=True)
        log = folder / f"{order.stage.name}-{label}.log"
        log.touch()
        return Slot(order.stage, label, log, self._made[key] - 1, self._mark(context))

    def _mark(self, context: RunContext) -> str:
        """Return the mark of this process's children in a run; write it to a file for the next run."""
        if context.run_id not in self._marks:
            if context.elsewhere:
                end_orphans_here(context.private)
            mark = new_mark()
            note_mark(context.private, mark)
            self._marks[context.run_id] = mark
        return self._marks[context.run_id]


pool = SlotPool()


def close_slots(run_id: str) -> None:
    """End the children of a run in this process. Called remotely on workers."""
    pool.close(run_id)
