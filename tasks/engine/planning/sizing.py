"""How many items can run at a time on this host, from figures that know of cgroups."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.stage import Stage

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_UNLIMITED_BYTES = 1 << 60
MOST_MEMORY_SHARE = 0.8  # in use; above it no further item starts while others run
MEMORY_SHARE = 0.8  # of what is free; the rest is for the page cache, the scheduler and the server


@dataclass(frozen=True)
class Host:
    """What this process may use: ``cores`` (whole or in part) and ``free_memory_bytes``."""

    cores: float
    free_memory_bytes: int


@dataclass(frozen=True)
class Size:
    """The slots of a stage, why, and how much memory an item may use: beside others, and alone on the host."""

    slots: int
    memory_per_slot_bytes: int
    memory_alone_bytes: int
    reason: str


def read_host() -> Host:
    """The smaller of what the machine has and what the control groups of this process allow."""
    folders = _cgroup_folders()
    cores = min([float(_affinity()), *_cpu_limits(folders)])
    free = min([psutil.virtual_memory().available, *_memory_left(folders)])
    return Host(cores, free)


def memory_share() -> float:
    """Share of the memory that this process may use which is in use, 0 to 1."""
    memory = psutil.virtual_memory()
    shares = [1 - memory.available / memory.total]
    for limit, used in _memory_limits(_cgroup_folders()):
        shares.append(used / limit if limit else 1.0)
    return max(shares)


def size_stage(stage: Stage, items: int, execution: Execution, host: Host) -> Size:
    """Slots = min(cores - reserved, free memory / memory per item, items), or what ``--workers`` says.

    Never more than the stage has devices for.
    """
    needs = stage.needs()
    per_item = int(execution.memory_per_item or needs.memory_bytes)
    usable = int(host.free_memory_bytes * MEMORY_SHARE)
    by_cores = max(1, int(host.cores) - _reserved(host.cores))
    by_memory = max(1, usable // per_item)
    wished = execution.workers or max(1, min(by_cores, by_memory, items))
    slots = min(wished, needs.most_slots or wished)
    cap = int(execution.memory_per_item or max(per_item, usable // slots))
    figures = (
        f"{host.cores:g} cores less {_reserved(host.cores)}, {_gib(usable)} usable memory at {_gib(per_item)} an item, "
        f"{items} items"
    )
    why = f"--workers {execution.workers} ({figures})" if execution.workers else f"the least of {figures}"
    why += f"; {needs.most_slots} devices" if needs.most_slots else ""
    alone = int(execution.memory_per_item or max(cap, usable))
    return Size(slots, cap, alone, f"{slots} slots: {why}; an item may use {_gib(cap)}")


def _reserved(cores: float) -> int:
    """Cores left to the scheduler, the server and the user: none on a laptop, where they are mostly idle."""
    return 0 if cores <= 4 else 1 if cores <= 16 else 2


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.2g} GiB"


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_folders() -> list[Path]:
    """The control group of this process and its parents (version 2), then the roots of version 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    unified = [line.split(":", 2)[2] for line in lines if line.startswith("0::")]
    own = _CGROUP_ROOT / unified[0].lstrip("/") if unified else _CGROUP_ROOT
    parents = [own, *own.parents]
    return [folder for folder in parents if folder.is_relative_to(_CGROUP_ROOT)]


def _cpu_limits(folders: list[Path]) -> list[float]:
    """Cores allowed by ``cpu.max`` (v2: quota and period in microseconds) or ``cpu.cfs_quota_us`` (v1)."""
    limits = []
    for folder in folders:
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            limits.append(int(quota) / int(period))
    quota, period = _read(_CGROUP_ROOT / "cpu/cpu.cfs_quota_us"), _read(_CGROUP_ROOT / "cpu/cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit():  # -1 where there is no limit
        limits.append(int(quota) / int(period))
    return limits


def _memory_left(folders: list[Path]) -> list[int]:
    """Bytes that each control group still allows."""
    return [max(0, limit - used) for limit, used in _memory_limits(folders)]


def _memory_limits(folders: list[Path]) -> list[tuple[int, int]]:
    """Limit of each control group that has one, and what is in use. Reclaimable page cache counts as free."""
    pairs = [(folder / "memory.max", folder / "memory.current", folder / "memory.stat") for folder in folders]
    v1 = _CGROUP_ROOT / "memory"
    pairs.append((v1 / "memory.limit_in_bytes", v1 / "memory.usage_in_bytes", v1 / "memory.stat"))
    limits = []
    for limit_file, used_file, stat_file in pairs:
        limit, used = _read(limit_file), _read(used_file)
        if limit.isdigit() and used.isdigit() and int(limit) < _UNLIMITED_BYTES:
            limits.append((int(limit), max(0, int(used) - _reclaimable(_read(stat_file)))))
    return limits


def _reclaimable(stat: str) -> int:
    rows = dict(line.split(" ", 1) for line in stat.splitlines() if " " in line)
    return int(rows.get("inactive_file", rows.get("total_inactive_file", "0")))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
