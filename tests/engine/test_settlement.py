"""Test how finished items are settled: results are published and failures kept, without starting a process."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.contract.errors import LockLost, RunError
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import StageResult
from tasks.engine.planning.basis import BasisMaker
from tasks.engine.planning.identity import read_input_states
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running import settlement
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.messages import Failed, Finished
from tasks.engine.running.scratch import get_local_scratch, make_local_scratch
from tasks.engine.running.settlement import ItemSettler, StartedItem
from tasks.engine.running.slot import Limits
from tasks.engine.store.lock import Owner
from tasks.engine.store.outcomes import Failure, Outcome, Record, Usage
from tasks.engine.store.publish import collect_outputs
from tasks.engine.store.records import RecordStore
from tests.engine.faults import FaultParams, FaultStage

STAGE = FaultStage(FaultParams())
USAGE = Usage(1000.0, 2.0, 1.5, 4096, "slot-1")


def make_settler(tmp_path: Path, slots: int | None = 1, **more: Any) -> ItemSettler:
    """Return the settler of a shard of one item, in a started run."""
    context = RunContext("run-1", tmp_path / "out", Limits(60.0, 1 << 30), slots, **more)
    path = tmp_path / "input.txt"
    path.write_text("input")
    item = Item("a", inputs=(str(path),))
    planned = PlannedItem(item, "key", 0, 2, read_input_states(item))
    RecordStore(context.layout, STAGE.name).prepare()
    context.private.mkdir(parents=True)
    return ItemSettler(ShardOrder(context, STAGE, (planned,)))


def start_item(settler: ItemSettler, *names: str) -> StartedItem:
    """Return the item after its child has answered, with the files that it wrote."""
    (planned,) = settler.order.items
    private = settler.context.private / "process" / STAGE.name / "slot-1" / "a"
    for folder in ("outputs", "scratch"):
        (private / folder).mkdir(parents=True)
    (private / "scratch/left").touch()
    for name in names:
        (private / "outputs" / name).parent.mkdir(parents=True, exist_ok=True)
        (private / "outputs" / name).write_text(name)
    return StartedItem(planned, private, planned.states)


def finish(item: StartedItem) -> Finished:
    return Finished(StageResult({"n": 1}, {"d": 2}), collect_outputs(item.private / "outputs"), USAGE)


def test_result_is_published_and_recorded(tmp_path: Path) -> None:
    settler = make_settler(tmp_path)
    item = start_item(settler, "made/x.txt")
    reply = finish(item)
    outcome = settler.settle(item, reply, b"")
    basis = BasisMaker(settler.order.stage, "stat").describe(item.planned)
    record = Record("a", "faults", 1, "key", reply.outputs, {"n": 1}, {"d": 2}, USAGE, 3, "run-1", basis=basis)
    assert settler.store.load() == {"a": record}
    assert outcome == Outcome.of_record(record)
    assert (tmp_path / "out/made/x.txt").read_text() == "made/x.txt"
    assert list((item.private / "outputs").iterdir()) == []
    assert list((item.private / "scratch").iterdir()) == []


def test_failure_is_kept_with_its_log(tmp_path: Path) -> None:
    settler = make_settler(tmp_path)
    item = start_item(settler, "made/x.txt")
    outcome = settler.settle(item, Failed("crash", "gone\nfor good", USAGE, transient=True), b"what it said")
    log = ".headrace/logs/faults/a.log"
    failure = Failure("a", "faults", "key", "crash", "gone for good", 3, USAGE, "run-1", True, log)
    assert settler.store.load_failures() == {"a": failure}
    assert outcome == Outcome.of_failure(failure)
    assert (tmp_path / "out" / log).read_bytes() == b"what it said"
    assert not (tmp_path / "out/made").exists()
    assert list((item.private / "outputs").iterdir()) == []


def test_failure_without_output_has_no_log(tmp_path: Path) -> None:
    settler = make_settler(tmp_path)
    assert settler.settle(start_item(settler), Failed("timeout", "no result", USAGE), b"").log == ""
    assert not (tmp_path / "out/.headrace/logs").exists()


def test_obstacle_at_an_output_fails_the_item(tmp_path: Path) -> None:
    settler = make_settler(tmp_path)
    item = start_item(settler, "made")
    (tmp_path / "out/made").mkdir()
    outcome = settler.settle(item, finish(item), b"")
    assert (outcome.failure_kind, outcome.usage) == ("error", USAGE)
    assert outcome.message.startswith(f"cannot write {tmp_path}/out/made: it is a folder")


@pytest.mark.parametrize("identity", ["stat", "content"])
@pytest.mark.parametrize("kind", ["finished", "bad_input", "error", "timeout"])
def test_changed_input_replaces_a_result_or_an_error_of_the_stage(tmp_path: Path, identity: Any, kind: Any) -> None:
    settler = make_settler(tmp_path, identity=identity)
    item = start_item(settler)
    Path(item.planned.item.inputs[0]).write_text("another input")
    outcome = settler.settle(item, finish(item) if kind == "finished" else Failed(kind, "x", USAGE), b"")
    if kind == "timeout":
        assert (outcome.failure_kind, outcome.message, outcome.transient) == ("timeout", "x", False)
        return
    assert (outcome.failure_kind, outcome.transient, outcome.usage) == ("error", identity == "content", USAGE)
    assert outcome.message.startswith(f"its input {tmp_path}/input.txt changed while the item was processed")


def test_record_of_this_run_settles_the_item(tmp_path: Path) -> None:
    settler = make_settler(tmp_path, slots=None)
    (planned,) = settler.order.items
    assert settler.find_settled(planned) is None
    record = Record("a", "faults", 1, "key", (), {}, {}, USAGE, 1, "run-1")
    settler.store.write(record)
    assert settler.find_settled(planned) == Outcome.of_record(settler.store.load()["a"])
    assert settler.find_settled(replace(planned, key="other")) is None
    settler.store.write(replace(record, run_id="run-0"))
    assert settler.find_settled(planned) is None


def test_process_with_all_slots_ignores_records_of_its_run(tmp_path: Path) -> None:
    settler = make_settler(tmp_path)
    settler.store.write(Record("a", "faults", 1, "key", (), {}, {}, USAGE, 1, "run-1"))
    assert settler.find_settled(settler.order.items[0]) is None


def test_second_process_uses_the_record_of_the_first(tmp_path: Path) -> None:
    settler = make_settler(tmp_path, slots=None)
    item = start_item(settler, "made/second.txt")
    reply = finish(item)
    first = Record("a", "faults", 1, "key", (), {}, {}, USAGE, 1, "run-1")
    settler.store.write(first)
    assert settler.settle(item, reply, b"") == Outcome.of_record(first)
    assert not (tmp_path / "out/made").exists()
    assert settler.settle(start_again(item), Failed("crash", "x", USAGE), b"") == Outcome.of_record(first)
    assert settler.store.load_failures() == {}


def start_again(item: StartedItem) -> StartedItem:
    return replace(item, private=item.private.with_name("b"))


def test_item_is_claimed_during_publication(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settler = make_settler(tmp_path, slots=None)
    item = start_item(settler, "made/x.txt")
    claim = settler.context.private / "claims/faults/a"
    owners: list[Owner | None] = []
    real = settlement.publish

    def publish(*arguments: Any) -> None:
        owners.append(Owner.decode(claim.read_bytes()))
        real(*arguments)

    monkeypatch.setattr(settlement, "publish", publish)
    assert settler.settle(item, finish(item), b"").outcome == "done"
    (owner,) = owners
    assert owner is not None
    assert (owner.run_id, owner.folder) == ("run-1", "process/faults/slot-1/a")
    assert not claim.exists()


def test_item_with_a_lost_claim_is_left_to_the_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settler = make_settler(tmp_path, slots=None)
    item = start_item(settler, "made/x.txt")

    @contextmanager
    def lose(*_: object) -> Iterator[None]:
        raise LockLost("lost")
        yield

    monkeypatch.setattr(settlement, "claim_lock", lose)
    assert settler.settle(item, finish(item), b"") == Outcome("a", "faults", "remaining")


def test_item_is_not_settled_without_the_lock_of_the_run(tmp_path: Path) -> None:
    settler = make_settler(tmp_path, lock_token="gone")
    item = start_item(settler, "made/x.txt")
    with pytest.raises(LockLost):
        settler.settle(item, finish(item), b"")
    assert not (tmp_path / "out/made").exists()
    assert settler.store.load() == {}
    assert list((item.private / "outputs").iterdir()) == []
    with pytest.raises(LockLost):
        settler.settle(item, Failed("crash", "x", USAGE), b"")
    assert settler.store.load_failures() == {}


def test_lost_lock_is_raised_instead_of_a_write_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settler = make_settler(tmp_path)
    checks: list[LockLost | None] = [None, LockLost("lost")]

    def check(_: object) -> None:
        if loss := checks.pop(0):
            raise loss

    def fail(*_: object) -> None:
        raise RunError("cannot write")

    monkeypatch.setattr(RunContext, "check_lock", check)
    monkeypatch.setattr(settlement, "publish", fail)
    item = start_item(settler)
    with pytest.raises(LockLost, match="lost"):
        settler._publish_claimed(item.private, Record("a", "", 1, "", (), {}, {}, USAGE, 1, ""), None)


class LostClaim:
    """Claim that is lost at its last check."""

    def __init__(self, checks: int) -> None:
        self.checks = checks

    def check(self) -> None:
        self.checks -= 1
        if not self.checks:
            raise LockLost("the claim was lost")


@pytest.mark.parametrize("checks", [1, 2])
def test_claim_is_checked_before_and_after_a_failed_publication(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checks: int
) -> None:
    settler = make_settler(tmp_path)
    published: list[Path] = []

    def fail(private: Path, *_: object) -> None:
        published.append(private)
        raise RunError("cannot write")

    monkeypatch.setattr(settlement, "publish", fail)
    claim: Any = LostClaim(checks)
    record = Record("a", "", 1, "", (), {}, {}, USAGE, 1, "")
    with pytest.raises(LockLost, match="the claim was lost"):
        settler._publish_claimed(tmp_path / "private", record, claim)
    assert published == [tmp_path / "private" / "outputs"][: checks - 1]


@pytest.mark.parametrize(
    ("folder", "removed"),
    [
        ("process/faults/slot-1/a", True),
        ("process/faults/slot-1", False),
        ("process/faults/slot-1/a/outputs", False),
        ("process/faults/../slot-1", False),
        ("/process/faults/slot-1", False),
    ],
)
def test_only_private_folders_of_items_are_fenced(tmp_path: Path, folder: str, removed: bool) -> None:
    settler = make_settler(tmp_path, slots=None)
    item = start_item(settler, "made/x.txt")
    (settler.context.private / "process/slot-1").mkdir()
    settler._fence(folder)
    settler._fence("process/faults/slot-1/never-was")
    assert item.private.exists() is not removed
    assert (settler.context.private / "process/slot-1").exists()
    assert not list(settler.context.private.glob("fenced-*"))


def test_failure_without_input_folder_or_disk_space_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settler = make_settler(tmp_path, input_root=tmp_path / "gone")
    with pytest.raises(RunError) as refused:
        settler.settle(start_item(settler), Failed("bad_input", "x", USAGE), b"")
    vanished = f"the input folder {tmp_path}/gone has vanished; bring it back, then run the same command again"
    assert str(refused.value) == vanished
    (tmp_path / "gone").mkdir()
    (planned,) = settler.order.items
    started = StartedItem(planned, settler.context.private / "process", planned.states)
    with pytest.raises(RunError, match=r"nothing more can be written: the disk is full \(.*\); x; free some space"):
        settler.settle(started, Failed("error", "x", USAGE, no_room="the disk is full"), b"")
    monkeypatch.setattr(settlement, "probe_write", lambda folder: OSError(errno.EROFS, "Read-only", str(folder)))
    with pytest.raises(RunError, match="nothing more can be written: the filesystem is read-only"):
        settler.settle(started, Failed("error", "x", USAGE), b"")
    assert settler.store.load_failures() == {}


def test_disk_error_of_settling_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settler = make_settler(tmp_path)

    def fail(store: RecordStore, _: object) -> None:
        raise OSError(errno.EIO, "error", str(store.failures_folder / "a.json"))

    monkeypatch.setattr(RecordStore, "write_failure", fail)
    with pytest.raises(RunError, match=rf"^cannot write to {tmp_path}/out: the disk reports an input/output error"):
        settler.settle(start_item(settler), Failed("error", "x", USAGE), b"")


@pytest.mark.parametrize("staged", [True, False])
def test_staged_copy_of_a_killed_child_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, staged: bool
) -> None:
    (tmp_path / "tmp").mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    settler = make_settler(tmp_path, stage_inputs=staged)
    copy = get_local_scratch(tmp_path / "out", "run-1") / "faults" / "a"
    make_local_scratch(copy)
    assert settler.local_folder(settler.order.items[0]) == (copy if staged else None)
    settler.clear(start_item(settler))
    assert copy.exists() is not staged
