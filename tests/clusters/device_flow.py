"""Define a flow whose items use a device each: ``python tests/clusters/device_flow.py --help``."""

from __future__ import annotations

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("tests.clusters.device_flow"))

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Needs, NoParams, Stage, StageResult, Workspace
from tasks.launcher.batch_flow import Steps, batch_flow

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from tasks.batch import BatchRun

IMPORTED_WITH = os.environ.get("CUDA_VISIBLE_DEVICES", "")  # libraries may read it when they are imported


class DeviceStage(Stage):
    """Says which device it uses, and when."""

    name = "devices"
    version = 1
    memory_bytes = 64 << 20

    def needs(self) -> Needs:
        """Ask for a device per item."""
        return Needs(self.memory_bytes, max_slots=1)

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Wait a little; return the times of the monotonic clock, which all processes of a machine share."""
        begun = time.monotonic()
        time.sleep(0.25)
        work.output(f"{item.id}.txt").write_text("done")
        return StageResult(
            {
                "device": os.environ["CUDA_VISIBLE_DEVICES"],
                "imported_with": IMPORTED_WITH,
                "vulkan": os.environ["HEADRACE_VULKAN_DEVICE"],
                "process": os.getpid(),
                "begun": begun,
                "ended": time.monotonic(),
            }
        )


@batch_flow("device-flow")
def device_flow(output_dir: Path, count: int = 12, execution: Execution = Execution()) -> Steps:
    """Use devices.

    Args:
        output_dir: Output folder
        count: Number of items
        execution: Execution options
    """
    items = [Item(f"item-{number:02d}") for number in range(count)]

    def steps(run: BatchRun) -> State[Any]:
        run.stage(DeviceStage(NoParams()), items)
        return run.finish()

    return steps
