"""Define the stages of the graph that is killed: each item reads the outputs of those before it."""

from __future__ import annotations

import hashlib

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import StageResult, Workspace
from tests.engine.faults import FaultParams, FaultStage


class LinkStage(FaultStage):
    """Checks the outputs that the item is made from, then runs the item's action."""

    def __init__(self) -> None:
        super().__init__(FaultParams())

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Fail if an output is missing or has other content than its record says."""
        for path, digest in item.payload["from"].items():
            file = work.output_dir / path
            if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
                raise BadInput(f"{path} is missing or has other content")
        return super().run(item, work)


class DownloadStage(LinkStage):
    """Downloads, which are dropped once their star is done."""

    name = "downloads"
    lane = "io"


class StarStage(LinkStage):
    """One star per download."""

    name = "stars"


class TableStage(LinkStage):
    """The table of all stars."""

    name = "table"


class MeasureStage(LinkStage):
    """The diagnosis of a tape."""

    name = "measures"


class SegmentStage(LinkStage):
    """The parts of a tape, which are removed once it is joined."""

    name = "segments"


class TapeStage(LinkStage):
    """A tape, joined from its segments."""

    name = "tapes"


class PreviewStage(LinkStage):
    """The preview of a tape."""

    name = "previews"
