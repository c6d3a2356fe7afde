"""Define stages whose items only take time: they sleep, or burn CPU."""

from __future__ import annotations

import time
from typing import ClassVar

from benchmarks.burn_stage import burn_cpu
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Lane, NoParams, Stage, StageResult, Workspace


class TimedStage(Stage):
    """Sleeps for ``seconds`` and burns ``cpu_seconds``, both from the payload; writes a small file."""

    name: ClassVar[str] = "timed"
    version: ClassVar[int] = 1
    memory_bytes: ClassVar[int] = 32 * 2**20

    def __init__(self) -> None:
        super().__init__(NoParams())

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Take the time."""
        time.sleep(item.payload.get("seconds", 0.0))
        burn_cpu(item.payload.get("cpu_seconds", 0.0))
        work.output(f"{self.name}/{item.id}.txt").write_text(item.id)
        return StageResult()


class FetchStage(TimedStage):
    """Waits, like a download."""

    name: ClassVar[str] = "fetched"
    lane: ClassVar[Lane] = "io"


class PartStage(TimedStage):
    """Makes a part of a whole."""

    name: ClassVar[str] = "parts"


class WholeStage(TimedStage):
    """Puts a whole together."""

    name: ClassVar[str] = "wholes"


class PreviewStage(TimedStage):
    """Shows a whole."""

    name: ClassVar[str] = "shown"
