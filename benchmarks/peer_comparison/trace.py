"""Read the log of the items, and check their files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peer_comparison.scripts.item import split_text


@dataclass(frozen=True)
class Trace:
    """Executions by item number, the seconds from the first start to the last end, and the CPU of the items."""

    started: Counter[int]
    ended: Counter[int]
    span_seconds: float
    cpu_seconds: float

    @classmethod
    def read(cls, log: Path, offset: int = 0) -> Trace:
        """Read the lines of ``log`` from ``offset`` on."""
        started: Counter[int] = Counter()
        ended: Counter[int] = Counter()
        times, cpu = [], 0.0
        for line in _read_lines(log, offset):
            kind, number, at, cpu_seconds, _pid = line.split()
            times.append(float(at))
            cpu += float(cpu_seconds)
            if kind == "start":
                started[int(number)] += 1
            elif kind == "end":
                ended[int(number)] += 1
        return cls(started, ended, max(times) - min(times) if times else 0.0, cpu)


def count_ended(log: Path) -> int:
    """Return the number of ends in the log."""
    return sum(line.startswith("end ") for line in _read_lines(log, 0))


def find_missing(folder: Path, items: int) -> list[int]:
    """Return the items without a complete file."""
    return [number for number in range(items) if not _is_complete(folder / f"{number}.txt", number)]


def _is_complete(path: Path, number: int) -> bool:
    try:
        return path.read_text() == "".join(split_text(number))
    except OSError:
        return False


def _read_lines(log: Path, offset: int) -> list[str]:
    if not log.exists():
        return []
    return [line for line in log.read_bytes()[offset:].decode().splitlines() if line]
