"""The dry run: lines that say what is to do, and what it will take, from a few probed items."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import StageResult
from tasks.engine.planning.plan import Plan, PlannedItem
from tasks.engine.planning.sizing import Size
from tasks.engine.running import dry_run
from tasks.engine.running.dry_run import Probe, predict_stage, probe_items
from tasks.engine.running.messages import Failed, Finished, Reply, Request
from tasks.engine.running.slot import Limits
from tasks.engine.store.outcomes import Outcome, Outcomes, Output, Usage
from tests.engine.faults import FaultParams, FaultStage

STAGE = FaultStage(FaultParams())
MIB = 2**20


def plan_items(*costs: float) -> tuple[PlannedItem, ...]:
    return tuple(PlannedItem(Item(f"i{n}", cost=cost), "key", n) for n, cost in enumerate(costs))


def size(slots: int = 2) -> Size:
    return Size(slots, 64 * MIB, 128 * MIB, "2 slots: a reason")


def predict(
    monkeypatch: pytest.MonkeyPatch, planned: Plan, probes: list[Probe], free: int = 10 * MIB, slots: int = 2
) -> tuple[list[str], list[list[str]]]:
    """Return the lines of a stage whose probes end as given, and the items that were probed."""
    probed: list[list[str]] = []

    def probe(stage: object, items: list[PlannedItem], *more: object) -> list[Probe]:
        assert (stage, *more) == (STAGE, size(slots), Execution(), Path("out"))
        probed.append([item.item.id for item in items])
        return probes

    def has_free(folder: Path) -> int:
        assert folder == Path("out")
        return free

    monkeypatch.setattr(dry_run, "probe_items", probe)
    monkeypatch.setattr(dry_run, "free_bytes", has_free)
    return list(predict_stage(STAGE, planned, size(slots), Execution(), Path("out"))), probed


def test_a_stage_without_work_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    settled = Outcomes([Outcome("a", "faults", "cached"), Outcome("b", "faults", "cached")])
    lines, probed = predict(monkeypatch, Plan(settled, ()), [])
    assert lines == ["faults: 2 items, 2 cached, 0 to do"]
    assert probed == []


def test_what_was_kept_and_what_is_left_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    settled = Outcomes([Outcome("a", "faults", "cached"), *[Outcome(x, "faults", "failed") for x in "bcd"]])
    lines, _ = predict(monkeypatch, Plan(settled, (), plan_items(1.0, 1.0)), [])
    assert lines == ["faults: 6 items, 1 cached, 0 to do, 3 failed before and kept, 2 left by --max-items"]


def test_the_prediction_scales_probes_by_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six items of cost 10 in two slots, of which two probes of cost 5 took 3 s and 1 MiB in all."""
    probes = [Probe("a", 2.0, 1.0, 30 * MIB, MIB // 4), Probe("b", 3.0, 2.0, 20 * MIB, 3 * MIB // 4)]
    lines, probed = predict(monkeypatch, Plan(Outcomes(), plan_items(1, 1, 1, 2, 2, 3)), probes)
    assert lines == [
        "faults: 6 items, 0 cached, 6 to do",
        "faults: 2 slots: a reason",
        (
            "faults: predicted from 2 probed items: about 0:03 on 2 slots, 30 MiB per item (60 MiB in total), "
            "2 MiB of disk space (10 MiB free)"
        ),
    ]
    assert probed == [["i1", "i3", "i5"]]


def test_a_disk_that_is_too_small_is_said_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = Plan(Outcomes(), plan_items(1.0, 1.0))
    probes = [Probe("a", 1.0, 1.0, MIB, MIB)]
    assert predict(monkeypatch, planned, probes, free=2 * MIB)[0][-1].endswith("2 MiB of disk space (2 MiB free)")
    lines, _ = predict(monkeypatch, planned, probes, free=2 * MIB - 1)
    assert lines[-1].endswith("of disk space (2 MiB free; MORE THAN IS FREE)")


def test_items_without_cost_are_predicted_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, _ = predict(monkeypatch, Plan(Outcomes(), plan_items(0.0)), [Probe("a", 0.0, 1.0, MIB, MIB)])
    assert "about 0:00 on 2 slots" in lines[-1]


def test_probes_that_fail_are_named_and_predict_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = Plan(Outcomes(), plan_items(1.0, 1.0))
    bad, good = Probe("a", 1.0, 9.0, 90 * MIB, 0, "no frames"), Probe("b", 1.0, 1.0, MIB, MIB)
    lines, _ = predict(monkeypatch, planned, [bad, good])
    assert lines[2:] == [
        "faults: probed a: no frames",
        (
            "faults: predicted from 1 probed item: about 0:01 on 2 slots, 1 MiB per item (2 MiB in total), "
            "2 MiB of disk space (10 MiB free)"
        ),
    ]
    lines, _ = predict(monkeypatch, planned, [bad, bad])
    assert lines[2:] == [
        "faults: probed a: no frames",
        "faults: probed a: no frames",
        "faults: no prediction, because all 2 probed items failed",
    ]


@pytest.mark.parametrize(
    ("count", "places"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (4, [0, 2, 3]), (6, [1, 3, 5]), (10, [1, 5, 8])]
)
def test_probed_items_are_spread_evenly_through_the_costs(
    monkeypatch: pytest.MonkeyPatch, count: int, places: list[int]
) -> None:
    items = plan_items(*[float(count - n) for n in range(count)])
    _, (probed,) = predict(monkeypatch, Plan(Outcomes(), items), [Probe("a", 1.0, 1.0, 1, 1)])
    assert probed == [f"i{count - 1 - place}" for place in places]


class RecordedSlot:
    """Stands in for a slot: notes what it is asked, and answers with what it was given."""

    asked: list[object]
    replies: list[Reply]

    def __init__(self, stage: object, label: str, log: Path) -> None:
        assert log.is_file()
        self.asked += [stage, label, log.name]

    def open(self) -> None:
        self.asked.append("open")

    def start(self, request: Request) -> None:
        assert request.private.parent.is_dir()
        self.asked.append((request.item.id, request.private.name, request.output_dir, request.local))

    def wait(self, limits: Limits, stop: object) -> Reply:
        assert stop is not None
        self.asked.append(limits)
        return self.replies.pop(0)

    def close(self) -> None:
        self.asked.append("close")


@pytest.fixture
def slots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[RecordedSlot]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tmp_path.chmod(0o700)
    monkeypatch.setattr(RecordedSlot, "asked", [], raising=False)
    monkeypatch.setattr(RecordedSlot, "replies", [], raising=False)
    monkeypatch.setattr(dry_run, "Slot", RecordedSlot)
    return RecordedSlot


def test_probed_items_run_one_after_another_in_a_slot(slots: type[RecordedSlot]) -> None:
    outputs = (Output("x", 30, "0" * 64), Output("y", 12, "0" * 64))
    slots.replies += [
        Finished(StageResult(), outputs, Usage(seconds=1.5, peak_memory_bytes=7)),
        Failed("bad_input", "no frames", Usage(seconds=0.5, peak_memory_bytes=3)),
    ]
    items = plan_items(2.0, 4.0)
    assert probe_items(STAGE, items, size(), Execution(timeout=5.0), Path("out")) == [
        Probe("i0", 2.0, 1.5, 7, 42),
        Probe("i1", 4.0, 0.5, 3, 0, "no frames"),
    ]
    limits = Limits(5.0, 64 * MIB)
    assert slots.asked == [
        *(STAGE, "probe", "probe.log"),
        *("open", ("i0", "i0", Path("out"), None), limits),
        *("open", ("i1", "i1", Path("out"), None), limits),
        "close",
    ]


@pytest.mark.parametrize(("timeout", "seconds"), [(None, 60.0), (3.0, 3.0), (600.0, 60.0)])
def test_a_probe_takes_a_minute_at_most(slots: type[RecordedSlot], timeout: float | None, seconds: float) -> None:
    slots.replies += [Failed("error", "x", Usage())]
    probe_items(STAGE, plan_items(1.0), size(), Execution(timeout=timeout), Path("out"))
    assert Limits(seconds, 64 * MIB) in slots.asked


def test_the_timeout_of_the_stage_holds_for_probes(slots: type[RecordedSlot], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FaultStage, "timeout_seconds", 7.0)
    slots.replies += [Failed("error", "x", Usage())]
    probe_items(STAGE, plan_items(1.0), size(), Execution(), Path("out"))
    assert Limits(7.0, 64 * MIB) in slots.asked


def test_the_scratch_folder_of_probes_is_gone_even_after_an_error(slots: type[RecordedSlot], tmp_path: Path) -> None:
    with pytest.raises(IndexError):  # no reply is left
        probe_items(STAGE, plan_items(1.0), size(), Execution(), Path("out"))
    assert slots.asked[-1] == "close"
    assert not list(tmp_path.rglob("probe.log"))
