"""Two processes at the same items, as when a worker does not know that it was cut off: one publishes each item."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.engine.items import Item
from tasks.engine.layout import Layout
from tasks.engine.lock import Owner, claimed
from tasks.engine.outcomes import Outcomes
from tasks.engine.plan import PlannedItem
from tasks.engine.records import RecordStore
from tasks.engine.shard import RunContext, ShardOrder, close_slots, run_shard
from tasks.engine.slot import Limits
from tests.engine.faults import FaultParams, FaultStage
from tests.runs.bench import ROOT

ITEMS = 60


def both(output_dir: Path) -> Outcomes:
    """Run all items, each of which writes who made it."""
    items = tuple(PlannedItem(Item(f"item-{n:02d}", {"do": "sign"}), "key", n) for n in range(ITEMS))
    order = ShardOrder(RunContext("run", output_dir, Limits(60, 1 << 30)), FaultStage(FaultParams()), items)
    try:
        return run_shard(order, lambda _: None)
    finally:
        close_slots("run")


def test_what_both_made_is_published_by_one(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from tests.engine.test_claims import both; both(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    racers = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [racer.wait(120) for racer in racers] == [0, 0]
    store = RecordStore(Layout(tmp_path), "faults")
    found = store.load()
    assert len(found) == ITEMS
    assert [name for name, record in found.items() if not store.outputs_hold(record, "digest")] == []
    assert list((tmp_path / ".headrace/private/run/claims/faults").iterdir()) == []
    assert [*tmp_path.rglob("*.tmp"), *tmp_path.rglob("*.stale")] == []


def test_a_claim_of_the_dead_is_taken_over(tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    dead = subprocess.Popen(["sleep", "60"])
    owner = Owner("run", Owner.myself("").host, dead.pid, 1.0)
    dead.kill()
    dead.wait()
    claim.write_text(str(vars(owner)).replace("'", '"'))
    with claimed(claim, "run"):
        assert claim.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_ends_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), claimed(tmp_path / "claim", "run"):
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []
