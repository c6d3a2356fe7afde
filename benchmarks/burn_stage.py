"""Define a stage whose items burn a set amount of CPU."""

from __future__ import annotations

import time

from pydantic import BaseModel

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace


class BurnParams(BaseModel):
    """CPU time that each item burns, and the size of the file that it writes; 0 for none."""

    cpu_seconds: float = 0.05
    size_bytes: int = 0


def burn_cpu(cpu_seconds: float) -> None:
    """Keep one core busy for ``cpu_seconds`` of this process's time."""
    end = time.process_time() + cpu_seconds
    while time.process_time() < end:
        sum(range(2000))


class BurnStage(Stage):
    """Burns CPU and writes a file, or nothing."""

    name = "burn"
    version = 1
    memory_bytes = 64 * 2**20

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Burn CPU."""
        params = self.params
        assert isinstance(params, BurnParams)
        burn_cpu(params.cpu_seconds)
        if params.size_bytes:
            work.output(f"made/{item.id}.bin").write_bytes(item.id.encode().ljust(params.size_bytes, b"."))
        return StageResult()
