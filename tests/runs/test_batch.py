"""What a flow gets from a stage that is over, and what it does not keep."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.batch import StageRun
from tasks.engine.contract.errors import RunError
from tasks.engine.running import shard as engine_shard
from tasks.engine.running.context import ShardOrder
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcome, Outcomes, Record, Usage
from tasks.engine.store.records import RecordStore
from tests.engine.processes import wait_until
from tests.runs.bench import Bench

MOST_KEPT = 16  # of forty: those ahead, and those that run


def test_records_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    store = RecordStore(Layout(tmp_path), "stage")
    store.prepare()
    made = [Record(name, "stage", 1, "key", (), {}, {"rows": [name]}, Usage(), 1, "run") for name in "abc"]
    for record in made:
        store.write(record)
    outcomes = [Outcome.of_record(record) for record in made]
    outcomes.insert(1, Outcome("left", "stage", "remaining"))
    found = StageRun(Outcomes(outcomes), True, store).load_records()
    assert next(found).detail == {"rows": ["a"]}
    (store.folder / "c.json").unlink()
    assert next(found) == made[1]
    with pytest.raises(RunError, match="the record of c has vanished"):
        next(found)


def test_shards_that_are_over_are_not_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask would keep the last thousand of its messages, and with them the items of the shards in them."""
    seen: list[weakref.ref[ShardOrder]] = []
    kept = []
    run_shard = engine_shard.run_shard

    def alive() -> int:
        gc.collect()
        return sum(reference() is not None for reference in seen)

    def watched(order: ShardOrder, report: Callable[[Outcome], None]) -> Outcomes:
        seen.append(weakref.ref(order))
        if len(seen) == 36:
            wait_until(lambda: alive() <= MOST_KEPT, "shards that are over are dropped")  # by threads that are busy
            kept.append(alive())
        return run_shard(order, report)

    monkeypatch.setattr(engine_shard, "run_shard", watched)
    bench.write_manifest(*({"id": f"item-{number:02d}"} for number in range(40)))
    assert bench.run("--workers", 2, "--shard-size", 1) == 0
    assert len(seen) == 40
    assert len(kept) == 1
    assert kept[0] <= MOST_KEPT
