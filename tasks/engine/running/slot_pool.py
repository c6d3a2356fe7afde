"""The slots of this process: each lease borrows one."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tasks.engine.contract.stage import Lane
from tasks.engine.planning.sizing import MAX_MEMORY_SHARE, read_memory_share
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.control import StopSignal
from tasks.engine.running.devices import Device
from tasks.engine.running.fetching import forget_input_cache
from tasks.engine.running.orphans import end_orphans_here, note_mark
from tasks.engine.running.scratch import sweep_local_scratch
from tasks.engine.running.shards import forget_returned
from tasks.engine.running.slot import Slot
from tasks.engine.running.templates import end_unused_templates
from tasks.engine.running.watchdog import new_mark
from tasks.engine.store.sessions import leave_output_dir

# Identifies this process among all that work in one output folder: containers may share a host name and process ids.
PROCESS_FOLDER = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
_MEMORY_SECONDS = 0.2  # until an item that waits for memory asks again
_LOOK_SECONDS = 0.1
_MAX_CHILDREN = 4  # of one slot: warm children of as many stages
_ASK_SECONDS = 0.2  # between checks whether a lease that waits for a slot is still wanted
_IDLE_SECONDS = 10.0  # until an idle child ends, in a cluster whose flow may have ended


class Seat:
    """One slot of this process: runs one item at a time, and keeps warm children of a few stages.

    ``number`` counts the slots of a lane from 0. ``device``: the only device that its children use, on a cluster.
    """

    def __init__(self, lane: Lane, number: int, device: Device | None = None) -> None:
        self.lane = lane
        self.number = number
        self.device = device
        self.label = f"{socket.gethostname()}-{'' if lane == 'cpu' else lane + '-'}{number + 1:02d}"
        self.children: OrderedDict[str, Slot] = OrderedDict()

    def close(self) -> None:
        """End all children."""
        for child in self.children.values():
            child.close()

    def choose_child(self, order: ShardOrder, make: Callable[[], Slot]) -> Slot:
        """Return the child for the order's stage; end the one that was used least recently to make room for it."""
        name = order.stage.name
        if name not in self.children:
            limit = order.context.limits.memory_bytes
            while len(self.children) >= _MAX_CHILDREN or (self.children and self._measure_memory() > limit / 2):
                self.children.popitem(last=False)[1].close()
            self.children[name] = make()
        self.children.move_to_end(name)
        return self.children[name]

    def _measure_memory(self) -> int:
        return sum(child.measure_memory() for child in self.children.values())


SeatKey = tuple[str, Lane, Device | None]  # of a run; a device has its own slot, and keeps its children


