"""Define a flow that joins parts into wholes: ``python tests/runs/assembly_flow.py --help``."""

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("tests.runs.assembly_flow"))

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State
from pydantic import ByteSize

from tasks.batch import BatchRun
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Graph, Whole
from tasks.launcher.batch_flow import Steps, batch_flow
from tests.engine.faults import FaultParams, FaultStage
from tests.engine.gathering import GatherStage


def make_parts(parts: Mapping[str, Any]) -> list[Item]:
    """Make an item of each part, which is given with its payload."""
    return [Item(part, payload) for part, payload in parts.items()]


def read_wholes(path: Path) -> list[Whole]:
    """Read the wholes: ``{"whole": {"parts": {"part": {"do": ...}}, "bytes": 10}}``."""
    wholes = json.loads(path.read_text())
    return [
        Whole(
            Item(name, {"parts": list(plan["parts"])}),
            partial(make_parts, plan["parts"]),
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
        graph = Graph(scratch)
        parts = graph.parts(FaultStage(FaultParams()), keeps=keep)
        graph.node(GatherStage(), wholes, parts=parts)
        run.execute(graph)
        return run.finish()

    return steps
