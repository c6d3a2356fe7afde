"""Test the number of slots with control groups, emulated by files in a folder."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ByteSize

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.stage import Needs, Stage
from tasks.engine.planning import sizing
from tasks.engine.planning.sizing import Host, RunSize, read_host, size_run
from tests.engine.faults import FaultParams, FaultStage

GIB = 2**30
STAGE = FaultStage(FaultParams())  # 64 MiB per item


def compute_size(items: int = 1000, cores: float = 8, free: int = 16 * GIB, **options: Any) -> RunSize:
    return size_run([STAGE], items, Execution.model_validate(options), Host(cores, free))


@pytest.mark.parametrize(
    ("cores", "slots"), [(1, 1), (2, 2), (4, 4), (8, 7), (16, 15), (32, 30), (0.5, 1), (2.9, 2), (96, 94)]
)
def test_slots_reserve_some_cores_on_a_big_machine(cores: float, slots: int) -> None:
    assert compute_size(cores=cores, free=1000 * GIB).widths["cpu"] == slots


def test_slots_fit_the_memory_and_the_items() -> None:
    assert compute_size(free=GIB).widths["cpu"] == 7
    assert compute_size(free=GIB, memory_per_item="300MiB").widths["cpu"] == 2
    assert compute_size(free=GIB, memory_per_item="30GiB").widths["cpu"] == 1
    assert compute_size(free=0).widths["cpu"] == 1
    assert compute_size(items=3).widths["cpu"] == 3
    assert compute_size(items=0).widths["cpu"] == 1


def test_workers_option_sets_the_slots() -> None:
    computed = compute_size(items=3, workers=20, cores=2)
    assert computed.widths["cpu"] == 20
    assert "--workers 20" in computed.reason


def test_item_may_use_its_share_of_memory_or_all_if_alone() -> None:
    computed, execution = compute_size(cores=4, free=10 * GIB), Execution()
    assert computed.limit(STAGE, execution) == 2 * GIB
    assert computed.limit_alone(STAGE, execution) == 8 * GIB
    execution = Execution.model_validate({"memory_per_item": "500MiB"})
    assert computed.limit(STAGE, execution) == computed.limit_alone(STAGE, execution) == 500 * 2**20
    assert compute_size(cores=4, free=0).limit(STAGE, Execution()) == STAGE.memory_bytes


def test_reason_of_the_slots_is_one_line_with_figures() -> None:
    reason = compute_size(cores=4, free=10 * GIB, items=77).reason
    assert reason.startswith("4 slots (4 cores, 0 reserved; memory would allow 128; 77 items); up to 2 GiB per item")
    assert "\n" not in reason


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create an empty /sys/fs/cgroup with this process in ``/outer/inner``, on a host of 16 cores and 64 GiB."""
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


def test_host_without_limits_has_the_resources_of_the_machine(cgroup: Path) -> None:
    assert read_host() == Host(16.0, 64 * GIB)
    write(cgroup / "outer", cpu__max="max 100000", memory__max="max", memory__current=GIB)
    assert read_host() == Host(16.0, 64 * GIB)


def test_smallest_limit_of_all_parents_applies(cgroup: Path) -> None:
    write(cgroup / "outer/inner", cpu__max="600000 100000", memory__max=8 * GIB, memory__current=GIB)
    assert read_host() == Host(6.0, 7 * GIB)
    write(cgroup / "outer", cpu__max="150000 100000", memory__max=3 * GIB, memory__current=2 * GIB)
    assert read_host() == Host(1.5, GIB)


def test_reclaimable_page_cache_counts_as_free(cgroup: Path) -> None:
    stat = f"anon 5\ninactive_file {GIB}\nactive_file 7"
    write(cgroup / "outer", memory__max=4 * GIB, memory__current=4 * GIB, memory__stat=stat)
    assert read_host().free_memory_bytes == GIB
    write(cgroup / "outer", memory__current=9 * GIB, memory__stat="")
    assert read_host().free_memory_bytes == 0


def test_limits_of_control_groups_version_1_apply(cgroup: Path) -> None:
    write(cgroup / "cpu", cpu__cfs_quota_us=250000, cpu__cfs_period_us=100000)
    used = f"total_inactive_file {GIB}"
    write(cgroup / "memory", memory__limit_in_bytes=4 * GIB, memory__usage_in_bytes=2 * GIB, memory__stat=used)
    assert read_host() == Host(2.5, 3 * GIB)
    write(cgroup / "cpu", cpu__cfs_quota_us=-1)
    write(cgroup / "memory", memory__limit_in_bytes=9223372036854771712)
    assert read_host() == Host(16.0, 64 * GIB)


@pytest.mark.parametrize("content", ["", "nonsense", "max max", "-1 100000"])
def test_invalid_limit_files_are_ignored(cgroup: Path, content: str) -> None:
    write(cgroup / "outer", cpu__max=content, memory__max=content, memory__current=content)
    assert read_host() == Host(16.0, 64 * GIB)


def test_this_host_has_cores_and_memory() -> None:
    host = read_host()
    assert host.cores > 0
    assert host.free_memory_bytes > 0


class DeviceStage(FaultStage):
    """Stage whose items each use one of two devices."""

    def needs(self) -> Needs:
        return Needs(self.memory_bytes, max_slots=2)


def test_slots_do_not_exceed_devices() -> None:
    stage, host = DeviceStage(FaultParams()), Host(16, 64 * GIB)
    computed = size_run([stage], 1000, Execution(), host)
    assert (computed.widths["device"], "2 slots for devices" in computed.reason) == (2, True)
    assert size_run([stage], 1000, Execution(workers=8), host).widths["device"] == 2


class IoStage(FaultStage):
    """Stage of downloads."""

    name = "fetch"
    lane = "io"
    memory_bytes = 1 << 20


class LargeStage(FaultStage):
    """Stage whose items need much memory."""

    name = "large"
    memory_bytes = 4 * GIB


def compute_run_size(
    *stages: Stage, items: int | None = None, cores: float = 8, free: int = 16 * GIB, **options: Any
) -> RunSize:
    return size_run(stages or [STAGE], items, Execution.model_validate(options), Host(cores, free))


def test_run_has_slots_for_its_smallest_items() -> None:
    """Items that need more memory wait for each other: they do not reduce the slots of all stages."""
    params = FaultParams()
    assert compute_run_size(STAGE, LargeStage(params)).widths["cpu"] == 7
    assert compute_run_size(LargeStage(params)).widths["cpu"] == 3
    assert compute_run_size(STAGE, free=GIB, cores=32).widths["cpu"] == 12
    assert compute_run_size(LargeStage(params), IoStage(params)).widths["cpu"] == 3, "downloads occupy no core"
    assert compute_run_size(free=0).widths["cpu"] == 1


def test_run_has_no_more_slots_than_items_if_their_number_is_known() -> None:
    assert compute_run_size(items=3).widths["cpu"] == 3
    assert compute_run_size(items=0).widths["cpu"] == 1
    assert compute_run_size(items=None).widths["cpu"] == 7
    assert compute_run_size(items=3, workers=20).widths["cpu"] == 20


def test_each_lane_has_its_own_slots() -> None:
    params = FaultParams()
    size = compute_run_size(STAGE, IoStage(params), DeviceStage(params), io_slots=5, workers=3)
    assert size.widths == {"cpu": 3, "io": 5, "device": 2}
    assert size.reason.startswith("3 slots (8 cores, 1 reserved; memory would allow 204; set by --workers 3")
    assert "and 2 slots for devices; and 5 slots for downloads" in size.reason
    assert "downloads" not in compute_run_size().reason
    assert compute_run_size().widths == {"cpu": 7, "io": 8, "device": 1}


def test_item_of_a_run_may_use_its_share_or_what_its_stage_needs() -> None:
    large, execution = LargeStage(FaultParams()), Execution()
    size = compute_run_size(STAGE, large, cores=4, free=10 * GIB)
    assert size.usable_bytes == 8 * GIB
    assert size.limit(STAGE, execution) == 2 * GIB
    assert size.limit(large, execution) == 4 * GIB
    assert (size.limit_alone(STAGE, execution), size.limit_alone(large, execution)) == (8 * GIB, 8 * GIB)
    given = Execution(memory_per_item=ByteSize(500 * 2**20))
    assert size.limit(large, given) == size.limit_alone(large, given) == 500 * 2**20
