"""Test the dry run: the planned work and its predicted cost, from a few probed items."""

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


def build_size(slots: int = 2) -> Size:
    return Size(slots, 64 * MIB, 128 * MIB, "2 slots: a reason")


def predict(
    monkeypatch: pytest.MonkeyPatch, planned: Plan, probes: list[Probe], free: int = 10 * MIB, slots: int = 2
) -> tuple[list[str], list[list[str]]]:
    """Return the lines of a stage whose probes end as given, and the items that were probed."""
    probed: list[list[str]] = []

    def record_probes(stage: object, items: list[PlannedItem], *more: object) -> list[Probe]:
        assert (stage, *more) == (STAGE, build_size(slots), Execution(), Path("out"))
        probed.append([item.item.id for item in items])
        return probes

    def find_free_space(folder: Path) -> int:
        assert folder == Path("out")
        return free

    monkeypatch.setattr(dry_run, "probe_items", record_probes)
    monkeypatch.setattr(dry_run, "free_bytes", find_free_space)
    return list(predict_stage(STAGE, planned, build_size(slots), Execution(), Path("out"))), probed


def test_stage_without_work_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    settled = Outcomes([Outcome("a", "faults", "cached"), Outcome("b", "faults", "cached")])
    lines, probed = predict(monkeypatch, Plan(settled, ()), [])
    assert lines == ["faults: 2 items, 2 cached, 0 to do"]
    assert probed == []


def test_kept_failures_and_remaining_items_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    settled = Outcomes([Outcome("a", "faults", "cached"), *[Outcome(x, "faults", "failed") for x in "bcd"]])
    lines, _ = predict(monkeypatch, Plan(settled, (), plan_items(1.0, 1.0)), [])
    assert lines == ["faults: 6 items, 1 cached, 0 to do, 3 failed before and kept, 2 left by --max-items"]


def test_prediction_scales_probes_by_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six items have cost 10 and two slots; two probes of cost 5 took 3 s and 1 MiB."""
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


def test_prediction_warns_in_capitals_about_a_small_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = Plan(Outcomes(), plan_items(1.0, 1.0))
    probes = [Probe("a", 1.0, 1.0, MIB, MIB)]
    assert predict(monkeypatch, planned, probes, free=2 * MIB)[0][-1].endswith("2 MiB of disk space (2 MiB free)")
    lines, _ = predict(monkeypatch, planned, probes, free=2 * MIB - 1)
    assert lines[-1].endswith("of disk space (2 MiB free; MORE THAN IS FREE)")


def test_items_without_cost_are_predicted_to_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, _ = predict(monkeypatch, Plan(Outcomes(), plan_items(0.0)), [Probe("a", 0.0, 1.0, MIB, MIB)])
    assert "about 0:00 on 2 slots" in lines[-1]


def test_failed_probes_are_named_and_not_used_for_the_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
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
    """Replaces a slot: records requests, and answers with the given replies."""

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
    assert probe_items(STAGE, items, build_size(), Execution(timeout=5.0), Path("out")) == [
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
def test_probe_timeout_is_at_most_a_minute(slots: type[RecordedSlot], timeout: float | None, seconds: float) -> None:
    slots.replies += [Failed("error", "x", Usage())]
    probe_items(STAGE, plan_items(1.0), build_size(), Execution(timeout=timeout), Path("out"))
    assert Limits(seconds, 64 * MIB) in slots.asked


def test_probes_use_the_timeout_of_the_stage(slots: type[RecordedSlot], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FaultStage, "timeout_seconds", 7.0)
    slots.replies += [Failed("error", "x", Usage())]
    probe_items(STAGE, plan_items(1.0), build_size(), Execution(), Path("out"))
    assert Limits(7.0, 64 * MIB) in slots.asked


def test_scratch_folder_of_probes_is_removed_after_an_error(slots: type[RecordedSlot], tmp_path: Path) -> None:
    with pytest.raises(IndexError):  # no reply is left
        probe_items(STAGE, plan_items(1.0), build_size(), Execution(), Path("out"))
    assert slots.asked[-1] == "close"
    assert not list(tmp_path.rglob("probe.log"))
