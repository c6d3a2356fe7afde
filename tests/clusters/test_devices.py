"""Items that need a device run on the workers of a cluster: each has one device, and no two share one."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.clusters.dask_processes import start_dask
from tests.runs.bench import Bench

DEVICES = {"one": "stub-a,stub-b", "two": "stub-c"}


def find_overlaps(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the pairs of items that ran at the same time."""
    ordered = sorted(rows, key=lambda row: row["begun"])
    return [(first["id"], then["id"]) for first, then in itertools.pairwise(ordered) if then["begun"] < first["ended"]]


def test_no_two_running_items_share_a_device(bench: Bench, tmp_path: Path) -> None:
    with start_dask(tmp_path / "dask") as dask:
        for name, devices in DEVICES.items():
            dask.add_worker(name, "--nthreads=4", HEADRACE_DEVICES=devices)
        dask.add_worker("none", "--nthreads=4", HEADRACE_DEVICES="")
        dask.wait_for_workers("one", "two", "none")
        options = ("--output-dir", bench.output, "--count", 18, "--scheduler", dask.address, "--shard-size", 2)
        assert bench.run(*options, flow="tests.clusters.device_flow", small=False) == 0
    rows = list(bench.items.values())
    by_device: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_device[row["device"]].append(row)
    assert set(by_device) == {"stub-a", "stub-b", "stub-c"}, "every device was used"
    assert [find_overlaps(items) for items in by_device.values()] == [[], [], []]
    assert find_overlaps(rows), "different devices worked at the same time"
    devices_of = defaultdict(set)
    for row in rows:
        devices_of[row["process"]].add((row["device"], row["imported_with"]))
    assert {len(devices) for devices in devices_of.values()} == {1}, "a process keeps its device"
    assert all(device == imported for devices in devices_of.values() for device, imported in devices)
    assert len(devices_of) == 3, "the process of a device is used again for the next items"


def test_each_slot_of_a_local_run_has_its_device(bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setenv("HEADRACE_DEVICES", "stub-a,stub-b")
    options = ("--output-dir", bench.output, "--count", 3)
    assert bench.run(*options, flow="tests.clusters.device_flow", small=False) == 0
    assert {(row["device"], row["vulkan"]) for row in bench.items.values()} == {("stub-a", "0")}
