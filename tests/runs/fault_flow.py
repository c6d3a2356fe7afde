"""A flow whose items do what their manifest says: ``python tests/runs/fault_flow.py --help``."""

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("tests.runs.fault_flow"))

from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from tasks.batch import BatchRun, Patience, loop
from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item, make_distinct_ids
from tasks.engine.contract.manifest import find_missing_columns, read_ids, read_table
from tasks.launcher.batch_flow import Steps, batch_flow
from tests.engine.faults import FaultParams, FaultStage

NO_PAYLOAD = {"id", "inputs", "cost", "rank"}


def read_items(manifest: Path) -> list[Item]:
    """The items: ``id``, ``inputs`` (paths), ``cost`` and ``rank`` (a field); every other column is payload."""
    table = read_table(manifest)
    names, problems = read_ids(table.rows)
    found = [*table.problems, *find_missing_columns(table, ["id"], manifest.name), *problems]
    if found:
        raise InvalidInput(found)
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
    losses: int = Patience.losses,
    deserted_seconds: float = Patience.deserted_seconds,
    look_seconds: float = loop._LOOK_SECONDS,
    execution: Execution = Execution(),
) -> Steps:
    """Do what the manifest says.

    Args:
        manifest: The items
        output_dir: Folder for what they make
        text: What they write
        losses: Workers lost in a row, until the run gives up
        deserted_seconds: Seconds without a worker, until the run gives up
        look_seconds: Between looks whether there is a worker
        execution: How the run is carried out
    """
    items = read_items(manifest)

    def steps(run: BatchRun) -> State[Any]:
        loop._LOOK_SECONDS = look_seconds
        run.patience = Patience(losses, deserted_seconds)
        run.stage(FaultStage(FaultParams(text=text)), items)
        return run.finish()

    return steps
