"""Two processes at the same items, as when a worker does not know that it was cut off: one publishes each item."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.contract.items import Item
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.shard import run_shard
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.store.layout import Layout
from tasks.engine.store.liveness import ProcessIdentity
from tasks.engine.store.lock import SECONDS_VARIABLE, Owner, claim_lock
from tasks.engine.store.outcomes import Outcomes
from tasks.engine.store.records import RecordStore
from tests.engine.faults import FaultParams, FaultStage
from tests.engine.processes import wait_for_exit
from tests.runs.bench import ROOT

ITEMS = 60


def both(output_dir: Path, count: int = ITEMS) -> Outcomes:
    """Run all items, each of which writes who made it."""
    items = tuple(PlannedItem(Item(f"item-{n:02d}", {"do": "sign"}), "key", n) for n in range(count))
    order = ShardOrder(RunContext("run", output_dir, Limits(60, 1 << 30)), FaultStage(FaultParams()), items)
    try:
        return run_shard(order, lambda _: None)
    finally:
        close_slots("run")


def test_what_both_made_is_published_by_one(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from tests.engine.test_claims import both; both(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    racers = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [wait_for_exit(racer) for racer in racers] == [0, 0]
    store = RecordStore(Layout(tmp_path), "faults")
    found = store.load()
    assert len(found) == ITEMS
    assert [name for name, record in found.items() if not store.has_intact_outputs(record, "digest")] == []
    assert list((tmp_path / ".headrace/private/run/claims/faults").iterdir()) == []
    assert [*tmp_path.rglob("*.tmp"), *tmp_path.rglob("*.stale")] == []


def test_a_claim_of_the_dead_is_taken_over(tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    dead = replace(ProcessIdentity.mine(), start_ticks=1)
    claim.write_bytes(replace(Owner.mine("run", "its/private/folder/a"), process=dead).encode())
    fenced: list[str] = []
    with claim_lock(claim, "run", fence=fenced.append):
        assert claim.exists()
    assert fenced == ["its/private/folder/a"]
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_another_took_away_and_did_not_fence_is_fenced(tmp_path: Path) -> None:
    """Whoever takes a claim over may die, or be slow, between its rename and its fence."""
    claim = tmp_path / "claim"
    (tmp_path / ".claim.dead.0123456789ab.tmp").write_bytes(Owner.mine("run", "its/private/folder/a").encode())
    (tmp_path / ".claim.x.dead.0123456789ab.tmp").write_bytes(Owner.mine("run", "of/another/item/a").encode())
    fenced: list[str] = []
    with claim_lock(claim, "run", fence=fenced.append):
        assert fenced == ["its/private/folder/a"]


# argv: the output folder.
PAUSED = "import sys; from pathlib import Path; from tests.engine.test_claims import pause; pause(Path(sys.argv[1]))"


def pause(output_dir: Path) -> None:
    """Publish an item, and stop this process right before its second file is renamed into place."""
    rename = os.replace

    def pausing(source: Path, target: Path, **options: Any) -> None:
        if str(target).endswith("second"):
            os.kill(os.getpid(), signal.SIGSTOP)
        rename(source, target, **options)

    os.replace = pausing  # type: ignore[assignment]
    both(output_dir, 1)


def test_a_process_that_was_paused_while_it_publishes_publishes_nothing_after_it_lost_its_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECONDS_VARIABLE, "1")
    with subprocess.Popen([sys.executable, "-c", PAUSED, str(tmp_path)], cwd=ROOT) as paused:
        try:
            os.waitid(os.P_PID, paused.pid, os.WSTOPPED | os.WNOWAIT)
            assert (tmp_path / "made/item-00/first").exists()
            (outcome,) = both(tmp_path, 1)
            assert outcome.outcome == "done"
            paused.send_signal(signal.SIGCONT)
            assert wait_for_exit(paused) == 0
        finally:
            paused.kill()
    store = RecordStore(Layout(tmp_path), "faults")
    (record,) = store.load().values()
    assert record.values["maker"] == outcome.values["maker"]
    assert store.has_intact_outputs(record, "digest")


def test_a_claim_ends_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), claim_lock(tmp_path / "claim", "run"):
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []
