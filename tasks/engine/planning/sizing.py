"""Choose the number of slots for this host, with respect to cgroups."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.stage import Lane, Stage
from tasks.engine.contract.text import count_noun

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_UNLIMITED_BYTES = 1 << 60
MAX_MEMORY_SHARE = 0.8  # of memory in use; above it no item starts while others run
MEMORY_SHARE = 0.8  # of free memory; the rest is for the page cache, the scheduler and the server


@dataclass(frozen=True)
class Host:
    """The resources that this process may use: ``cores`` (may be fractional) and ``free_memory_bytes``."""

    cores: float
    free_memory_bytes: int


def read_host() -> Host:
    """Return the resources of the machine, limited by the control groups of this process."""
    folders = _find_cgroup_folders()
    cores = min([float(_count_affinity()), *_read_cpu_limits(folders)])
    free = min([psutil.virtual_memory().available, *_read_memory_left(folders)])
    return Host(cores, free)


def read_memory_share() -> float:
    """Return the share of this process's memory allowance that is in use, 0 to 1."""
    memory = psutil.virtual_memory()
    shares = [1 - memory.available / memory.total]
    for limit, used in _read_memory_limits(_find_cgroup_folders()):
        shares.append(used / limit if limit else 1.0)
    return max(shares)


@dataclass(frozen=True)
class RunSize:
    """The slots of a run by lane, the memory that all items may use together, and the reason."""

    widths: Mapping[Lane, int]
    usable_bytes: int
    reason: str

    def limit(self, stage: Stage, execution: Execution) -> int:
        """Return the memory limit of an item of ``stage`` next to others: an equal share, or what the stage needs."""
        if execution.memory_per_item:
            return int(execution.memory_per_item)
        return max(stage.needs().memory_bytes, self.usable_bytes // self.widths["cpu"])

    def limit_alone(self, stage: Stage, execution: Execution) -> int:
        """Return the memory limit of an item that runs alone on the host."""
        return int(execution.memory_per_item or max(self.limit(stage, execution), self.usable_bytes))


def size_run(stages: Sequence[Stage], max_items: int | None, execution: Execution, host: Host) -> RunSize:
    """Choose the slots of every lane.

    ``cpu``: min(cores - reserved, free memory / memory of the smallest item, ``max_items``), or ``--workers``. Items
    that need more memory wait for each other. ``device``: what the stages allow.
    """
    usable = int(host.free_memory_bytes * MEMORY_SHARE)
    needs = [stage.needs() for stage in stages]
    on_cores = [need for need, stage in zip(needs, stages, strict=True) if not need.max_slots and stage.lane == "cpu"]
    smallest = min((need.memory_bytes for need in on_cores), default=256 * 2**20)
    by_cores = max(1, int(host.cores) - _reserve_cores(host.cores))
    by_memory = max(1, usable // int(execution.memory_per_item or smallest))
    chosen = min(by_cores, by_memory) if max_items is None else min(by_cores, by_memory, max_items)
    slots = execution.workers or max(1, chosen)
    devices = max((need.max_slots for need in needs if need.max_slots), default=0)
    figures = [f"{host.cores:g} cores, {_reserve_cores(host.cores)} reserved", f"memory would allow {by_memory}"]
    figures += [f"set by --workers {execution.workers}"] if execution.workers else []
    figures += [count_noun(max_items, "item")] if max_items is not None else []
    figures += [f"and {count_noun(devices, 'slot')} for devices"] if devices else []
    has_downloads = any(stage.lane == "io" for stage in stages)
    figures += [f"and {count_noun(execution.io_slots, 'slot')} for downloads"] if has_downloads else []
    share = _format_gib(int(execution.memory_per_item or max(smallest, usable // slots)))
    reason = f"{count_noun(slots, 'slot')} ({'; '.join(figures)}); up to {share} per item"
    return RunSize({"cpu": slots, "io": execution.io_slots, "device": max(1, devices)}, usable, reason)


def _reserve_cores(cores: float) -> int:
    """Return the cores reserved for the scheduler, the server and the user; none on a laptop: they are mostly idle."""
    return 0 if cores <= 4 else 1 if cores <= 16 else 2


def _format_gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.2g} GiB"


def _count_affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _find_cgroup_folders() -> list[Path]:
    """Return the control group of this process and its parents (version 2)."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    unified = [line.split(":", 2)[2] for line in lines if line.startswith("0::")]
    own = _CGROUP_ROOT / unified[0].lstrip("/") if unified else _CGROUP_ROOT
    parents = [own, *own.parents]
    return [folder for folder in parents if folder.is_relative_to(_CGROUP_ROOT)]


def _read_cpu_limits(folders: list[Path]) -> list[float]:
    """Return the core limits of ``cpu.max`` (v2: quota and period in microseconds) and ``cpu.cfs_quota_us`` (v1)."""
    limits = []
    for folder in folders:
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            limits.append(int(quota) / int(period))
    quota, period = _read(_CGROUP_ROOT / "cpu/cpu.cfs_quota_us"), _read(_CGROUP_ROOT / "cpu/cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit():  # -1 means no limit
        limits.append(int(quota) / int(period))
    return limits


def _read_memory_left(folders: list[Path]) -> list[int]:
    """Return the bytes that each control group still allows."""
    return [max(0, limit - used) for limit, used in _read_memory_limits(folders)]


def _read_memory_limits(folders: list[Path]) -> list[tuple[int, int]]:
    """Return (limit, bytes in use) for each control group with a limit. Reclaimable page cache counts as free."""
    pairs = [(folder / "memory.max", folder / "memory.current", folder / "memory.stat") for folder in folders]
    v1 = _CGROUP_ROOT / "memory"
    pairs.append((v1 / "memory.limit_in_bytes", v1 / "memory.usage_in_bytes", v1 / "memory.stat"))
    limits = []
    for limit_file, used_file, stat_file in pairs:
        limit, used = _read(limit_file), _read(used_file)
        if limit.isdigit() and used.isdigit() and int(limit) < _UNLIMITED_BYTES:
            limits.append((int(limit), max(0, int(used) - _read_reclaimable(_read(stat_file)))))
    return limits


def _read_reclaimable(stat: str) -> int:
    rows = dict(line.split(" ", 1) for line in stat.splitlines() if " " in line)
    return int(rows.get("inactive_file", rows.get("total_inactive_file", "0")))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
