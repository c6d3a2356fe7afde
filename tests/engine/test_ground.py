"""Test the resources of a run: disk space, the input folder, memory, and the renewal of item processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item, find_input_root
from tasks.engine.run import open_output_dir
from tasks.engine.running import slot, slot_pool
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.control import StopSignal
from tasks.engine.running.lease import run_shard
from tasks.engine.running.messages import Finished, Request
from tasks.engine.running.scratch import check_local_scratch
from tasks.engine.running.slot import Limits, Slot
from tasks.engine.running.slot_pool import SlotPool, close_slots
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcome
from tasks.engine.store.records import RecordStore
from tests.engine.faults import FaultParams, FaultStage
from tests.engine.plans import plan_stage

STAGE = FaultStage(FaultParams())


def run_items(output_dir: Path, items: list[Item]) -> list[Outcome]:
    """Run the unfinished items of ``items`` as one shard in a temporary slot."""
    planned = plan_stage(STAGE, items, RecordStore(Layout(output_dir), STAGE.name), Execution())
    context = RunContext("run", output_dir, Limits(60.0, 1 << 30), input_root=find_input_root(items))
    try:
        return run_shard(ShardOrder(context, STAGE, planned.todo), lambda _: None)
    finally:
        close_slots("run")
        shutil.rmtree(context.private, ignore_errors=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a filesystem of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small filesystem")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_full_disk_stops_the_run_until_space_is_freed(small_disk: Path) -> None:
    output = small_disk / "out"
    items = [Item(f"item-{number:03d}", {"do": "write"}) for number in range(100)]  # about 15 KiB each
    with pytest.raises(RunError, match=r"(disk is full|read-only).*, then run the same command again"):
        run_items(output, items)
    done = RecordStore(Layout(output), STAGE.name).load()
    assert 0 < len(done) < 100
    store = RecordStore(Layout(output), STAGE.name)
    assert all(store.has_intact_outputs(record, "digest") for record in done.values())
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    outcomes = run_items(output, items)
    assert len(outcomes) == 100 - len(done)
    assert {outcome.outcome for outcome in outcomes} == {"done"}


def test_read_only_folder_is_refused_before_the_run(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    refused = pytest.raises(RunError, match=r"cannot write to .*another --output-dir")
    with refused, open_output_dir(Layout(small_disk / "out"), "run"):
        pass


def test_folder_that_becomes_read_only_stops_the_run(small_disk: Path) -> None:
    output = small_disk / "out"
    run_items(output, [Item("first", {"do": "write"})])
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(RunError, match=r"(disk is full|read-only).*, then run the same command again"):
        run_items(output, [Item("second", {"do": "write"})])
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert [outcome.outcome for outcome in run_items(output, [Item("second", {"do": "write"})])] == ["done"]


def test_vanished_input_folder_stops_the_run(tmp_path: Path) -> None:
    inputs, output = tmp_path / "inputs", tmp_path / "out"
    inputs.mkdir()
    paths = [inputs / f"{number}.txt" for number in range(10)]
    for path in paths:
        path.write_text(path.name)
    items = [Item(path.stem, {"do": "copy"}, (str(path),)) for path in paths]
    inputs.rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=r"input folder .*inputs has vanished; bring it back"):
        run_items(output, items)
    (tmp_path / "elsewhere").rename(inputs)
    assert [outcome.outcome for outcome in run_items(output, items)] == ["done"] * 10


def test_missing_input_fails_only_its_item(tmp_path: Path) -> None:
    present = tmp_path / "present.txt"
    present.write_text("x")
    items = [Item(name, {"do": "copy"}, (str(tmp_path / f"{name}.txt"),)) for name in ("absent", "present")]
    assert [outcome.outcome for outcome in run_items(tmp_path / "out", items)] == ["failed", "done"]


def test_no_second_item_starts_while_memory_is_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shares = iter([0.5, 0.9, 0.9, 0.5])
    asked = threading.Semaphore(0)

    def share() -> float:
        asked.release()
        return next(shares, 0.5)

    monkeypatch.setattr(slot_pool, "read_memory_share", share)
    monkeypatch.setattr(slot_pool, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(slot_pool, "_MEMORY_SECONDS", 0.0)
    pool, stop = SlotPool(), StopSignal()
    first, second, third = (Slot(STAGE, name, tmp_path / name) for name in ("first", "second", "third"))
    assert pool.admit(first, stop)  # a single item does not check the memory
    assert not asked.acquire(blocking=False)
    assert pool.admit(second, stop)
    waiting = threading.Thread(target=pool.admit, args=(third, stop))
    waiting.start()
    waiting.join()
    assert next(shares, None) is None  # twice too full, then enough


def test_single_item_starts_even_if_memory_is_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(slot_pool, "read_memory_share", lambda: 0.99)
    pool, stop = SlotPool(), StopSignal()
    first, second = (Slot(STAGE, name, tmp_path / name) for name in ("first", "second"))
    assert pool.admit(first, stop)
    waiting = threading.Thread(target=pool.admit, args=(second, stop))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    pool.leave(first)
    waiting.join(60)
    assert not waiting.is_alive()


def test_stopping_run_does_not_wait_for_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(slot_pool, "read_memory_share", lambda: 0.99)
    pool, stop = SlotPool(), StopSignal()
    assert pool.admit(Slot(STAGE, "first", tmp_path / "first"), stop)
    stop.drain()
    assert not pool.admit(Slot(STAGE, "second", tmp_path / "second"), stop)


def test_item_process_is_renewed_after_many_items(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(slot, "_MAX_ITEMS", 3)
    monkeypatch.setattr(slot, "_MIN_SECONDS", 0.0)
    ledger = tmp_path / "ledger"
    monkeypatch.setenv("HEADRACE_TEST_LEDGER", str(ledger))
    outcomes = run_items(tmp_path / "out", [Item(f"item-{number}", {"do": "write"}) for number in range(7)])
    assert [outcome.outcome for outcome in outcomes] == ["done"] * 7
    pids = [line.split()[2] for line in ledger.read_text().splitlines() if line.startswith("start")]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]
    assert str(os.getpid()) not in pids


def test_inputs_larger_than_the_local_scratch_are_refused(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    paths = [tmp_path / name for name in ("large", "larger", "small")]
    for path, size in zip(paths, (700_000, 800_000, 10), strict=True):
        path.write_bytes(bytes(size))
    items = [Item(path.name, {}, (str(path),)) for path in paths]
    check_local_scratch(items, slots=1)
    with pytest.raises(RunError, match=r"2 items at a time need 1.43 MiB of scratch.*fewer --workers"):
        check_local_scratch(items, slots=2)


def test_item_process_knows_its_slot_number_and_uses_one_core(tmp_path: Path) -> None:
    """Slots can share devices such as graphics cards by number, and do not compete for cores."""
    log = tmp_path / "log"
    log.touch()
    third = Slot(STAGE, "third", log, 2)
    try:
        third.open()
        third.start(Request(Item("item", {"do": "say_the_slot"}), tmp_path / "private", tmp_path))
        reply = third.wait(Limits(60.0, 1 << 30), StopSignal())
    finally:
        third.close()
    assert isinstance(reply, Finished)
    assert reply.result.values == {"slot_number": "2", "threads": 1}
