"""Define stages that replace segments and their joining: parts sleep for a given time, wholes do no work."""

from __future__ import annotations

import time

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace


class SleepStage(Stage):
    """Sleeps, like a segment that is processed elsewhere."""

    name = "segments"
    version = 1
    memory_bytes = 32 * 2**20

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Sleep."""
        time.sleep(item.payload["seconds"])
        return StageResult()


class WholeStage(Stage):
    """Joins parts without any work."""

    name = "videos"
    version = 1
    memory_bytes = 32 * 2**20

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Return an empty result."""
        return StageResult()
