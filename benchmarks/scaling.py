"""Measure how a run scales: ``python benchmarks/scaling.py``. See docs/scaling.md.

dispatch   the real scheduler and the real batches of a cluster, with many workers and items on a simulated clock: time
           and memory per item, messages per second
manifest   time and memory to read a row of a Parquet manifest
records    the time to read a record, which the flow does for each item that a worker reports
events     reports per second that a real Dask scheduler passes on
parts      the time to decide which part an item belongs to
"""

from __future__ import annotations

import heapq
import pickle
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cyclopts
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.graph_stages import TimedStage
from benchmarks.machine import describe_machine
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.manifest import read_table
from tasks.engine.contract.part import Part
from tasks.engine.contract.stage import Lane
from tasks.engine.planning.graph import Graph
from tasks.engine.running.batches import Batch, BatchMaker
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.running.slot import Limits
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcome, Output, Record, Usage
from tasks.engine.store.records import RecordStore

Measure = Literal["dispatch", "manifest", "records", "events", "parts"]
MEASURES: tuple[Measure, ...] = ("dispatch", "manifest", "records", "events", "parts")
_REPORT_SECONDS = 0.5  # between the reports of a worker, as in tasks/batch/worker.py
_STAGE = TimedStage.name


def main(
    measures: Sequence[Measure] = MEASURES,
    items: Sequence[int] = (10_000, 100_000, 1_000_000),
    workers: int = 1000,
    seconds: float = 1.0,
    part: str | None = None,
) -> None:
    """Measure and print the figures.

    Args:
        measures: What is measured
        items: Numbers of items on the simulated clock
        workers: Workers on the simulated clock, each with one slot
        seconds: Mean duration of an item on the simulated clock
        part: Run only this part of the items, such as 2/8, as a run with --part does
    """
    print(describe_machine(), flush=True)
    for measure in measures:
        if measure == "dispatch":
            for count in items:
                _run_apart(str(count), str(workers), str(seconds), part or "")
        else:
            _MEASURES[measure]()


