"""Test the context of a shard: its folders, and the check of the run's lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine.contract.errors import LockLost
from tasks.engine.running.context import RunContext
from tasks.engine.running.slot import Limits
from tasks.engine.store.layout import Layout
from tasks.engine.store.lock import hold_lock


def create_context(output_dir: Path, slots: int | None = 1, lock_token: str = "") -> RunContext:
    return RunContext("run-1", output_dir, Limits(60.0, 1 << 30), slots, lock_token=lock_token)


def test_run_has_a_private_folder_in_its_output_folder(tmp_path: Path) -> None:
    assert create_context(tmp_path).layout == Layout(tmp_path)
    assert create_context(tmp_path).private == tmp_path / ".headrace/private/run-1"


def test_context_without_slots_is_elsewhere(tmp_path: Path) -> None:
    assert create_context(tmp_path, slots=None).elsewhere
    assert not create_context(tmp_path, slots=1).elsewhere


def test_lost_lock_is_noticed_if_the_run_had_one(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.state_folder.mkdir()
    with hold_lock(layout.lock, "run-1") as held:
        create_context(tmp_path, lock_token=held.owner.token).check_lock()
    create_context(tmp_path).check_lock()
    with pytest.raises(LockLost, match="it is gone"):
        create_context(tmp_path, lock_token=held.owner.token).check_lock()
