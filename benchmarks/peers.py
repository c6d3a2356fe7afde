"""Compare Headrace with other tools on the same items: ``python benchmarks/peers.py``.

Every peer is a short script that its user would write, in ``peer_comparison/scripts/``, and runs in its own process and
its own environment under ``.bench/``. Each item burns a fixed amount of CPU, writes one file and appends its start and
end to a log, so executions are counted, not claimed. One cell is one command; results are kept in a JSON file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cyclopts

from benchmarks.machine import describe_machine
from benchmarks.peer_comparison.catalogue import PEERS, Peer
from benchmarks.peer_comparison.cells import Bench, Calibration
from benchmarks.peer_comparison.environments import NotInstallable, prepare_python, read_version
from benchmarks.peer_comparison.running import adopt_orphans, kill_marked
from benchmarks.peer_comparison.tables import format_tables, has_survived, update_page

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("clean", "segfault", "hang", "kill", "time-5", "time-50", "time-500", "mixture")
Results = dict[str, Any]


def main(
    items: int = 2000,
    long_items: int = 200,
    fault_items: int = 200,
    slots: int = 2,
    cap_seconds: float = 120.0,
    repeats: int = 1,
    peers: str = "",
    parts: str = ",".join(PARTS),
    results: Path = Path(".bench/peers.json"),
    docs: Path | None = None,
) -> None:
    """Measure the peers and print the tables.

    Args:
        items: Items of 5 and of 50 ms; 1 % of them raise an exception
        long_items: Items of 500 ms
        fault_items: Items of 50 ms in the runs with a crash, a hang or a kill
        slots: Processes of each peer
        cap_seconds: Time limit per cell; a slow peer gets fewer items
        repeats: Repetitions of the timed cells; medians are printed
        peers: Names, separated by commas (default: all)
        parts: Kinds of cells, separated by commas; none prints the tables from the results file only
        results: JSON file; cells of other peers and parts in it are kept
        docs: Page with markers of the tables, which are replaced
    """
    chosen = _choose_peers(peers)
    found: Results = json.loads(results.read_text()) if results.exists() else {"peers": {}, "cells": {}}
    results.parent.mkdir(parents=True, exist_ok=True)
    if parts:
        sizes = {5: items, 50: items, 500: long_items}
        _measure(found, results, chosen, _choose_parts(parts), slots, fault_items, sizes, cap_seconds, repeats)
    tables = format_tables(found, PEERS)
    print(tables)
    if docs:
        update_page(docs, tables)


def _measure(
    found: Results,
    path: Path,
    peers: list[Peer],
    parts: list[str],
    slots: int,
    fault_items: int,
    sizes: dict[int, int],
    cap_seconds: float,
    repeats: int,
) -> None:
    adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the tools end too
    try:
        with tempfile.TemporaryDirectory(prefix="peers-") as folder:
            comparison = Comparison(Path(folder), slots, path, found)
            pythons = comparison.prepare(peers)
            for peer, python in pythons.items():
                comparison.measure_faults(peer, python, fault_items, parts)
            timed = [(milliseconds, count) for milliseconds, count in sizes.items() if f"time-{milliseconds}" in parts]
            comparison.forget_times(peers, parts)
            for milliseconds, count in timed * repeats:
                for peer, python in pythons.items():
                    comparison.measure_time(peer, python, count, milliseconds, cap_seconds)
            if "mixture" in parts:
                for peer, python in pythons.items():
                    comparison.measure_mixture(peer, python, sizes[50])
    finally:
        kill_marked()


class Comparison:
    """Measures cells and writes each into the results file when it is done."""

    def __init__(self, folder: Path, slots: int, path: Path, found: Results) -> None:
        self._path = path
        self._found = found
        self._bench = Bench(folder, slots, Calibration.measure(slots), folder / "templates")
        found["machine"] = describe_machine()
        found["slots"] = slots
        _say(f"{found['machine']}; load {os.getloadavg()[0]:.1f}")

    def forget_times(self, peers: list[Peer], parts: list[str]) -> None:
        """Drop the timed cells of an earlier run; each repetition adds one."""
        for peer in peers:
            cells = self._found["cells"].get(peer.name, {})
            for name in [name for name in cells if name.startswith("time-") and name in parts]:
                del cells[name]

    def prepare(self, peers: list[Peer]) -> dict[Peer, Path]:
        """Install the peers and run each once; return the interpreters of those that work."""
        pythons = {}
        for peer in peers:
            try:
                python = prepare_python(peer, ROOT / ".bench")
            except NotInstallable as error:
                self._found["peers"][peer.name] = {"reason": str(error)}
                _say(f"{peer.name}: not installed: {error}")
                continue
            self._bench.warm_up(peer, python)
            self._found["peers"][peer.name] = {"version": read_version(peer, python)}
            pythons[peer] = python
        return pythons

    def measure_faults(self, peer: Peer, python: Path, items: int, parts: list[str]) -> None:
        """Measure a run without faults, then with a segfault, a hang and a kill; fewer items if it is slow."""
        cells = self._found["cells"].setdefault(peer.name, {})
        if "clean" in parts:
            cells.pop("clean", None)
            self._keep(peer, "probe", self._bench.measure_time(peer, python, 20, 0.05, 120.0))
            count = self._reduce(peer, items, 0.05, 60.0)
            self._keep(peer, "clean", self._bench.measure_clean(peer, python, count, 0.05))
        count = cells.get("clean", {}).get("items", items)
        for kind in ("segfault", "hang"):
            if kind in parts:
                self._keep(peer, kind, self._bench.measure_fault(peer, python, count, 0.05, kind))
        if "kill" in parts:
            self._keep(peer, "kill", self._bench.measure_kill(peer, python, count, 0.05))

    def measure_mixture(self, peer: Peer, python: Path, items: int) -> None:
        """Measure 1 % of faults of all kinds, if the peer survives a segfault and a hang without losing other items."""
        cells = self._found["cells"][peer.name]
        if not has_survived(cells):
            cells.pop("mixture", None)
            return
        count = self._reduce(peer, items, 0.05, 120.0)
        self._keep(peer, "mixture", self._bench.measure_mixture(peer, python, count, 0.05))

    def measure_time(self, peer: Peer, python: Path, items: int, milliseconds: int, cap_seconds: float) -> None:
        """Measure items of ``milliseconds`` with 1 % exceptions; fewer if the peer is slow."""
        count = self._reduce(peer, items, milliseconds / 1000, cap_seconds)
        cell = self._bench.measure_time(peer, python, count, milliseconds / 1000, cap_seconds)
        self._keep(peer, f"time-{milliseconds}", cell, append=True)

    def _reduce(self, peer: Peer, items: int, cpu_seconds: float, cap_seconds: float) -> int:
        """Return the number of items that fit in 80 % of the cap, by the time of an earlier run."""
        slots = self._bench.slots
        cells = self._found["cells"].get(peer.name, {})
        earlier = cells.get("clean", cells.get("probe"))
        if not earlier or not earlier["ended_items"]:
            return items
        own = max(0.0, earlier["span_seconds"] / earlier["ended_items"] - earlier["cpu_ms"] / 1000 / slots)
        fitting = int(0.8 * cap_seconds / (own + cpu_seconds / slots))
        return items if fitting >= items else max(50, fitting // 50 * 50)

    def _keep(self, peer: Peer, name: str, cell: dict[str, Any], append: bool = False) -> None:
        cell["measured_at"] = time.strftime("%Y-%m-%d %H:%M:%S")
        cells = self._found["cells"].setdefault(peer.name, {})
        earlier = cells.get(name, []) if append else []
        cells[name] = [*earlier, cell] if append else cell
        self._path.write_text(json.dumps(self._found, indent=1) + "\n")
        _say(
            f"  {peer.name} {name}: {cell['items']} items, {cell['wall_seconds']:.1f} s, {cell['ended']}, "
            f"{cell['lost']} lost, {cell['repeated']} repeated, load {cell['load']:.1f}"
        )


def _choose_peers(names: str) -> list[Peer]:
    known = {peer.name: peer for peer in PEERS}
    wanted = [name for name in names.split(",") if name] or list(known)
    if unknown := sorted(set(wanted) - set(known)):
        raise SystemExit(f"--peers: {', '.join(unknown)} unknown; allowed: {', '.join(known)}")
    return [known[name] for name in wanted]


def _choose_parts(names: str) -> list[str]:
    wanted = [name for name in names.split(",") if name]
    if unknown := sorted(set(wanted) - set(PARTS)):
        raise SystemExit(f"--parts: {', '.join(unknown)} unknown; allowed: {', '.join(PARTS)}")
    return wanted


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    cyclopts.run(main)
