"""Test leases: one owner at a time of an output folder in a store."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.engine.contract.errors import LockLost, RunError
from tasks.engine.store import lease as lease_module
from tasks.engine.store.lease import RUN_LEASE, check_lease, hold_lease
from tasks.engine.store.lock import Owner
from tasks.stores.base import WritableStore
from tasks.stores.opening import open_writable_store
from tests.engine.processes import wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(prefix: str, monkeypatch: pytest.MonkeyPatch) -> WritableStore:
    monkeypatch.setenv("HEADRACE_LOCK_SECONDS", "1.5")
    return open_writable_store(prefix)


def list_keys(store: WritableStore) -> list[str]:
    return [info.key for info in store.list()]


def make_foreign_owner(run_id: str) -> Owner:
    """Return an owner on another machine, which cannot be looked up."""
    owner = Owner.mine(run_id)
    return replace(owner, process=replace(owner.process, host="another-machine"))


def test_second_owner_is_refused(store: WritableStore) -> None:
    with hold_lease(store, Owner.mine("first")) as lease:
        lease.check()
        check_lease(store, lease.owner.token)
        with pytest.raises(RunError, match=r"is in use by run first, process \d+"), hold_lease(store, Owner.mine("b")):
            pass
        with pytest.raises(LockLost):
            check_lease(store, "another token")
    assert list_keys(store) == []
    with hold_lease(store, Owner.mine("third")):
        assert list_keys(store) == [f"{RUN_LEASE}/00000001"]


def test_live_owner_on_another_machine_is_noticed(store: WritableStore) -> None:
    said: list[str] = []
    with (
        hold_lease(store, make_foreign_owner("far")),
        pytest.raises(RunError, match="is in use by run far"),
        hold_lease(store, Owner.mine("here"), said.append),
    ):
        pass
    assert len(said) == 1
    assert "waiting up to 2 s for a sign of life" in said[0]


def test_lease_of_dead_process_is_taken_over_at_once(store: WritableStore) -> None:
    code = f"""
import os
from tasks.engine.store.lease import hold_lease
from tasks.engine.store.lock import Owner
from tasks.stores.opening import open_writable_store
with hold_lease(open_writable_store({store.location.url!r}), Owner.mine("dead")):
    os._exit(0)
"""
    environment = {**os.environ, "HEADRACE_LOCK_SECONDS": "600"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment)
    with hold_lease(store, Owner.mine("next")) as lease:
        lease.check()
        assert list_keys(store) == [f"{RUN_LEASE}/00000002"]
    assert list_keys(store) == []


def test_silent_owner_loses_the_lease(store: WritableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "_CLOCK_STEP_SECONDS", 0.0)
    losses: list[LockLost] = []
    with hold_lease(store, make_foreign_owner("silent")) as silent:
        silent.on_loss = losses.append
        monkeypatch.setattr(silent, "_beat", lambda: None)  # it is paused, or cannot reach the store
        with hold_lease(store, Owner.mine("next")) as lease:
            lease.check()
            with pytest.raises(LockLost):
                silent.check()
            monkeypatch.undo()
            wait_until(lambda: bool(losses), "the loss is reported")
            assert list_keys(store) == [f"{RUN_LEASE}/00000002"]
    assert list_keys(store) == []


def test_removed_lease_is_lost(store: WritableStore) -> None:
    losses: list[LockLost] = []
    with hold_lease(store, Owner.mine("first")) as lease:
        lease.on_loss = losses.append
        store.remove(list_keys(store))
        wait_until(lambda: bool(losses), "the loss is noticed")
        with pytest.raises(LockLost, match="it is gone"):
            lease.check()
