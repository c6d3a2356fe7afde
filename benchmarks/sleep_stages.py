"""Stand-ins for segments and for joining them: an item sleeps as long as it says, a whole is done at once."""

from __future__ import annotations

import time

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace


class SleepStage(Stage):
    """Waits, as a segment that is worked on elsewhere would."""

    name = "segments"
    version = 1
    memory_bytes = 32 * 2**20

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Sleep."""
        time.sleep(item.payload["seconds"])
        return StageResult()


class WholeStage(Stage):
    """What the parts are put together to."""

    name = "videos"
    version = 1
    memory_bytes = 32 * 2**20

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Nothing."""
        return StageResult()
