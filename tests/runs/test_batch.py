"""Test the results of a finished stage, and that finished shards are released."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.batch import StageRun
from tasks.engine.contract.errors import RunError
from tasks.engine.running import lease as engine_lease
from tasks.engine.running.context import ShardOrder
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcome, Outcomes, Record, Usage
from tasks.engine.store.records import RecordStore
from tests.engine.processes import wait_until
from tests.runs.bench import Bench

MAX_KEPT = 16  # of forty: queued and running shards


def test_records_are_read_lazily(tmp_path: Path) -> None:
    store = RecordStore(Layout(tmp_path), "stage")
    store.prepare()
    written = [Record(name, "stage", 1, "key", (), {}, {"rows": [name]}, Usage(), 1, "run") for name in "abc"]
    for record in written:
        store.write(record)
    outcomes = [Outcome.of_record(record) for record in written]
    outcomes.insert(1, Outcome("left", "stage", "remaining"))
    loaded = StageRun(Outcomes(outcomes), True, store).records()
    assert next(loaded).detail == {"rows": ["a"]}
    (store.folder / "c.json").unlink()
    assert next(loaded) == written[1]
    with pytest.raises(RunError, match="the record of c has vanished"):
        next(loaded)


def test_finished_shards_are_released(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask would keep its last thousand messages, and with them the items of their shards."""
    seen: list[weakref.ref[ShardOrder]] = []
    kept = []
    run_shard = engine_shard.run_shard

    def count_alive() -> int:
        gc.collect()
        return sum(reference() is not None for reference in seen)

    def run_watched(order: ShardOrder, report: Callable[[Outcome], None]) -> Outcomes:
        seen.append(weakref.ref(order))
        if len(seen) == 36:
            wait_until(lambda: count_alive() <= MAX_KEPT, "finished shards are released")  # by busy threads
            kept.append(count_alive())
        return run_shard(order, report)

    monkeypatch.setattr(engine_shard, "run_shard", run_watched)
    bench.write_manifest(*({"id": f"item-{number:02d}"} for number in range(40)))
    assert bench.run("--workers", 2, "--shard-size", 1) == 0
    assert len(seen) == 40
    assert len(kept) == 1
    assert kept[0] <= MAX_KEPT
