"""Test the cores and memory of the host, according to its control groups and the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.contract.execution import Execution
from tasks.engine.planning import sizing
from tasks.engine.planning.sizing import Host, RunSize, read_host, size_run
from tests.engine.faults import FaultParams, FaultStage

GIB = 2**30
MACHINE_BYTES = 64 * GIB


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Emulate /sys/fs/cgroup on a machine of 16 cores and 64 GiB with 48 GiB free."""
    root = tmp_path / "fs" / "cgroup"
    (root / "memory").mkdir(parents=True)
    memory = type("Memory", (), {"available": 48 * GIB, "total": MACHINE_BYTES})
    monkeypatch.setattr(sizing.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(sizing, "_CGROUP_ROOT", root)
    return root


@pytest.fixture
def join(groups: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the control groups of this process: the lines of /proc/self/cgroup."""

    def set_groups(lines: str) -> None:
        listing = groups.parent / "self-cgroup"
        listing.write_text(lines)
        monkeypatch.setattr(sizing, "Path", lambda path: listing if path == "/proc/self/cgroup" else Path(path))

    return set_groups


def limit(folder: Path, cores: int, limit_bytes: int = 32 * GIB, used_bytes: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(f"{cores}00000 100000\n")
    (folder / "memory.max").write_text(f"{limit_bytes}\n")
    (folder / "memory.current").write_text(f"{used_bytes}\n")


def test_limits_of_the_group_and_its_parents_apply(groups: Path, join: Any) -> None:
    join("12:cpu:/elsewhere\n0::/outer/in:ner/\n")
    limit(groups / "elsewhere", 1)
    limit(groups / "outer", 4)
    assert read_host() == Host(4.0, 32 * GIB)
    limit(groups / "outer/in:ner", 3, 8 * GIB, GIB)
    assert read_host() == Host(3.0, 7 * GIB)


def test_only_root_limits_apply_without_a_unified_group(groups: Path, join: Any) -> None:
    join("12:cpu:/elsewhere\n")
    limit(groups / "elsewhere", 1)
    limit(groups, 5)
    assert read_host() == Host(5.0, 32 * GIB)


def test_limits_above_the_root_are_ignored(groups: Path, join: Any) -> None:
    join("0::/\n")
    limit(groups.parent, 1)
    assert read_host() == Host(16.0, 48 * GIB)


def test_system_without_control_groups_has_no_limits(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(groups, 1)
    monkeypatch.setattr(sizing, "Path", lambda path: groups / "missing" if path == "/proc/self/cgroup" else Path(path))
    assert read_host() == Host(16.0, 48 * GIB)


@pytest.mark.parametrize(("count", "cores"), [(6, 6.0), (None, 1.0)])
def test_all_cores_count_without_cpu_affinity(
    groups: Path, join: Any, monkeypatch: pytest.MonkeyPatch, count: int | None, cores: float
) -> None:
    join("0::/\n")
    assert groups.is_dir()
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert read_host().cores == cores


def test_memory_share_is_the_maximum_of_machine_and_groups(groups: Path, join: Any) -> None:
    join("0::/outer\n")
    assert sizing.read_memory_share() == 0.25
    limit(groups / "outer", 1, 4 * GIB, 3 * GIB)
    assert sizing.read_memory_share() == 0.75
    limit(groups / "outer", 1, 4 * GIB, GIB // 2)
    assert sizing.read_memory_share() == 0.25
    limit(groups / "outer", 1, 0, 0)
    assert sizing.read_memory_share() == 1.0


def test_memory_share_excludes_reclaimable_page_cache(groups: Path, join: Any) -> None:
    join("0::/outer\n")
    limit(groups / "outer", 1, 4 * GIB, 4 * GIB)
    (groups / "outer/memory.stat").write_text(f"anon 5\nempty\ntotal_inactive_file 7\ninactive_file {GIB}\n")
    assert sizing.read_memory_share() == 0.75


def test_unlimited_group_memory_is_ignored(groups: Path, join: Any) -> None:
    join("0::/outer\n")
    limit(groups / "outer", 1, 2**60, 2**60)
    assert sizing.read_memory_share() == 0.25
    limit(groups / "outer", 1, 2**60 - 1, 2**60 - 1)
    assert sizing.read_memory_share() == 1.0


@pytest.mark.parametrize(("cores", "slots"), [(4, 4), (4.5, 3), (5, 4), (16, 15), (16.5, 14), (17, 15)])
def test_some_cores_are_reserved(cores: float, slots: int) -> None:
    assert size_run([FaultStage(FaultParams())], 100, Execution(), Host(cores, 1000 * GIB)).widths["cpu"] == slots


def test_memory_per_slot_is_a_whole_number_of_bytes() -> None:
    stage = FaultStage(FaultParams())
    size = size_run([stage], 3, Execution(), Host(3, 10 * GIB))
    reason = "3 slots (3 cores, 0 reserved; memory would allow 128; 3 items); up to 2.7 GiB per item"
    assert size == RunSize({"cpu": 3, "io": 8, "device": 1}, 8 * GIB, reason)
    assert size.limit(stage, Execution()) == 8 * GIB // 3
    assert isinstance(size.limit(stage, Execution()), int)


def test_reason_names_the_option_that_set_the_slots() -> None:
    execution = Execution.model_validate({"workers": 2, "memory_per_item": "1GiB"})
    size = size_run([FaultStage(FaultParams())], 9, execution, Host(8, 4 * GIB))
    assert size.widths["cpu"] == 2
    assert size.reason == (
        "2 slots (8 cores, 1 reserved; memory would allow 3; set by --workers 2; 9 items); up to 1 GiB per item"
    )
