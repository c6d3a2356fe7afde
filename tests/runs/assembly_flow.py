"""Define a flow that joins parts into wholes: ``python tests/runs/assembly_flow.py --help``."""

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


def read_wholes(path: Path) -> list[Whole]:
    """Read the wholes: ``{"whole": {"parts": {"part": {"do": ...}}, "bytes": 10}}``."""
    wholes = json.loads(path.read_text())
    return [
        Whole(
            Item(name, {"parts": list(plan["parts"])}),
            tuple(Item(part, payload) for part, payload in plan["parts"].items()),
            plan.get("bytes", 0),
        )
        for name, plan in wholes.items()
    ]


@batch_flow("assembly-flow")
def assembly_flow(
    plan: Path,
    output_dir: Path,
    scratch: ByteSize | None = None,
    keep: bool = False,
    execution: Execution = Execution(),
) -> Steps:
    """Join the parts of the plan.

    Args:
        plan: The wholes
        output_dir: Output folder
        scratch: Maximum disk space for parts
        keep: Keep parts after joining
        execution: Execution options
    """
    wholes = read_wholes(plan)

    def steps(run: BatchRun) -> State[Any]:
        Assembly(FaultStage(FaultParams()), GatherStage(), scratch, keep).run(run, wholes)
        return run.finish()

    return steps
