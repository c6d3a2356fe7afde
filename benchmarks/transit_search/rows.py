"""Rows of results, as they go into JSON and come back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.transit_search.ways import Detection


@dataclass(frozen=True)
class Searched:
    """One light curve as each way searched it.

    kind    ``inverted``, ``scrambled`` or ``injected``
    signal  what was injected: its name to its value; empty where nothing was
    found   by way
    """

    name: str
    family: str
    kind: str
    seed: int
    found: Mapping[str, Detection]
    signal: Mapping[str, float]


def save(path: Path, rows: Iterable[Any]) -> None:
    """Write dataclasses as a JSON list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def load_searched(path: Path) -> list[Searched]:
    """Read what ``save`` wrote."""
    rows = json.loads(path.read_text())
    return [Searched(**{**row, "found": {way: Detection(**of) for way, of in row["found"].items()}}) for row in rows]


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def names(kind: type) -> list[str]:
    """Return the field names of a dataclass."""
    return [field.name for field in fields(kind)]
