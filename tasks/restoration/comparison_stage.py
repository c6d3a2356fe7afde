"""The stage that puts what several presets made of one tape side by side."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import NoParams, Stage, StageResult, Workspace, get_published_file
from tasks.restoration.comparison import Piece, as_rows, compare
from tasks.restoration.planning import PlannedTape
from tasks.restoration.work import TAPE_PAYLOAD

SHEET, TABLE = "comparison.jpg", "comparison.csv"
_COSTS = TypeAdapter(dict[str, float])


class ComparisonStage(Stage):
    """Compares presets. The item's only input is the tape; its payload is the work of each preset, on all pieces."""

    name: ClassVar[str] = "comparison"
    version: ClassVar[int] = 2
    memory_bytes: ClassVar[int] = 768 * 2**20
    timeout_seconds: ClassVar[float] = 1800.0
    packages: ClassVar[tuple[str, ...]] = ("av", "opencv-contrib-python")

    def __init__(self) -> None:
        super().__init__(NoParams())

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Measure, and make sheet and table. Raises BadInput where tape or pieces cannot be read."""
        source = work.input(item.inputs[0])
        costs = _COSTS.validate_python(item.payload["cpu_seconds"])
        pieces: list[Piece] = []
        for payload in item.payload["presets"]:
            tape, segments = TAPE_PAYLOAD.load(payload)
            for segment in segments:
                file = get_published_file(work.output_dir, tape.segment_path(segment))
                pieces.append(Piece(tape.preset, segment, file, tape.chain, costs[tape.segment_path(segment)]))
        found = tape.load_survey(work.output_dir)
        picture, figures = compare(source, found, source.stat().st_size, pieces)
        work.output(SHEET).write_bytes(picture)
        _write_table(work.output(TABLE), list(as_rows(figures)))
        return StageResult({"presets": len(item.payload["presets"]), "pieces": len(pieces)})


def comparison_item(tapes: Sequence[PlannedTape], cpu_seconds: Mapping[str, float], digests: Mapping[str, str]) -> Item:
    """The item that compares ``tapes``, the same one by several presets.

    ``cpu_seconds`` and ``digests`` (sha256) are of each restored piece, by its path in the output folder.
    """
    payload: dict[str, Any] = {
        "presets": [TAPE_PAYLOAD.dump(one.work, one.segments) for one in tapes],
        "cpu_seconds": dict(cpu_seconds),
        "digests": dict(digests),
    }
    known = tapes[0].diagnosed
    return Item("comparison", payload, (str(known.path),), name=known.tape.name, path=known.tape.path)


def _write_table(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
