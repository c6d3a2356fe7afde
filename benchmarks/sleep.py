"""Define a flow of wholes whose parts sleep, for ``overlays.py`` on more slots than this machine has cores."""

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("benchmarks.sleep"))

from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from benchmarks.sleep_stages import SleepStage, WholeStage
from tasks.assembly import Assembly, Whole
from tasks.batch import BatchRun
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import NoParams
from tasks.launcher.batch_flow import Steps, batch_flow


@batch_flow("sleep")
def sleep(output_dir: Path, segments: int = 64, seconds: float = 10.0, execution: Execution = Execution()) -> Steps:
    """Sleep.

    Args:
        output_dir: Folder for the records
        segments: Number of parts
        seconds: Sleep of each part
        execution: Execution options
    """
    parts = tuple(Item(f"part-{number:04d}", {"seconds": seconds}) for number in range(segments))

    def steps(run: BatchRun) -> State[Any]:
        assembly = Assembly(SleepStage(NoParams()), WholeStage(NoParams()))
        assembly.run(run, [Whole(Item("whole"), parts, 0)])
        return run.finish()

    return steps
