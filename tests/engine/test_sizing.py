"""Slots from figures that know of control groups: files in a folder that stands for /sys/fs/cgroup."""

from pathlib import Path
from typing import Any

import pytest

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.stage import Needs
from tasks.engine.planning import sizing
from tasks.engine.planning.sizing import Host, read_host, size_stage
from tests.engine.faults import FaultParams, FaultStage

GIB = 2**30
STAGE = FaultStage(FaultParams())  # 64 MiB an item


def size(items: int = 1000, cores: float = 8, free: int = 16 * GIB, **options: Any) -> sizing.Size:
    return size_stage(STAGE, items, Execution.model_validate(options), Host(cores, free))


@pytest.mark.parametrize(
    ("cores", "slots"), [(1, 1), (2, 2), (4, 4), (8, 7), (16, 15), (32, 30), (0.5, 1), (2.9, 2), (96, 94)]
)
def test_slots_leave_some_cores_to_others_on_a_big_machine(cores: float, slots: int) -> None:
    assert size(cores=cores, free=1000 * GIB).slots == slots


def test_slots_fit_the_memory_and_the_items() -> None:
    assert size(free=GIB).slots == 7
    assert size(free=GIB, memory_per_item="300MiB").slots == 2
    assert size(free=GIB, memory_per_item="30GiB").slots == 1
    assert size(free=0).slots == 1
    assert size(items=3).slots == 3
    assert size(items=0).slots == 1


def test_workers_are_what_the_user_says() -> None:
    found = size(items=3, workers=20, cores=2)
    assert found.slots == 20
    assert "--workers 20" in found.reason


def test_an_item_may_use_its_share_of_the_memory_and_all_of_it_alone() -> None:
    found = size(cores=4, free=10 * GIB)
    assert found.memory_per_slot_bytes == 2 * GIB
    assert found.memory_alone_bytes == 8 * GIB
    found = size(cores=4, free=10 * GIB, memory_per_item="500MiB")
    assert found.memory_per_slot_bytes == found.memory_alone_bytes == 500 * 2**20
    assert size(cores=4, free=0).memory_per_slot_bytes == STAGE.memory_bytes


def test_the_reason_is_one_line_with_the_figures() -> None:
    reason = size(cores=4, free=10 * GIB, items=77).reason
    assert reason.startswith("4 slots (4 cores, 0 reserved; memory would allow 128; 77 items); up to 2 GiB per item")
    assert "\n" not in reason


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /sys/fs/cgroup, this process in ``/outer/inner`` of it, on a host of 16 cores and 64 GiB."""
    root = tmp_path / "cgroup"
    (root / "outer/inner").mkdir(parents=True)
    (root / "memory").mkdir()
    (root / "cpu").mkdir()
    monkeypatch.setattr(sizing, "_CGROUP_ROOT", root)
    monkeypatch.setattr(sizing, "_find_cgroup_folders", lambda: [root / "outer/inner", root / "outer", root])
    monkeypatch.setattr(sizing, "_count_affinity", lambda: 16)
    free = type("Memory", (), {"available": 64 * GIB})
    monkeypatch.setattr(sizing.psutil, "virtual_memory", lambda: free)
    return root


def write(folder: Path, **files: object) -> None:
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def test_without_limits_the_machine_counts(cgroup: Path) -> None:
    assert read_host() == Host(16.0, 64 * GIB)
    write(cgroup / "outer", cpu__max="max 100000", memory__max="max", memory__current=GIB)
    assert read_host() == Host(16.0, 64 * GIB)


def test_the_tightest_limit_of_all_parents_counts(cgroup: Path) -> None:
    write(cgroup / "outer/inner", cpu__max="600000 100000", memory__max=8 * GIB, memory__current=GIB)
    assert read_host() == Host(6.0, 7 * GIB)
    write(cgroup / "outer", cpu__max="150000 100000", memory__max=3 * GIB, memory__current=2 * GIB)
    assert read_host() == Host(1.5, GIB)


def test_page_cache_that_can_go_counts_as_free(cgroup: Path) -> None:
    stat = f"anon 5\ninactive_file {GIB}\nactive_file 7"
    write(cgroup / "outer", memory__max=4 * GIB, memory__current=4 * GIB, memory__stat=stat)
    assert read_host().free_memory_bytes == GIB
    write(cgroup / "outer", memory__current=9 * GIB, memory__stat="")
    assert read_host().free_memory_bytes == 0


def test_control_groups_of_version_1(cgroup: Path) -> None:
    write(cgroup / "cpu", cpu__cfs_quota_us=250000, cpu__cfs_period_us=100000)
    used = f"total_inactive_file {GIB}"
    write(cgroup / "memory", memory__limit_in_bytes=4 * GIB, memory__usage_in_bytes=2 * GIB, memory__stat=used)
    assert read_host() == Host(2.5, 3 * GIB)
    write(cgroup / "cpu", cpu__cfs_quota_us=-1)
    write(cgroup / "memory", memory__limit_in_bytes=9223372036854771712)
    assert read_host() == Host(16.0, 64 * GIB)


@pytest.mark.parametrize("content", ["", "nonsense", "max max", "-1 100000"])
def test_files_that_say_nothing_are_no_limits(cgroup: Path, content: str) -> None:
    write(cgroup / "outer", cpu__max=content, memory__max=content, memory__current=content)
    assert read_host() == Host(16.0, 64 * GIB)


def test_this_host_has_something() -> None:
    host = read_host()
    assert host.cores > 0
    assert host.free_memory_bytes > 0


class DeviceStage(FaultStage):
    """Each of its items has one of two devices to itself."""

    def needs(self) -> Needs:
        return Needs(self.memory_bytes, max_slots=2)


def test_no_more_slots_than_devices() -> None:
    stage, host = DeviceStage(FaultParams()), Host(16, 64 * GIB)
    found = size_stage(stage, 1000, Execution(), host)
    assert (found.slots, "limit of the stage: 2" in found.reason) == (2, True)
    assert size_stage(stage, 1000, Execution(workers=8), host).slots == 2
    assert size_stage(stage, 1, Execution(), host).slots == 1
