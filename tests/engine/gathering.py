"""A stage that puts together what FaultStage has made of parts. Imported by tests and children."""

from __future__ import annotations

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import NoParams, Stage, StageResult, Workspace
from tests.engine.faults import write_to_ledger


class GatherStage(Stage):
    """Writes the notes of all parts into one file, and how many parts lay there then."""

    name = "wholes"
    version = 1
    memory_bytes = 64 << 20

    def __init__(self) -> None:
        super().__init__(NoParams())

    def run(self, item: Item, work: Workspace) -> StageResult:
        write_to_ledger("start", item)
        made = work.output_dir / "made"
        notes = [made / part / "note.txt" for part in item.payload["parts"]]
        if missing := [path.parent.name for path in notes if not path.is_file()]:
            raise BadInput(f"without {', '.join(missing)}")
        work.output(f"wholes/{item.id}.txt").write_text("".join(path.read_text() for path in notes))
        return StageResult({"parts_there": len(list(made.glob("*/note.txt")))})
