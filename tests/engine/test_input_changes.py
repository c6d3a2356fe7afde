"""Detect changed inputs without starting an item."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.engine.contract.execution import Identity
from tasks.engine.contract.items import Item
from tasks.engine.planning.identity import compute_item_key, compute_stage_digest, read_input_states
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running.input_changes import find_change_since_plan, find_change_since_start
from tasks.engine.running.messages import Failed
from tasks.engine.store.outcomes import Usage
from tests.engine.faults import FaultParams, FaultStage

STAGE = FaultStage(FaultParams())


def plan_item(tmp_path: Path, identity: Identity = "stat") -> PlannedItem:
    """Plan an item with two inputs."""
    paths = [tmp_path / name for name in ("first", "second")]
    for path in paths:
        path.write_text("content")
    item = Item("a", inputs=tuple(map(str, paths)))
    return PlannedItem(
        item, compute_item_key(compute_stage_digest(STAGE), item, identity), 0, states=read_input_states(item)
    )


def change(path: str) -> None:
    Path(path).write_text("other!!")
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("identity", ["stat", "content"])
def test_untouched_inputs_are_unchanged(tmp_path: Path, identity: Identity) -> None:
    planned = plan_item(tmp_path, identity)
    assert find_change_since_plan(planned, read_input_states(planned.item), STAGE, identity) is None
    assert find_change_since_start(planned, planned.states) == ""


@pytest.mark.parametrize("identity", ["stat", "content"])
def test_failure_names_the_changed_input(tmp_path: Path, identity: Identity) -> None:
    planned = plan_item(tmp_path, identity)
    changed = planned.item.inputs[1]
    change(changed)
    failed = find_change_since_plan(planned, read_input_states(planned.item), STAGE, identity)
    message = f"its input {changed} changed after the run was planned; give the same command again"
    assert failed == Failed("error", message, Usage())
    assert find_change_since_start(planned, planned.states) == (
        f"its input {changed} changed while the item was processed; "
        "give the same command again once nothing writes to it"
    )


def test_touched_inputs_are_changed_only_for_stat(tmp_path: Path) -> None:
    planned = plan_item(tmp_path, "content")
    os.utime(planned.item.inputs[0], ns=(1, 1))
    states = read_input_states(planned.item)
    assert find_change_since_plan(planned, states, STAGE, "content") is None
    assert find_change_since_plan(planned, states, STAGE, "stat") is not None


def test_vanished_input_is_bad_input(tmp_path: Path) -> None:
    planned = plan_item(tmp_path)
    missing = planned.item.inputs[1]
    Path(missing).unlink()
    failed = find_change_since_plan(planned, read_input_states(planned.item), STAGE, "stat")
    message = f"its input {missing} has vanished; bring it back, then give the same command again"
    assert failed == Failed("bad_input", message, Usage())


def test_inputs_without_recorded_states_are_not_compared(tmp_path: Path) -> None:
    planned = replace(plan_item(tmp_path), states=())
    change(planned.item.inputs[0])
    assert find_change_since_plan(planned, read_input_states(planned.item), STAGE, "stat") is None
