"""The pool of a process's slots: who gets one, when children end, and the marks and logs of new slots."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.running import slot_pool
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.control import StopSignal
from tasks.engine.running.orphans import read_marks
from tasks.engine.running.slot import Limits, Slot
from tasks.engine.running.slot_pool import PROCESS_FOLDER, Seat, SlotPool, close_slots
from tests.engine.faults import FaultParams, FaultStage
from tests.engine.simulation import create_stage

STAGE = FaultStage(FaultParams())
Timers = list["RecordedTimer"]


class RecordedTimer:
    """A timer that a test fires by hand."""

    def __init__(self, seconds: float, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.seconds, self._function, self._arguments = seconds, function, arguments
        self.daemon, self.is_started = False, False

    def start(self) -> None:
        self.is_started = True

    def fire(self) -> None:
        self._function(*self._arguments)


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    made: Timers = []

    def make(*given: Any) -> RecordedTimer:
        made.append(RecordedTimer(*given))
        return made[-1]

    monkeypatch.setattr(threading, "Timer", make)
    return made


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the labels of the slots that were closed."""
    labels: list[str] = []
    monkeypatch.setattr(Slot, "close", lambda slot: labels.append(slot.label))
    return labels


@pytest.fixture
def order(tmp_path: Path) -> ShardOrder:
    context = RunContext("run", tmp_path / "out", Limits(60, 1 << 30), slots=2)
    context.private.mkdir(parents=True)
    return ShardOrder(context, STAGE, ())


def change(order: ShardOrder, **fields: Any) -> ShardOrder:
    context = replace(order.context, **fields)
    context.private.mkdir(parents=True, exist_ok=True)
    return replace(order, context=context)


def make_order(order: ShardOrder, stage: str) -> ShardOrder:
    """Return an order of another stage in the same run."""
    return replace(order, stage=create_stage(stage))


def name(number: int) -> str:
    return f"{socket.gethostname()}-{number:02d}"


def test_free_slot_is_used_again_before_another_is_made(order: ShardOrder) -> None:
    pool = SlotPool()
    with pool.slot(order) as first:
        pass
    with pool.slot(order) as again, pool.slot(order) as second:
        assert again is first
        assert second is not first
    assert (first.label, first.number, second.label, second.number) == (name(1), 0, name(2), 1)


def test_new_slot_has_its_stage_log_and_mark(order: ShardOrder) -> None:
    pool = SlotPool()
    with pool.slot(order) as first, pool.slot(order) as second:
        assert first.stage is STAGE
        assert first.log == order.context.private / PROCESS_FOLDER / f"{STAGE.name}-{name(1)}.log"
        assert first.log.read_bytes() == b""
        assert second.log == order.context.private / PROCESS_FOLDER / f"{STAGE.name}-{name(2)}.log"
        assert first.mark == second.mark
        assert read_marks(order.context.private) == {first.mark}


def test_each_run_has_its_own_mark_and_slots(order: ShardOrder) -> None:
    pool = SlotPool()
    with pool.slot(order) as slot, pool.slot(change(order, run_id="other")) as other:
        assert slot.mark != other.mark
        assert (slot.label, other.label) == (name(1), name(1))


