"""The context of a shard: its folders, and whether its run still holds the lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine.contract.errors import LockLost
from tasks.engine.running.context import RunContext
from tasks.engine.running.slot import Limits
from tasks.engine.store.layout import Layout
from tasks.engine.store.lock import hold_lock


def context(output_dir: Path, slots: int | None = 1, lock_token: str = "") -> RunContext:
    return RunContext("run-1", output_dir, Limits(60.0, 1 << 30), slots, lock_token=lock_token)


def test_a_run_has_a_private_folder_in_its_output_folder(tmp_path: Path) -> None:
    assert context(tmp_path).layout == Layout(tmp_path)
    assert context(tmp_path).private == tmp_path / ".headrace/private/run-1"


def test_shards_are_elsewhere_if_their_process_decides_how_many_slots_it_has(tmp_path: Path) -> None:
    assert context(tmp_path, slots=None).elsewhere
    assert not context(tmp_path, slots=1).elsewhere


def test_a_lost_lock_is_noticed_unless_there_was_none(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.state_folder.mkdir()
    with hold_lock(layout.lock, "run-1") as held:
        context(tmp_path, lock_token=held.owner.token).check_lock()
    context(tmp_path).check_lock()
    with pytest.raises(LockLost, match="it is gone"):
        context(tmp_path, lock_token=held.owner.token).check_lock()
