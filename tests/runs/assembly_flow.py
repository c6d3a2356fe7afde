"""A flow of wholes that are put together of parts: ``python tests/runs/assembly_flow.py --help``."""

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("tests.runs.assembly_flow"))

import json
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State
from pydantic import ByteSize

from tasks.assembly import Assembly, Whole
from tasks.batch import BatchRun
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.launcher.batch_flow import Steps, batch_flow
from tests.engine.faults import FaultParams, FaultStage
from tests.engine.gathering import GatherStage


def read_wholes(plan: Path) -> list[Whole]:
    """The wholes: ``{"whole": {"parts": {"part": {"do": ...}}, "bytes": 10}}``."""
    wholes = json.loads(plan.read_text())
    return [
        Whole(
            Item(name, {"parts": list(one["parts"])}),
            tuple(Item(part, payload) for part, payload in one["parts"].items()),
            one.get("bytes", 0),
        )
        for name, one in wholes.items()
    ]


@batch_flow("assembly-flow")
def assembly_flow(
    plan: Path,
    output_dir: Path,
    scratch: ByteSize | None = None,
    keep: bool = False,
    execution: Execution = Execution(),
) -> Steps:
    """Put together what the plan says.

    Args:
        plan: The wholes
        output_dir: Folder for what is made
        scratch: Most disk space for parts
        keep: Parts stay
        execution: How the run is carried out
    """
    wholes = read_wholes(plan)

    def steps(run: BatchRun) -> State[Any]:
        Assembly(FaultStage(FaultParams()), GatherStage(), scratch, keep).run(run, wholes)
        return run.finish()

    return steps
