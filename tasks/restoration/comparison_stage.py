"""The stage that compares several presets on one tape."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import NoParams, Stage, StageResult, Workspace, get_published_file
from tasks.restoration.comparison import Piece, compare_pieces, list_rows
from tasks.restoration.planning import PlannedTape
from tasks.restoration.work import TAPE_PAYLOAD

SHEET, TABLE = "comparison.jpg", "comparison.csv"
_COSTS = TypeAdapter(dict[str, float])


class ComparisonStage(Stage):
    """Compares presets. The item's only input is the tape; its payload is the work of each preset, on all pieces."""

    name: ClassVar[str] = "comparison"
    version: ClassVar[int] = 3
    memory_bytes: ClassVar[int] = 768 * 2**20
    timeout_seconds: ClassVar[float] = 1800.0
    packages: ClassVar[tuple[str, ...]] = ("av", "opencv-contrib-python")

    def __init__(self) -> None:
        super().__init__(NoParams())

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Write the sheet and the table of measurements. Raises BadInput if the tape or a piece cannot be read."""
        source = work.input(item.inputs[0])
        costs = _COSTS.validate_python(item.payload["cpu_seconds"])
        pieces: list[Piece] = []
        for payload in item.payload["presets"]:
            tape, segments = TAPE_PAYLOAD.load(payload)
            for segment in segments:
                file = get_published_file(work.output_dir, tape.segment_path(segment))
                pieces.append(Piece(tape.preset, segment, file, tape.chain, costs[tape.segment_path(segment)]))
        survey = tape.load_survey(work.output_dir)
        sheet, figures = compare_pieces(source, survey, source.stat().st_size, pieces)
        work.output(SHEET).write_bytes(sheet)
        _write_table(work.output(TABLE), list(list_rows(figures)))
        return StageResult({"presets": len(item.payload["presets"]), "pieces": len(pieces)})


def make_comparison_item(
    tapes: Sequence[PlannedTape], cpu_seconds: Mapping[str, float], digests: Mapping[str, str]
) -> Item:
    """Return the item that compares ``tapes``: the same tape with several presets.

    ``cpu_seconds`` and ``digests`` (sha256) belong to the restored pieces, by their paths in the output folder.
    """
    payload: dict[str, Any] = {
        "presets": [TAPE_PAYLOAD.dump(tape.work, tape.segments) for tape in tapes],
        "cpu_seconds": dict(cpu_seconds),
        "digests": dict(digests),
    }
    diagnosed = tapes[0].diagnosed
    return Item("comparison", payload, (str(diagnosed.path),), name=diagnosed.tape.name, path=diagnosed.tape.path)


def _write_table(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
