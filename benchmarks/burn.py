"""A stage whose items burn a set amount of CPU, and a flow of it: what ``overhead.py`` measures."""

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("benchmarks.burn"))

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from benchmarks.burn_stage import BurnParams, BurnStage
from tasks.batch import batch_run
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item


def read_inputs(items: int = 1000) -> list[Item]:
    """The items, all alike."""
    return [Item(f"item-{number:05d}") for number in range(items)]


@flow(name="burn", persist_result=False)
def burn(
    output_dir: Path, items: int = 1000, cpu_seconds: float = 0.05, execution: Execution = Execution()
) -> State[Any]:
    """Burn CPU.

    Args:
        output_dir: Folder for the records
        items: How many items
        cpu_seconds: CPU time that each item burns
        execution: How the run is carried out
    """
    with batch_run("burn", output_dir, execution, {"items": items}) as run:
        run.stage(BurnStage(BurnParams(cpu_seconds=cpu_seconds)), read_inputs(items))
        return run.finish()
