"""Test that processes started by an item end with it, and that its stage's helpers stay."""

import subprocess
import uuid
from pathlib import Path

import pytest

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import StageResult, Workspace
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.lease import run_shard
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.running.watchdog import build_watched_environment
from tests.engine.faults import FaultParams, FaultStage
from tests.engine.processes import MARK, TEMPLATE, find_processes, wait_until_gone

# A process that leaves its parent and its session, and a child of it.
LEAVES = "(setsid sh -c 'sleep 3600 & exec sleep 3600' &) ; (sleep 3600 &)"


class HelpedStage(FaultStage):
    """Stage with a helper process; every item checks that it lives."""

    name = "helped"

    def open(self) -> None:
        self.helper = subprocess.Popen(["sleep", "3601"])

    def run(self, item: Item, work: Workspace) -> StageResult:
        assert self.helper.poll() is None, "the helper has ended"
        if item.payload.get("waits"):
            subprocess.run(["sleep", "0.01"], check=True)
        subprocess.Popen(["sh", "-c", LEAVES]).wait()
        subprocess.Popen(["sleep", "3600"])
        if item.payload.get("fails"):
            raise ValueError("failed")
        return StageResult()


def test_only_the_helper_of_the_stage_lives_between_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = uuid.uuid4().hex
    build_watched_environment()  # start this process's watchdog first, so that it does not inherit the mark
    monkeypatch.setenv(MARK, mark)
    payloads: list[dict[str, object]] = [{}, {"fails": True}, {"waits": True}, {}]
    items = tuple(PlannedItem(Item(f"item-{n}", payload), "key", n) for n, payload in enumerate(payloads))
    context = RunContext("strays", tmp_path, Limits(60, 1 << 30))
    outcomes = run_shard(ShardOrder(context, HelpedStage(FaultParams()), items), lambda _: None)
    try:
        assert [outcome.message for outcome in outcomes] == ["", "ValueError: failed", "", ""]
        left = {pid: words for pid, words in find_processes(mark).items() if TEMPLATE not in words}
        assert len(left) == 2, left
        assert any("sleep 3601" in words for words in left.values())
    finally:
        close_slots("strays")
    wait_until_gone(mark)
