"""Define a stage that joins the outputs of FaultStage. Imported by tests and child processes."""

from __future__ import annotations

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import NoParams, Stage, StageResult, Workspace
from tests.engine.faults import write_to_ledger


class GatherStage(Stage):
    """Writes the notes of all parts into one file, and the number of parts that exist."""

    name = "wholes"
    version = 1
    memory_bytes = 64 << 20

    def __init__(self) -> None:
        super().__init__(NoParams())

    def run(self, item: Item, work: Workspace) -> StageResult:
        write_to_ledger("start", item)
        folder = work.output_dir / "made"
        notes = [folder / part / "note.txt" for part in item.payload["parts"]]
        if missing := [path.parent.name for path in notes if not path.is_file()]:
            raise BadInput(f"without {', '.join(missing)}")
        work.output(f"wholes/{item.id}.txt").write_text("".join(path.read_text() for path in notes))
        return StageResult({"parts_there": len(list(folder.glob("*/note.txt")))})
