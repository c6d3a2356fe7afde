"""Define a flow of wholes whose parts sleep, for ``overlays.py`` on more slots than this machine has cores."""

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("benchmarks.sleep"))

from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from benchmarks.sleep_stages import SleepStage, WholeStage
from tasks.batch import BatchRun
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import NoParams
from tasks.engine.planning.graph import Graph, Whole
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
    parts = [Item(f"part-{number:04d}", {"seconds": seconds}) for number in range(segments)]

    def steps(run: BatchRun) -> State[Any]:
        graph = Graph()
        sleeping = graph.parts(SleepStage(NoParams()))
        graph.node(WholeStage(NoParams()), [Whole(Item("whole"), lambda: parts)], parts=sleeping)
        run.execute(graph)
        return run.finish()

    return steps
