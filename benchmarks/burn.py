"""Define a flow whose items burn a set amount of CPU, for ``overhead.py``."""

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("benchmarks.burn"))

from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from benchmarks.burn_stage import BurnParams, BurnStage
from tasks.batch import BatchRun
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.launcher.batch_flow import Steps, batch_flow


@batch_flow("burn")
def burn(
    output_dir: Path,
    items: int = 1000,
    cpu_seconds: float = 0.05,
    bytes: int = 0,
    execution: Execution = Execution(),
) -> Steps:
    """Burn CPU.

    Args:
        output_dir: Folder for the records
        items: Number of items
        cpu_seconds: CPU time that each item burns
        bytes: Size of the file that each item writes; 0 for none
        execution: Execution options
    """

    def steps(run: BatchRun) -> State[Any]:
        stage = BurnStage(BurnParams(cpu_seconds=cpu_seconds, size_bytes=bytes))
        run.stage(stage, [Item(f"item-{number:05d}") for number in range(items)])
        return run.finish()

    return steps
