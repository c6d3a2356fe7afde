"""Test the records of a stage, and that finished leases are released."""

import gc
import weakref
from pathlib import Path

import pytest

from tasks.engine.contract.errors import RunError
from tasks.engine.planning.graph import Graph
from tasks.engine.running import local_run
from tasks.engine.running.context import ShardOrder
from tasks.engine.running.lease import ItemSource
from tasks.engine.running.slot import Slot
from tests.engine.processes import wait_until
from tests.engine.simulation import Simulation, create_items, create_stage
from tests.runs.bench import Bench

MAX_KEPT = 16  # of forty: queued and running leases


def test_records_are_read_lazily(tmp_path: Path) -> None:
    graph = Graph()
    node = graph.node(create_stage("stage"), create_items("a", "left", "b", "c"))
    run = Simulation(tmp_path, graph)
    for key in run.take_all():
        if key != "stage/left":
            run.finish(key)
    loaded = run.scheduler.run_of(node).records()
    assert next(loaded).id == "a"
    (run.scheduler.run_of(node).store.folder / "c.json").unlink()
    assert next(loaded).id == "b"
    with pytest.raises(RunError, match="the record of c has vanished"):
        next(loaded)


def test_orders_of_finished_leases_are_released(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask would keep its last thousand messages, and with them the objects in them."""
    seen: list[weakref.ref[ShardOrder]] = []
    kept = []
    run_items = local_run.run_items

    def count_alive() -> int:
        gc.collect()
        return sum(reference() is not None for reference in seen)

    def run_watched(order: ShardOrder, slot: Slot, source: ItemSource) -> None:
        seen.append(weakref.ref(order))
        if len(seen) == 36:
            wait_until(lambda: count_alive() <= MAX_KEPT, "orders of finished leases are released")  # by busy threads
            kept.append(count_alive())
        run_items(order, slot, source)

    monkeypatch.setattr(local_run, "run_items", run_watched)
    bench.write_manifest(*({"id": f"item-{number:02d}"} for number in range(40)))
    assert bench.run("--workers", 2, "--shard-seconds", 0.0001) == 0  # a lease per item
    assert len(seen) == 40
    assert len(kept) == 1
    assert kept[0] <= MAX_KEPT
