"""Change inputs between the plan and the end of their item: results of changed bytes are never recorded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import StageResult, Workspace
from tasks.engine.planning.plan import retry_failed
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.lease import run_shard
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcome
from tasks.engine.store.records import RecordStore
from tests.engine.faults import FaultParams, FaultStage
from tests.engine.plans import plan_stage

BEFORE, OTHER = b"good bytes", b"evil bytes"
Kind = Literal["stat", "content"]


class ReadStage(FaultStage):
    """Returns the content of its input; the payload's ``change`` names a change during the item."""

    name = "read"

    def run(self, item: Item, work: Workspace) -> StageResult:
        source = Path(item.inputs[0])
        file = source / "file" if source.is_dir() else source
        change, changed = item.payload.get("change"), file.parent.parent / "changed"
        if change == "restored in place" or (change == "restored in place once" and not changed.exists()):
            changed.touch()
            replace_in_place(file, OTHER)
            read = file.read_bytes()
            replace_in_place(file, BEFORE)
            return StageResult({"read": read.decode()})
        if change == "replaced":
            replace_by_rename(file, OTHER)
        if change == "removed":
            file.unlink()
            raise ValueError("the stage found nothing")
        return StageResult({"read": file.read_bytes().decode()})


def replace_in_place(file: Path, content: bytes) -> None:
    """Write ``content`` and restore the mtime, as a checkout by a tool that keeps mtimes does."""
    status = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_by_rename(file: Path, content: bytes) -> None:
    """Replace ``file`` by another file of the same size and mtime, as ``rsync -t`` does."""
    other = file.with_name("other")
    other.write_bytes(content)
    shutil.copystat(file, other)
    other.replace(file)


