"""Format the results as Markdown tables, and put them into a page."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peer_comparison.catalogue import Peer

START, END = "<!-- peers: start -->", "<!-- peers: end -->"
_TIMES = ("time-5", "time-50", "time-500")
Cell = dict[str, Any]


def format_tables(found: dict[str, Any], peers: Sequence[Peer]) -> str:
    """Return the table of times, the table of faults, and the peers that are missing."""
    measured = [peer for peer in peers if peer.name in found["cells"]]
    parts = [_format_times(found, measured), _format_costs(found, measured), _format_faults(found, measured)]
    parts += [
        f"{peer.title} was not measured: {found['peers'][peer.name]['reason']}"
        for peer in peers
        if "reason" in found["peers"].get(peer.name, {})
    ]
    return "\n\n".join(part for part in parts if part)


def update_page(page: Path, tables: str) -> None:
    """Replace the text between the markers of ``page``."""
    text = page.read_text(encoding="utf-8")
    if START not in text or END not in text:
        raise SystemExit(f"{page} needs the markers {START} and {END}")
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{START}\n\n{tables}\n\n{END}{after}", encoding="utf-8")


def _format_times(found: dict[str, Any], peers: Sequence[Peer]) -> str:
    cells = found["cells"]
    if not any(name in cells[peer.name] for peer in peers for name in _TIMES):
        return ""
    pool = cells.get("pool", {})

    def describe(peer: Peer, name: str) -> str:
        if name not in cells[peer.name]:
            return ""
        own = cells[peer.name][name]
        text = f"{_take_median(own, lambda cell: cell['wall_seconds']):.1f} s"
        if name in pool:
            text += f", {_take_median(own, _measure_pace) / _take_median(pool[name], _measure_pace):.2f}"
            text += f" ({own[0]['items']} items)" if own[0]["items"] < pool[name][0]["items"] else ""
        lost = max(cell["lost"] for cell in own)
        return text + (f", {lost} lost" if lost else "") + _describe_end(own[0])

    slots = found["slots"]
    head = ["peer", *(_describe_size(found, name) for name in _TIMES)]
    head += [f"overhead per item, {name.split('-')[1]} ms" for name in _TIMES]
    rows = []
    for peer in peers:
        version = found["peers"][peer.name].get("version")
        row = [f"{peer.title} {version}" if version else peer.title]
        row += [describe(peer, name) for name in _TIMES]
        row += [_describe_overhead(cells[peer.name].get(name), slots) for name in _TIMES]
        rows.append(row)
    return _format_table(head, rows)


def _format_costs(found: dict[str, Any], peers: Sequence[Peer]) -> str:
    cells = found["cells"]
    if not any(name in cells[peer.name] for peer in peers for name in _TIMES):
        return ""
    head = ["peer", "CPU outside the items, ms per item: 5 ms", "50 ms", "500 ms", "peak memory", "lines of user code"]
    rows = []
    for peer in peers:
        own = cells[peer.name]
        costs = [_describe_cpu(own.get(name)) for name in _TIMES]
        peaks = [cell["peak_bytes"] for name in _TIMES for cell in own.get(name, [])]
        memory = f"{max(peaks) / 2**20:.0f} MiB" if peaks else ""
        rows.append([peer.title, *costs, memory, str(peer.count_code_lines())])
    return _format_table(head, rows)


def _format_faults(found: dict[str, Any], peers: Sequence[Peer]) -> str:
    cells = found["cells"]
    needed = {"clean", "segfault", "hang", "kill"}
    measured = [peer for peer in peers if needed <= cells[peer.name].keys()]
    if not measured:
        return ""
    head = ["peer", "items", "one segfault", "one hang", "1 % of all faults"]
    head += ["`kill -9`: run twice", "lost", "processes left", "deleted file", "truncated file"]
    rows = []
    for peer in measured:
        own = cells[peer.name]
        kill, clean = own["kill"], own["clean"]
        faults = [_describe_fault(own[kind], clean) for kind in ("segfault", "hang")]
        twice = f"{kill['run_twice']} of {kill['ended_before']}" + (" (after unlocking)" if kill["repaired"] else "")
        lost = f"{kill['lost']}" + _describe_end(kill)
        row = [peer.title, str(clean["items"]), *faults, _describe_mixture(own)]
        row += [twice, lost, str(kill["processes_left"])]
        row += [_describe_restored(clean, "deleted"), _describe_restored(clean, "truncated")]
        rows.append(row)
    return _format_table(head, rows)


def _describe_fault(cell: Cell, clean: Cell) -> str:
    if cell["ended"] == "stalled":
        return f"does not end; {cell['lost']} other items lost"
    if cell["ended"] == "capped":
        return f"not done after {cell['wall_seconds']:.0f} s"
    seconds = cell["wall_seconds"] - clean["wall_seconds"]
    words = [f"{cell['lost']} other items lost" if cell["lost"] else f"{seconds:+.1f} s"]
    if cell["repeated"]:
        words.append(f"{cell['repeated']} others run again")
    if cell["fault_runs"] > 1:
        words.append(f"tried {cell['fault_runs']} times")
    return ", ".join(words)


def has_survived(own: dict[str, Any]) -> bool:
    """Return True if a segfault and a hang cost no other item, and both runs ended."""
    cells = [own[kind] for kind in ("segfault", "hang") if kind in own]
    return not any(cell["lost"] or not cell["ended"].startswith("exit") for cell in cells)


def _describe_mixture(own: dict[str, Any]) -> str:
    cell = own.get("mixture")
    if cell is None:
        return "not measured" if has_survived(own) else "not survived"
    text = f"{cell['lost']} lost of {cell['items']}"
    if cell["repeated"]:
        text += f", {cell['repeated']} run again"
    return text + _describe_end(cell)


def _describe_restored(clean: Cell, kind: str) -> str:
    if not clean[f"{kind}_restored"]:
        return "not detected"
    return "restored" + (f" ({clean['again_others']} others run again)" if clean["again_others"] else "")


def _describe_size(found: dict[str, Any], name: str) -> str:
    counts = [cells[name][0]["items"] for cells in found["cells"].values() if name in cells]
    return f"{max(counts, default=0):,} items of {name.split('-')[1]} ms"


def _describe_end(cell: Cell) -> str:
    return "" if cell["ended"].startswith("exit") else f" ({cell['ended']} after {cell['wall_seconds']:.0f} s)"


def _describe_overhead(own: Iterable[Cell] | None, slots: int) -> str:
    """Return how much longer an item takes than its CPU on a slot of its own, from the first item to the last."""
    if not own:
        return ""
    return f"{1000 * _take_median(own, lambda cell: _measure_overhead(cell, slots)):.1f} ms"


def _measure_overhead(cell: Cell, slots: int) -> float:
    done = max(1, cell["ended_items"] + cell["fault_runs"])
    return float((cell["span_seconds"] * slots - cell["items_cpu_seconds"]) / done)


def _describe_cpu(own: Iterable[Cell] | None) -> str:
    if not own:
        return ""
    return f"{1000 * _take_median(own, _measure_cpu):.1f}"


def _measure_cpu(cell: Cell) -> float:
    done = max(1, cell["ended_items"] + cell["fault_runs"])
    return float((cell["cpu_seconds"] - cell["items_cpu_seconds"]) / done)


def _measure_pace(cell: Cell) -> float:
    """Return the seconds per item, from the start of the first to the end of the last."""
    return float(cell["span_seconds"] / max(1, cell["ended_items"] + cell["fault_runs"]))


def _take_median(cells: Iterable[Cell], read: Callable[[Cell], float]) -> float:
    return statistics.median(map(read, cells))


def _format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