def _run_apart(*words: str) -> None:
    """Simulate in a process of its own, whose memory is measured."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--simulate", *words]
    subprocess.run(command, check=True)


@dataclass
class Worker:
    """A simulated worker with one slot: the batch that it runs, the next one, and the ends of the items."""

    batches: deque[Batch] = field(default_factory=deque)
    ends: deque[float] = field(default_factory=deque)
    items: deque[str] = field(default_factory=deque)


class SimulatedCluster:
    """Workers that run the batches of the real dispatcher, and report as real ones do."""

    def __init__(self, scheduler: Scheduler, workers: int, seconds: Sequence[float], clock: list[float]) -> None:
        widths: dict[Lane, int] = {"cpu": workers, "io": 8, "device": workers}
        self.orders = self.reports = self.order_bytes = self.report_bytes = 0
        self.message_seconds = 0.0
        self._scheduler = scheduler
        self._maker = BatchMaker(scheduler, widths, scheduler.execution)
        self._seconds = seconds
        self._clock = clock
        self._workers = [Worker() for _ in range(workers)]
        self._due: list[tuple[float, int]] = []
        self._context = RunContext("run", Path("/out"), Limits(60.0, 1 << 30))

    def run(self) -> None:
        """Return when all items are settled."""
        for number in [*range(len(self._workers))] * 2:
            self._submit(number)
        while self._due:
            self._clock[0], number = heapq.heappop(self._due)
            self._advance(number)

    def _submit(self, number: int) -> None:
        """Take a batch from the dispatcher for a worker, if there is one."""
        batch = self._maker.take()
        if batch is None:
            return
        self.orders += 1
        if self.orders % 100 == 1:
            self.order_bytes += 100 * len(pickle.dumps(ShardOrder(self._context, batch.node.node.stage, batch.items)))
        worker = self._workers[number]
        worker.batches.append(batch)
        if len(worker.batches) == 1:
            self._begin(number, batch)

    def _begin(self, number: int, batch: Batch) -> None:
        worker, end = self._workers[number], self._clock[0]
        for planned in batch.items:
            end += self._seconds[int(planned.item.id)]
            worker.ends.append(end)
            worker.items.append(planned.item.id)
        self._wait(number, end)

    def _wait(self, number: int, end: float) -> None:
        heapq.heappush(self._due, (min(self._clock[0] + _REPORT_SECONDS, end), number))

    def _advance(self, number: int) -> None:
        """Settle what a worker has finished since its last message: a report, or the result of its batch."""
        worker, now = self._workers[number], self._clock[0]
        batch, done = worker.batches[0], list[str]()
        while worker.ends and worker.ends[0] <= now:
            worker.ends.popleft()
            done.append(worker.items.popleft())
        batch.note("tcp://10.0.0.1:4000", worker.items[0] if worker.items else "", now)
        self.reports += 1
        self.report_bytes += 150 + sum(len(item_id) + 4 for item_id in done)
        for item_id in done:
            batch.open_ids.discard(item_id)
            usage = Usage(now, self._seconds[int(item_id)], 1.0, 1 << 28, "host-000-01")
            self._scheduler.settle(Outcome(item_id, _STAGE, "done", 1, usage, "run", (f"{_STAGE}/{item_id}.txt",)))
        if worker.ends:
            self._wait(number, self._find_end(worker))
            return
        worker.batches.popleft()
        if worker.batches:
            self._begin(number, worker.batches[0])
        self._submit(number)

    def _find_end(self, worker: Worker) -> float:
        return worker.ends[-1]


def simulate(items: int, workers: int, mean_seconds: float, part: str | None) -> None:
    """Run ``items`` of log-normal duration on ``workers``, and print the figures."""
    source = random.Random(7)
    seconds = [mean_seconds * source.lognormvariate(-0.28, 0.75) for _ in range(items)]
    start_bytes = _read_memory()
    graph = Graph()
    graph.node(TimedStage(), [Item(f"{number}", {"seconds": seconds[number]}) for number in range(items)])
    items_bytes = _read_memory()
    clock = [0.0]
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        scheduler = Scheduler(graph, Layout(Path(folder)), Execution(part=part or None), clock=lambda: clock[0])
        scheduler.plan()
        planned, plan_bytes = time.process_time(), _read_memory()
        cluster = SimulatedCluster(scheduler, workers, seconds, clock)
        cluster.run()
        ended, end_bytes = time.process_time(), _read_memory()
    assert scheduler.is_finished
    own = len(scheduler.nodes[0].outcomes)
    ideal = sum(seconds) * own / items / workers
    messages = cluster.orders + cluster.reports
    print(
        f"{items} items of {mean_seconds:g} s{f', part {part} ({own} items)' if part else ''} on {workers} workers: "
        f"{clock[0]:.0f} s simulated ({ideal / clock[0]:.3f} of ideal)\n"
        f"  plan: {(planned - started) / own * 1e6:.1f} us per item\n"
        f"  hand out, report and settle: {(ended - planned) / own * 1e6:.1f} us per item "
        f"(the simulation included), {(ended - planned) / clock[0]:.3f} of a core\n"
        f"  memory: {(items_bytes - start_bytes) / items:.0f} bytes per item given, "
        f"{(plan_bytes - items_bytes) / own:.0f} per planned item, {(end_bytes - items_bytes) / own:.0f} at the end; "
        f"{end_bytes / 2**30:.2f} GiB in all\n"
        f"  orders: {cluster.orders} ({cluster.orders / clock[0]:.1f}/s, {own / cluster.orders:.1f} items, "
        f"{cluster.order_bytes / max(1, cluster.orders) / 1024:.1f} KiB each); "
        f"reports and results: {cluster.reports} ({cluster.reports / clock[0]:.0f}/s); "
        f"messages per item: {messages / own:.2f}; bytes per item: "
        f"{(cluster.order_bytes + cluster.report_bytes) / own:.0f}",
        flush=True,
    )


def _read_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _measure_manifest(count: int = 1_000_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "manifest.parquet")
        names = [f"clip-{number:08d}" for number in range(count)]
        pq.write_table(pa.table({"id": names, "path": [f"in/{name}.mp4" for name in names]}), path)
        size = path.stat().st_size / count
        del names
        before, started = _read_current_memory(), time.process_time()
        table = read_table(path)
        seconds, used = time.process_time() - started, _read_current_memory() - before
    assert len(table.rows) == count
    print(
        f"manifest: {seconds / count * 1e6:.1f} us and {used / count:.0f} bytes to read a row of {size:.0f} bytes "
        "(Parquet, two columns)",
        flush=True,
    )


def _read_current_memory() -> int:
    return psutil.Process().memory_info().rss


def _measure_records(count: int = 5000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = RecordStore(Layout(Path(folder)), _STAGE)
        store.prepare()
        for number in range(count):
            outputs = (Output(f"{_STAGE}/{number}.txt", 1000, "0" * 64),)
            usage = Usage(1000.0, 1.0, 1.0, 1 << 28, "host-000-01")
            store.tree.write(
                f".headrace/records/{_STAGE}/{number}.json",
                _dump(Record(f"{number}", _STAGE, 1, "0" * 64, outputs, {"frames": 100}, {}, usage, 1, "run")),
                durable=False,
            )
        started = time.process_time()
        assert all(store.get(f"{number}") for number in range(count))
        seconds = (time.process_time() - started) / count
    print(f"records: {seconds * 1e6:.0f} us of CPU to read one from a local disk", flush=True)


def _dump(record: Record) -> bytes:
    from pydantic import TypeAdapter

    return TypeAdapter(Record).dump_json(record)


def _measure_events(count: int = 20_000) -> None:
    from distributed import Client, LocalCluster, get_worker

    def report(number: int) -> None:
        worker = get_worker()
        for each in range(number):
            worker.log_event("scaling", {"number": each, "worker": worker.address, "current": "item", "done": ("x",)})

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        received: list[object] = []
        client.subscribe_topic("scaling", received.append)
        started, used = time.monotonic(), time.process_time()
        client.submit(report, count, pure=False).result()
        while len(received) < count:
            time.sleep(0.01)
        seconds, used = time.monotonic() - started, time.process_time() - used
    print(
        f"events: {count / seconds:.0f} reports/s from a worker through a Dask scheduler to the flow; "
        f"{used / count * 1e6:.0f} us of CPU each for scheduler and flow",
        flush=True,
    )


def _measure_parts(count: int = 1_000_000) -> None:
    part, started = Part(3, 8), time.process_time()
    own = sum(part.has(f"item-{number}") for number in range(count))
    seconds = time.process_time() - started
    print(f"parts: {seconds / count * 1e6:.2f} us per item; part {part} has {own / count:.4f} of them", flush=True)


_MEASURES: dict[Measure, Callable[[], None]] = {
    "manifest": _measure_manifest,
    "records": _measure_records,
    "events": _measure_events,
    "parts": _measure_parts,
}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--simulate"]:
        simulate(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5])
    else:
        cyclopts.run(main)
