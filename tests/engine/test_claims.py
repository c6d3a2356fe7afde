"""Run the same items in two processes, as when a worker does not notice its disconnection: one publishes each item."""

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
from tasks.engine.running.lease import run_shard
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


def run_all_items(output_dir: Path, count: int = ITEMS) -> Outcomes:
    """Run all items, each of which writes its process's pid."""
    items = tuple(PlannedItem(Item(f"item-{n:02d}", {"do": "sign"}), "key", n) for n in range(count))
    order = ShardOrder(RunContext("run", output_dir, Limits(60, 1 << 30)), FaultStage(FaultParams()), items)
    try:
        return run_shard(order, lambda _: None)
    finally:
        close_slots("run")


def test_item_of_two_processes_is_published_once(tmp_path: Path) -> None:
    module = "tests.engine.test_claims"
    code = f"import sys; from pathlib import Path; from {module} import run_all_items; run_all_items(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    racers = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [wait_for_exit(racer) for racer in racers] == [0, 0]
    store = RecordStore(Layout(tmp_path), "faults")
    records = store.load()
    assert len(records) == ITEMS
    assert [name for name, record in records.items() if not store.has_intact_outputs(record, "digest")] == []
    assert list((tmp_path / ".headrace/private/run/claims/faults").iterdir()) == []
    assert [*tmp_path.rglob("*.tmp"), *tmp_path.rglob("*.stale")] == []


def test_claim_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    dead = replace(ProcessIdentity.mine(), start_ticks=1)
    claim.write_bytes(replace(Owner.mine("run", "its/private/folder/a"), process=dead).encode())
    fenced: list[str] = []
    with claim_lock(claim, "run", fence=fenced.append):
        assert claim.exists()
    assert fenced == ["its/private/folder/a"]
    assert list(tmp_path.iterdir()) == []


def test_claim_that_a_dead_process_took_over_is_fenced(tmp_path: Path) -> None:
    """A process that takes over a claim may die, or be slow, between its rename and its fence."""
    claim = tmp_path / "claim"
    (tmp_path / ".claim.dead.0123456789ab.tmp").write_bytes(Owner.mine("run", "its/private/folder/a").encode())
    (tmp_path / ".claim.x.dead.0123456789ab.tmp").write_bytes(Owner.mine("run", "of/another/item/a").encode())
    fenced: list[str] = []
    with claim_lock(claim, "run", fence=fenced.append):
        assert fenced == ["its/private/folder/a"]


# argv: the output folder.
PAUSED = "import sys; from pathlib import Path; from tests.engine.test_claims import pause; pause(Path(sys.argv[1]))"


def pause(output_dir: Path) -> None:
    """Publish an item, and stop this process just before the rename of its second file."""
    rename = os.replace

    def replace_after_pause(source: Path, target: Path, **options: Any) -> None:
        if str(target).endswith("second"):
            os.kill(os.getpid(), signal.SIGSTOP)
        rename(source, target, **options)

    os.replace = replace_after_pause  # type: ignore[assignment]
    run_all_items(output_dir, 1)


def test_paused_process_that_lost_its_claim_does_not_publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS_VARIABLE, "1")
    with subprocess.Popen([sys.executable, "-c", PAUSED, str(tmp_path)], cwd=ROOT) as paused:
        try:
            os.waitid(os.P_PID, paused.pid, os.WSTOPPED | os.WNOWAIT)
            assert (tmp_path / "made/item-00/first").exists()
            (outcome,) = run_all_items(tmp_path, 1)
            assert outcome.outcome == "done"
            paused.send_signal(signal.SIGCONT)
            assert wait_for_exit(paused) == 0
        finally:
            paused.kill()
    store = RecordStore(Layout(tmp_path), "faults")
    (record,) = store.load().values()
    assert record.values["maker"] == outcome.values["maker"]
    assert store.has_intact_outputs(record, "digest")


def test_claim_is_released_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), claim_lock(tmp_path / "claim", "run"):
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []
