"""Test which worker of a cluster takes which items: threads, memory, devices, and time until the walltime."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Graph
from tasks.engine.running.batches import Batch, BatchMaker
from tasks.engine.running.devices import CUDA_VARIABLE, Device, list_devices, list_stage_devices, split_names
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.running.workers import Capacity, WorkerPool, WorkerState
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcome, Usage
from tests.engine.simulation import MIB, Clock, create_stage

GIB = 1024 * MIB


class Run:
    """A run with one stage, whose workers take one item per batch."""

    def __init__(self, folder: Path, costs: list[float], max_slots: int | None = None, memory: int = 0) -> None:
        graph = Graph()
        items = [Item(f"item-{number}", cost=cost, memory_bytes=memory) for number, cost in enumerate(costs)]
        self.stage = create_stage("only", max_slots=max_slots)
        graph.node(self.stage, items)
        execution = Execution(shard_size=1, order="manifest")
        self.clock = Clock()
        layout = Layout(folder)
        self.scheduler = Scheduler(graph, layout, execution, clock=self.clock, random_source=random.Random(7))
        self.scheduler.plan()
        self.maker = BatchMaker(self.scheduler, {"cpu": 1}, execution)
        self.pool = WorkerPool()
        self._count = 0

    def take(self, worker: WorkerState) -> str:
        """Give ``worker`` the next batch; return its item, or an empty string."""
        allowance = self.pool.make_allowance(worker, self.clock.now)
        batch = self.maker.take(allowance)
        worker.note_time(self.clock.now, allowance.is_late)
        if batch is None:
            return ""
        batch.device = self.pool.find_device(worker, "only")
        self._count += 1
        worker.batches[self._count] = batch
        worker.has_worked = True
        return batch.items[0].item.id

    def finish(self, worker: WorkerState, seconds: float = 1.0) -> None:
        """Let ``worker`` finish all its items."""
        for number, batch in list(worker.batches.items()):
            self._settle(batch, seconds)
            del worker.batches[number]
        self.clock.now += seconds

    def _settle(self, batch: Batch, seconds: float) -> None:
        usage = Usage(seconds=seconds)
        for planned in batch.items:
            self.scheduler.settle(Outcome(planned.item.id, "only", "done", planned.attempts + 1, usage))

    def join(self, name: str = "worker", threads: int = 1, **capacity: object) -> WorkerState:
        return self.pool.join(name, threads, Capacity(**capacity), self.clock.now)  # type: ignore[arg-type]


def test_worker_takes_no_item_that_it_cannot_finish(tmp_path: Path) -> None:
    """It takes shorter ones instead, and the long one goes to a worker with more time."""
    run = Run(tmp_path, [1.0, 100.0, 2.0, 200.0])
    old = run.join("old", seconds_left=40.0, lifetime=1000.0)
    assert run.take(old) == "item-0"
    run.finish(old, seconds=1.0)
    assert run.take(old) == "item-2", "the next one would take 100 s"
    run.finish(old, seconds=2.0)
    assert run.take(old) == ""
    run.clock.now += 5.0
    assert old.is_late_for(run.clock.now, 2.0)
    young = run.join("young", seconds_left=900.0, lifetime=1000.0)
    assert run.take(young) == "item-1"


def test_queued_items_count_until_the_walltime(tmp_path: Path) -> None:
    run = Run(tmp_path, [1.0, 20.0, 20.0])
    worker = run.join(seconds_left=45.0, lifetime=1000.0)
    assert run.take(worker) == "item-0"
    run.finish(worker)
    assert run.take(worker) == "item-1"
    assert run.take(worker) == "", "44 s are left, of which 20 are taken; 20 s and the margin do not fit"


def test_item_longer_than_every_walltime_runs_on_a_fresh_worker(tmp_path: Path) -> None:
    """The prediction may be wrong, and no other worker has more time."""
    run = Run(tmp_path, [1.0, 500.0])
    first = run.join("first", seconds_left=100.0, lifetime=100.0)
    assert run.take(first) == "item-0"
    run.finish(first, seconds=20.0)
    assert run.take(first) == ""
    assert run.take(run.join("fresh", seconds_left=100.0, lifetime=100.0)) == "item-1"


def test_nothing_known_needs_some_time_left(tmp_path: Path) -> None:
    run = Run(tmp_path, [1.0] * 3)
    assert run.take(run.join("old", seconds_left=20.0, lifetime=1000.0)) == ""
    assert run.take(run.join("young", seconds_left=60.0, lifetime=1000.0)) == "item-0"
    short = run.join("short", threads=2, seconds_left=20.0, lifetime=40.0)
    assert [run.take(short), run.take(short)] == ["item-1", ""], "its whole time is short: it takes one item"


def test_worker_without_walltime_takes_everything(tmp_path: Path) -> None:
    run = Run(tmp_path, [1e9])
    assert run.take(run.join()) == "item-0"


def test_memory_is_that_of_each_worker(tmp_path: Path) -> None:
    """Workers of one machine share its memory, and a limit of their own counts too."""
    run = Run(tmp_path, [1.0] * 3, memory=5 * GIB)
    large = run.join("large", threads=2, machine="a", free_bytes=10 * GIB)
    neighbor = run.join("neighbor", threads=2, machine="a", free_bytes=10 * GIB)
    limited = run.join("limited", threads=2, machine="b", free_bytes=100 * GIB, limit_bytes=GIB)
    assert run.pool.size(large).usable_bytes == 4 * GIB
    assert run.pool.size(limited).usable_bytes == GIB
    run.pool.leave("neighbor")
    assert run.pool.size(large).usable_bytes == 8 * GIB
    assert [run.take(large), run.take(large)] == ["item-0", ""], "two items need more than 8 GiB"
    assert run.take(limited) == "item-1", "a single item always runs"
    assert neighbor.batches == {}


def make_device(identity: str, number: int = 0) -> Device:
    return Device(identity, identity, number, number)


def test_each_device_runs_one_item_at_a_time(tmp_path: Path) -> None:
    """Two workers that see the same device share it; a worker without devices gets no item."""
    run = Run(tmp_path, [1.0] * 9, max_slots=1)
    run.scheduler.nodes[0].max_running = 99
    one, two = make_device("one"), make_device("two", 1)
    first = run.join("first", threads=4, devices={"only": (one, two)})
    second = run.join("second", threads=4, devices={"only": (two,)})
    none = run.join("none", threads=4)
    assert run.pool.count_devices("only") == 2
    assert [run.take(first), run.take(first), run.take(first)] == ["item-0", "item-1", ""]
    assert run.take(second) == ""
    assert run.take(none) == ""
    assert {batch.device for batch in first.batches.values()} == {one, two}
    run.finish(first)
    assert run.take(second) == "item-2"
    assert [run.take(first), run.take(first)] == ["item-3", ""]
    assert {batch.device for batch in first.batches.values()} == {one}


def test_stalled_worker_gets_nothing_until_it_reports(tmp_path: Path) -> None:
    run = Run(tmp_path, [1.0] * 4)
    worker = run.join(threads=2)
    run.take(worker)
    now = run.clock.now
    assert run.pool.list_free(now, 2, 2) == [worker]
    assert run.pool.list_free(now + 6.0, 2, 2) == []
    worker.heard_at = now + 6.0
    assert run.pool.list_free(now + 6.0, 2, 2) == [worker]


def test_least_loaded_workers_come_first(tmp_path: Path) -> None:
    run = Run(tmp_path, [1.0] * 9)
    busy, idle = run.join("busy", threads=2), run.join("idle", threads=2)
    run.take(busy)
    assert run.pool.list_free(run.clock.now, 4, 1) == [idle, busy]
    assert run.pool.list_free(run.clock.now, 2, 1) == [idle], "one of two slots is taken"
    assert run.pool.list_free(run.clock.now, 1, 1) == []


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"HEADRACE_DEVICES": "a, b,a"}, ["a", "b"]),
        ({"HEADRACE_DEVICES": "", CUDA_VARIABLE: "0"}, []),
        ({CUDA_VARIABLE: "2,3"}, ["2", "3"]),
        ({CUDA_VARIABLE: "-1"}, []),
        ({CUDA_VARIABLE: "GPU-1234"}, ["GPU-1234"]),
    ],
)
def test_devices_are_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], names: list[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    devices = list_devices(environment)
    assert [device.name for device in devices] == names
    assert [device.number for device in devices] == list(range(len(names)))
    assert len({device.identity for device in devices}) == len(names)


_LISTING = """GPU 0: NVIDIA H200 (UUID: GPU-aaaa-1)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb-2)
"""
_PARTS = """GPU 0: NVIDIA H200 (UUID: GPU-aaaa-1)
  MIG 1g.18gb     Device  0: (UUID: MIG-cccc-3)
  MIG 1g.18gb     Device  1: (UUID: MIG-dddd-4)
"""


@pytest.mark.parametrize(
    ("listing", "environment", "expected"),
    [
        (_LISTING, {}, [("GPU-aaaa-1", "0", 0), ("GPU-bbbb-2", "1", 1)]),
        (_LISTING, {CUDA_VARIABLE: "1"}, [("GPU-bbbb-2", "1", 1)]),
        (_LISTING, {CUDA_VARIABLE: "GPU-bbbb-2"}, [("GPU-bbbb-2", "GPU-bbbb-2", 1)]),
        (_PARTS, {}, [("MIG-cccc-3", "MIG-cccc-3", 0), ("MIG-dddd-4", "MIG-dddd-4", 1)]),
    ],
)
def test_devices_of_nvidia_are_identified_by_their_uuid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: str, environment: dict[str, str], expected: object
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '%s' '{listing}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert [(device.identity, device.name, device.vulkan) for device in list_devices(environment)] == expected


def test_stage_may_count_its_devices() -> None:
    stage = create_stage("counting", max_slots=3)
    given = (make_device("one"), make_device("two", 1))
    assert list_stage_devices(stage, given) == given
    stage.count_devices = lambda: 1  # type: ignore[method-assign]
    assert list_stage_devices(stage, given) == given[:1]
    assert [device.vulkan for device in list_stage_devices(stage, ())] == [0]


def test_names_end_at_the_first_invalid_one() -> None:
    assert split_names("0,1,-1,2") == ["0", "1"]
