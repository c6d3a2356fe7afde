"""Result rows, and their JSON and Markdown formats."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.transit_search.methods import Detection


@dataclass(frozen=True)
class CurveResult:
    """The results of all methods for one light curve.

    kind        ``inverted``, ``scrambled`` or ``injected``
    signal      values of the injected signal by name; empty without injection
    detections  by method
    """

    name: str
    family: str
    kind: str
    seed: int
    detections: Mapping[str, Detection]
    signal: Mapping[str, float]


def save(path: Path, rows: Iterable[Any]) -> None:
    """Write dataclasses as a JSON list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def load_searched(path: Path) -> list[CurveResult]:
    """Load the rows that ``save`` wrote."""
    rows = json.loads(path.read_text())
    return [
        CurveResult(**{**row, "detections": {method: Detection(**of) for method, of in row["detections"].items()}})
        for row in rows
    ]


def format_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
