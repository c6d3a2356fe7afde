"""Wholes made of parts that sleep: what ``overlays.py`` measures on more slots than this machine has cores."""

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("benchmarks.sleep"))

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from benchmarks.sleep_stages import SleepStage, WholeStage
from tasks.assembly import Assembly, Whole
from tasks.batch import batch_run
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import NoParams


def read_inputs(segments: int = 64, seconds: float = 10.0) -> list[Whole]:
    """One whole of so many parts, all alike."""
    parts = tuple(Item(f"part-{number:04d}", {"seconds": seconds}) for number in range(segments))
    return [Whole(Item("whole"), parts, 0)]


@flow(name="sleep", persist_result=False)
def sleep(
    output_dir: Path, segments: int = 64, seconds: float = 10.0, execution: Execution = Execution()
) -> State[Any]:
    """Sleep.

    Args:
        output_dir: Folder for the records
        segments: Parts of the whole
        seconds: How long each sleeps
        execution: How the run is carried out
    """
    with batch_run("sleep", output_dir, execution, {"segments": segments}) as run:
        stages = SleepStage(NoParams()), WholeStage(NoParams())
        Assembly(*stages).run(run, read_inputs(segments, seconds))
        return run.finish()
