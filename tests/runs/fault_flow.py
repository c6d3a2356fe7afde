"""Define a flow whose items run the actions of their manifest: ``python tests/runs/fault_flow.py --help``."""

from __future__ import annotations

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("tests.runs.fault_flow"))

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item, make_distinct_ids
from tasks.engine.contract.manifest import find_missing_columns, read_ids, read_table
from tasks.launcher.batch_flow import Steps, batch_flow
from tests.engine.faults import FaultParams, FaultStage

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from tasks.batch import BatchRun

NO_PAYLOAD = {"id", "inputs", "cost", "rank"}


def read_items(manifest: Path) -> list[Item]:
    """Read the items: ``id``, ``inputs`` (paths), ``cost`` and ``rank`` (a field). Other columns are payload."""
    table = read_table(manifest)
    names, problems = read_ids(table.rows)
    all_problems = [*table.problems, *find_missing_columns(table, ["id"], manifest.name), *problems]
    if all_problems:
        raise InvalidInput(all_problems)
    ids = make_distinct_ids([str(name) for name in names])
    return [
        Item(
            item_id,
            {name: value for name, value in row.values.items() if name not in NO_PAYLOAD},
            tuple(row.values.get("inputs", ())),
            float(row.values.get("cost", 1.0)),
            {"rank": row.values.get("rank")},
            str(name),
        )
        for item_id, name, row in zip(ids, names, table.rows, strict=True)
    ]


@batch_flow("fault-flow")
def fault_flow(
    manifest: Path,
    output_dir: Path,
    text: str = "text",
    losses: int = 20,
    deserted_seconds: float = 300.0,
    look_seconds: float = 5.0,
    execution: Execution = Execution(),
) -> Steps:
    """Run the actions of the manifest.

    Args:
        manifest: The items
        output_dir: Output folder
        text: Text that they write
        losses: Maximum number of workers lost in a row
        deserted_seconds: Maximum seconds without a worker
        look_seconds: Seconds between checks for workers
        execution: Execution options
    """
    items = read_items(manifest)

    def steps(run: BatchRun) -> State[Any]:
        from tasks.batch import Patience, remote_loop

        remote_loop._LOOK_SECONDS = look_seconds
        run.patience = Patience(losses, deserted_seconds)
        run.stage(FaultStage(FaultParams(text=text)), items)
        return run.finish()

    return steps