class SlotPool:
    """The slots of this process. A slot keeps its children, and the warm state of their stages, between leases."""

    def __init__(self) -> None:
        self._freed = threading.Condition()
        self._idle: dict[SeatKey, list[Seat]] = {}
        self._made: dict[SeatKey, set[int]] = {}
        self._running: set[Slot] = set()
        self._uses: Counter[Seat] = Counter()
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
    def seat(
        self,
        run_id: str,
        lane: Lane,
        read_width: Callable[[], int | None],
        is_wanted: Callable[[], bool] = lambda: True,
        device: Device | None = None,
    ) -> Iterator[Seat | None]:
        """Borrow a free slot of a run's lane; wait for one if the lane has its maximum.

        read_width  returns the maximum, which may change during the run; None for no maximum
        is_wanted   returns False if the lease that waits is not needed any more: it gets None
        device      the device whose slot is wanted, on a cluster
        """
        key = run_id, lane, device
        seat = self._borrow(key, read_width, is_wanted)
        if seat is None:
            yield None
            return
        try:
            yield seat
        except BaseException:
            seat.close()
            raise
        finally:
            with self._freed:
                self._running.difference_update(seat.children.values())
                self._return(key, seat, read_width())
                self._freed.notify()

    def _borrow(self, key: SeatKey, read_width: Callable[[], int | None], is_wanted: Callable[[], bool]) -> Seat | None:
        with self._freed:
            while is_wanted():
                width, numbers = read_width(), self._made.setdefault(key, set())
                idle = self._idle.setdefault(key, [])
                if width is None or len(numbers) - len(idle) < width:
                    return idle.pop() if idle else self._make_seat(key, numbers)
                self._freed.wait(_ASK_SECONDS)
        return None

    def count_busy(self, run_id: str, lane: Lane) -> int:
        """Return the number of slots of a lane that leases use."""
        with self._freed:
            key = run_id, lane, None
            return len(self._made.get(key, ())) - len(self._idle.get(key, ()))

    def _make_seat(self, key: SeatKey, numbers: set[int]) -> Seat:
        device = key[2]
        unused = next(number for number in range(len(numbers) + 1) if number not in numbers)
        number = device.number if device else unused
        numbers.add(number)
        return Seat(key[1], number, device)

    def _return(self, key: SeatKey, seat: Seat, width: int | None) -> None:
        """Keep a slot for the next lease, or end it if there are more than ``width``."""
        numbers = self._made.get(key, set())
        if width is not None and len(numbers) > width and seat.number in numbers:
            numbers.discard(seat.number)
            seat.close()
        else:
            self._idle.setdefault(key, []).append(seat)

    @contextmanager
    def slot(self, order: ShardOrder) -> Iterator[Slot]:
        """Borrow a free slot for the order's run and stage; wait for one if the run has its maximum."""
        context = order.context
        device = context.devices[0] if context.elsewhere and context.devices else None
        lane: Lane = "device" if device else order.stage.lane
        with self.seat(context.run_id, lane, lambda: 1 if device else context.slots, device=device) as seat:
            assert seat is not None
            yield self.open_child(seat, order)
        if context.elsewhere:
            self._reap_later((context.run_id, lane, device), seat)

    def open_child(self, seat: Seat, order: ShardOrder) -> Slot:
        """Return the child of ``seat`` for the order's stage, which may have to be started."""
        return seat.choose_child(order, lambda: self._make(order, seat))

    def _reap_later(self, key: SeatKey, seat: Seat) -> None:
        """End the children of ``seat`` later if it gets no other shard: the flow that would end them may be gone."""
        self._uses[seat] += 1
        timer = threading.Timer(_IDLE_SECONDS, self._reap, (key, seat, self._uses[seat]))
        timer.daemon = True
        timer.start()

    def _reap(self, key: SeatKey, seat: Seat, uses: int) -> None:
        with self._freed:
            idle = self._idle.get(key, [])
            if seat not in idle or self._uses[seat] != uses:
                return
            idle.remove(seat)
            self._made.get(key, set()).discard(seat.number)
            del self._uses[seat]
            seat.close()  # blocks other slots briefly, but there is little work now

    def close(self, run_id: str) -> None:
        """End the idle children of a run."""
        with self._freed:
            keys = [key for key in self._idle if key[0] == run_id]
            seats = [seat for key in keys for seat in self._idle.pop(key)]
            for seat in seats:
                del self._uses[seat]
            for key in keys:
                self._made.pop(key, None)
            self._marks.pop(run_id, None)
        for seat in seats:
            seat.close()

    def _make(self, order: ShardOrder, seat: Seat) -> Slot:
        context = order.context
        sweep_local_scratch(context.output_dir, but=context.run_id)
        folder = context.private / PROCESS_FOLDER
        folder.mkdir(exist_ok=True)
        log = folder / f"{order.stage.name}-{seat.label}.log"
        log.touch()
        with self._freed:
            mark = self._mark(context)
        return Slot(order.stage, seat.label, log, seat.number, mark, self._find_device(context, seat))

    def _find_device(self, context: RunContext, seat: Seat) -> Device | None:
        """Return the device of a slot: one number has the same device during the whole run."""
        is_here = not context.elsewhere and seat.number < len(context.devices)
        return context.devices[seat.number] if is_here else seat.device

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
    """End the children of a run in this process with their templates, and forget what it has taken back.

    Called remotely on workers.
    """
    pool.close(run_id)
    forget_input_cache(run_id)
    leave_output_dir(run_id)
    end_unused_templates()
    forget_returned(run_id)