@pytest.fixture(params=["file", "folder"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Create an input: a file, or a folder with a file."""
    folder = tmp_path / "input" / "folder"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(BEFORE)
    return folder if request.param == "folder" else folder / "file"


def get_file(source: Path) -> Path:
    return source / "file" if source.is_dir() else source


class Runs:
    """Runs of one item in one output folder."""

    def __init__(self, output_dir: Path, source: Path, identity: Kind, staged: bool = False) -> None:
        self.store = RecordStore(Layout(output_dir), "read")
        self.item = Item("a", inputs=(str(source),))
        self.stage = ReadStage(FaultParams())
        self.execution = Execution(identity=identity)
        self.context = RunContext("run", output_dir, Limits(60, 1 << 30), 1, identity=identity, stage_inputs=staged)

    def plan(self, change: str = "") -> ShardOrder:
        payload = {"change": change} if change else {}
        item = Item("a", payload, self.item.inputs)
        return ShardOrder(self.context, self.stage, plan_stage(self.stage, [item], self.store, self.execution).todo)

    def run(self, order: ShardOrder) -> Outcome:
        try:
            (outcome,) = run_shard(order, lambda _: None)
        finally:
            close_slots("run")
        return outcome


@pytest.mark.parametrize("identity", ["stat", "content"])
def test_item_with_unchanged_input_is_done_and_cached(tmp_path: Path, source: Path, identity: Kind) -> None:
    runs = Runs(tmp_path / "out", source, identity)
    outcome = runs.run(runs.plan())
    assert (outcome.outcome, outcome.values["read"]) == ("done", BEFORE.decode())
    assert runs.plan().items == ()


@pytest.mark.parametrize("identity", ["stat", "content"])
def test_input_that_changed_temporarily_during_the_item_fails_it(tmp_path: Path, source: Path, identity: Kind) -> None:
    """The input's bytes, size and mtime are restored before the item ends."""
    runs = Runs(tmp_path / "out", source, identity)
    outcome = runs.run(runs.plan("restored in place"))
    assert (outcome.outcome, outcome.failure_kind, outcome.transient) == ("failed", "error", identity == "content")
    assert outcome.message.startswith(f"its input {source} changed while the item was processed")
    assert get_file(source).read_bytes() == BEFORE
    assert len(runs.plan("restored in place").items) == 1


@pytest.mark.parametrize("identity", ["stat", "content"])
def test_input_replaced_during_the_item_fails_it(tmp_path: Path, source: Path, identity: Kind) -> None:
    runs = Runs(tmp_path / "out", source, identity)
    outcome = runs.run(runs.plan("replaced"))
    assert (outcome.outcome, outcome.failure_kind) == ("failed", "error")
    replace_by_rename(get_file(source), BEFORE)
    assert len(runs.plan("replaced").items) == 1


@pytest.mark.parametrize("identity", ["stat", "content"])
def test_input_changed_after_the_plan_is_not_read(tmp_path: Path, source: Path, identity: Kind) -> None:
    runs = Runs(tmp_path / "out", source, identity)
    order = runs.plan()
    get_file(source).write_bytes(OTHER)
    outcome = runs.run(order)
    assert (outcome.outcome, outcome.failure_kind, outcome.transient) == ("failed", "error", False)
    assert outcome.message.startswith(f"its input {source} changed after the run was planned")
    assert runs.run(runs.plan()).values["read"] == OTHER.decode()


@pytest.mark.parametrize("identity", ["stat", "content"])
@pytest.mark.parametrize("replace", [replace_in_place, replace_by_rename])
def test_an_input_replaced_after_the_plan_with_its_size_and_time_is_not_read(
    tmp_path: Path, source: Path, identity: Kind, replace: Callable[[Path, bytes], None]
) -> None:
    runs = Runs(tmp_path / "out", source, identity)
    order = runs.plan()
    replace(get_file(source), OTHER)
    assert runs.run(order).outcome == "failed"
    replace(get_file(source), BEFORE)
    assert runs.run(runs.plan()).values["read"] == BEFORE.decode()


def test_a_new_mode_after_the_plan_changes_nothing_for_content(tmp_path: Path, source: Path) -> None:
    runs = Runs(tmp_path / "out", source, "content")
    order = runs.plan()
    get_file(source).chmod(0o600)
    assert runs.run(order).outcome == "done"


def test_a_new_mode_after_the_plan_leaves_the_item_to_the_next_run_for_stat(tmp_path: Path, source: Path) -> None:
    runs = Runs(tmp_path / "out", source, "stat")
    order = runs.plan()
    get_file(source).chmod(0o600)
    assert runs.run(order).outcome == "failed"
    assert runs.run(runs.plan()).outcome == "done"


def test_a_retry_is_done_once_the_input_is_left_alone(tmp_path: Path, source: Path) -> None:
    runs = Runs(tmp_path / "out", source, "content")
    order = runs.plan("restored in place once")
    assert runs.run(order).transient
    again = ShardOrder(order.context, order.stage, tuple(map(retry_failed, order.items)))
    outcome = runs.run(again)
    assert (outcome.outcome, outcome.attempts, outcome.values["read"]) == ("done", 2, BEFORE.decode())


def test_an_error_from_an_input_that_went_away_names_the_change(tmp_path: Path, source: Path) -> None:
    outcome = Runs(tmp_path / "out", source, "stat").run(Runs(tmp_path / "out", source, "stat").plan("removed"))
    assert outcome.failure_kind == "error"
    assert "changed while the item was processed" in outcome.message


def test_a_copy_in_scratch_is_checked_too(tmp_path: Path, source: Path) -> None:
    runs = Runs(tmp_path / "out", source, "stat", staged=True)
    outcome = runs.run(runs.plan("restored in place"))
    assert outcome.outcome == "failed"


def test_an_input_that_vanished_after_the_plan_is_bad_input(tmp_path: Path, source: Path) -> None:
    runs = Runs(tmp_path / "out", source, "stat")
    order = runs.plan()
    source.rename(source.with_name("away"))
    outcome = runs.run(order)
    assert (outcome.failure_kind, outcome.transient) == ("bad_input", False)
    assert outcome.message.startswith(f"its input {source} has vanished")