def test_leftovers_of_other_runs_are_swept_before_a_slot_is_made(
    order: ShardOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[tuple[Path, str]] = []
    monkeypatch.setattr(slot_pool, "sweep_local_scratch", lambda folder, but="": swept.append((folder, but)))
    with SlotPool().slot(order):
        assert swept == [(order.context.output_dir, "run")]


@pytest.mark.parametrize(("slots", "looks"), [(2, 0), (None, 1)], ids=["flow's own process", "worker"])
def test_only_workers_of_a_cluster_end_orphans_on_their_host(
    order: ShardOrder, slots: int | None, looks: int, monkeypatch: pytest.MonkeyPatch, timers: Timers
) -> None:
    looked: list[Path] = []
    monkeypatch.setattr(slot_pool, "end_orphans_here", looked.append)
    pool, worker = SlotPool(), change(order, slots=slots)
    with pool.slot(worker), pool.slot(worker):
        assert looked == [order.context.private] * looks


def test_shard_waits_while_all_slots_of_its_stage_are_in_use(order: ShardOrder) -> None:
    pool, got = SlotPool(), list[Slot]()

    def borrow() -> None:
        with pool.slot(order) as slot:
            got.append(slot)

    with pool.slot(order), pool.slot(order) as second:
        waiting = threading.Thread(target=borrow)
        waiting.start()
        waiting.join(0.1)
        assert got == []
        with pool.slot(change(order, run_id="other")):
            pass  # another run's slots are its own
        assert got == []
    waiting.join(60)
    assert len(got) == 1
    assert got[0].number <= second.number


def test_slot_of_a_shard_that_failed_is_closed_and_kept(order: ShardOrder, closed: list[str]) -> None:
    pool = SlotPool()
    with pytest.raises(KeyboardInterrupt), pool.slot(order) as slot:
        raise KeyboardInterrupt
    assert closed == [slot.label]
    with pool.slot(order) as again:
        assert again is slot


def test_closing_a_run_ends_its_children_alone(order: ShardOrder, closed: list[str], timers: Timers) -> None:
    pool = SlotPool()
    other = change(order, run_id="other", slots=None)
    worker = change(order, slots=None)
    with pool.slot(worker), pool.slot(worker) as second:
        mark = second.mark
    with pool.slot(other) as others:
        pass
    pool.close("run")
    assert sorted(closed) == [name(1), name(2)]
    with pool.slot(other) as again:
        assert again is others
    with pool.slot(worker) as fresh:
        assert (fresh.label, fresh.number) == (name(1), 0)
        assert fresh.mark != mark
    pool.close("run")
    pool.close("run")
    pool.close("other")
    assert pool._uses == {}


def test_slot_has_a_child_for_each_stage(order: ShardOrder, closed: list[str]) -> None:
    pool, other = SlotPool(), make_order(order, "other")
    with pool.slot(order) as first:
        pass
    with pool.slot(other) as second:
        assert second is not first
        assert second.log != first.log
    with pool.slot(order) as again:
        assert again is first
    assert closed == []
    assert {first.label, second.label} == {name(1)}
    pool.close("run")
    assert closed == [name(1), name(1)], "the children of all stages"


def test_child_that_was_used_least_recently_ends_first(order: ShardOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr(Slot, "close", lambda slot: ended.append(slot.stage.name))
    pool = SlotPool()
    for stage in ("a", "b", "c", "d", "a"):
        with pool.slot(make_order(order, stage)):
            pass
    assert ended == [], "four stages"
    with pool.slot(make_order(order, "e")):
        assert ended == ["b"]
    with pool.slot(make_order(order, "a")), pool.slot(make_order(order, "a")):
        assert ended == ["b"]


def test_children_use_at_most_half_of_the_memory_of_an_item(order: ShardOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr(Slot, "close", lambda slot: ended.append(slot.stage.name))
    monkeypatch.setattr(Slot, "measure_memory", lambda slot: 300 << 20)
    pool = SlotPool()
    for stage in ("a", "b"):
        with pool.slot(make_order(order, stage)):  # of 1 GiB
            pass
    assert ended == []
    with pool.slot(make_order(order, "c")):
        assert ended == ["a"], "600 MiB are more than half"


def test_lanes_have_their_own_slots() -> None:
    pool = SlotPool()
    with pool.seat("run", "cpu", lambda: 1) as cpu, pool.seat("run", "io", lambda: 1) as download:
        assert cpu is not None
        assert download is not None
        assert (cpu.label, cpu.number) == (name(1), 0)
        assert (download.label, download.number) == (f"{socket.gethostname()}-io-01", 0)


def test_width_of_a_lane_may_shrink_and_grow() -> None:
    pool, width = SlotPool(), [3]

    def lease(is_wanted: bool = True) -> AbstractContextManager[Seat | None]:
        return pool.seat("run", "cpu", lambda: width[0], iter([True, is_wanted]).__next__)

    with lease(), lease(), lease():
        assert pool._made["run", "cpu", None] == {0, 1, 2}
        width[0] = 1
    assert len(pool._made["run", "cpu", None]) == 1, "the others ended"
    with lease() as only:
        assert only is not None
        with lease(is_wanted=False) as refused:
            assert refused is None
        width[0] = 2
        with lease() as grown:
            assert grown is not None
            assert sorted([only.number, grown.number]) == [0, 1]


def test_slot_that_ends_when_the_width_shrinks_closes_its_children(order: ShardOrder, closed: list[str]) -> None:
    pool, width = SlotPool(), [2]
    with pool.seat("run", "cpu", lambda: width[0]), pool.seat("run", "cpu", lambda: width[0]) as seat:
        assert seat is not None
        pool.open_child(seat, order)
        width[0] = 1
    assert closed == [seat.label]


def test_waiting_lease_that_is_not_wanted_any_more_gets_no_slot() -> None:
    pool, got, is_wanted = SlotPool(), list[Seat | None](), threading.Event()
    is_wanted.set()

    def borrow() -> None:
        with pool.seat("run", "cpu", lambda: 1, is_wanted.is_set) as seat:
            got.append(seat)

    with pool.seat("run", "cpu", lambda: 1):
        waiting = threading.Thread(target=borrow)
        waiting.start()
        is_wanted.clear()
        waiting.join(60)
        assert got == [None]
    is_wanted.set()
    borrow()
    assert got[1] is not None


def test_close_slots_closes_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    monkeypatch.setattr(slot_pool.pool, "close", runs.append)
    close_slots("run")
    assert runs == ["run"]


def test_idle_child_of_a_worker_ends_after_a_while(order: ShardOrder, closed: list[str], timers: Timers) -> None:
    pool, worker = SlotPool(), change(order, slots=None)
    with pool.slot(worker) as slot:
        assert timers == []
    (timer,) = timers
    assert (timer.seconds, timer.daemon, timer.is_started) == (slot_pool._IDLE_SECONDS, True, True)
    timer.fire()
    assert closed == [slot.label]
    assert not any(pool._idle.values()), "nothing of it is kept"
    assert not any(pool._made.values())
    assert not pool._uses


def test_child_that_got_another_shard_does_not_end(order: ShardOrder, closed: list[str], timers: Timers) -> None:
    pool, worker = SlotPool(), change(order, slots=None)
    with pool.slot(worker):
        pass
    with pool.slot(worker):
        timers[0].fire()
    timers[0].fire()
    assert closed == []
    timers[1].fire()
    assert len(closed) == 1


def test_child_of_a_busy_slot_does_not_end(order: ShardOrder, closed: list[str], timers: Timers) -> None:
    pool, worker = SlotPool(), change(order, slots=None)
    with pool.slot(worker):
        pass
    with pool.slot(worker):
        pool._uses.clear()
        timers[0]._arguments = (*timers[0]._arguments[:2], 0)  # the number of uses alone would let it end
        timers[0].fire()
        assert closed == []


def test_timer_of_a_closed_run_does_nothing(order: ShardOrder, closed: list[str], timers: Timers) -> None:
    pool, worker = SlotPool(), change(order, slots=None)
    with pool.slot(worker):
        pass
    pool.close("run")
    assert len(closed) == 1
    timers[0].fire()
    assert len(closed) == 1


def test_slots_of_the_flows_process_are_kept(order: ShardOrder, timers: Timers) -> None:
    with SlotPool().slot(order):
        pass
    assert timers == []


def test_memory_is_read_at_most_ten_times_per_second(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now, reads = [100.0], list[float]()

    def read() -> float:
        reads.append(now[0])
        return 0.25

    monkeypatch.setattr(slot_pool, "read_memory_share", read)
    monkeypatch.setattr(slot_pool.time, "monotonic", lambda: now[0])
    pool = SlotPool()
    assert pool._read_memory_share() == 0.25
    for now[0] in (100.05, 100.09, 100.1, 100.15, 100.2, 100.21):
        assert pool._read_memory_share() == 0.25
    assert reads == [100.0, 100.1, 100.2]


def test_first_look_at_memory_reads_it_on_a_machine_that_just_booted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_pool, "read_memory_share", lambda: 0.25)
    monkeypatch.setattr(slot_pool.time, "monotonic", lambda: 0.0)
    assert SlotPool()._read_memory_share() == 0.25


@pytest.mark.parametrize(("above", "is_admitted"), [(-0.001, True), (0.0, False)])
def test_item_starts_beside_others_below_the_limit_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, above: float, is_admitted: bool
) -> None:
    pool, stop, slept = SlotPool(), StopSignal(), list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        stop.drain()

    monkeypatch.setattr(slot_pool, "read_memory_share", lambda: slot_pool.MAX_MEMORY_SHARE + above)
    monkeypatch.setattr(slot_pool.time, "sleep", sleep)
    first, second = (Slot(STAGE, label, tmp_path / label) for label in ("first", "second"))
    assert pool.admit(first, stop) is True
    assert pool.admit(first, stop) is True, "it is no other item"
    assert pool.admit(second, stop) is is_admitted
    assert slept == ([] if is_admitted else [slot_pool._MEMORY_SECONDS])
    assert pool._running == ({first, second} if is_admitted else {first})
    pool.leave(first)
    pool.leave(first)
    assert first not in pool._running
