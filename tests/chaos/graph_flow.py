"""Define a flow whose graph has every kind of edge: ``python tests/chaos/graph_flow.py --help``."""

from __future__ import annotations

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("tests.chaos.graph_flow"))

import random
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Done, Graph, Whole
from tasks.engine.store.outcomes import Record
from tasks.launcher.batch_flow import Steps, batch_flow
from tests.chaos.graph_stages import (
    DownloadStage,
    MeasureStage,
    PreviewStage,
    SegmentStage,
    StarStage,
    TableStage,
    TapeStage,
)

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from tasks.batch import BatchRun

STARS, TAPES, PARTS = 7, 4, 3
COUNT = 2 * STARS + 1 + TAPES * (PARTS + 3)
REMOVED = ("segment-",)  # items whose records are removed once they are used up


def list_ids() -> list[str]:
    """Return the ids of all items."""
    stars = [f"{name}-{number}" for name in ("download", "star") for number in range(STARS)]
    tapes = [f"{name}-{number}" for name in ("measure", "tape", "preview") for number in range(TAPES)]
    return [*stars, "table", *tapes, *(f"segment-{tape}-{part}" for tape in range(TAPES) for part in range(PARTS))]


def make_item(item_id: str, before: Iterable[Record] = ()) -> Item:
    """Return an item of 50 to 100 ms that reads the outputs of ``before``."""
    digests = {output.path: output.sha256 for record in before for output in record.outputs}
    return Item(item_id, {"from": digests, "do": "take_time", "seconds": random.Random(item_id).uniform(0.05, 0.1)})


def build_graph() -> Graph:
    """Return a graph with dropped downloads, stars and their table; tapes, their segments, joined tapes, previews."""
    graph = Graph()
    downloads = graph.node(DownloadStage(), [make_item(f"download-{n}") for n in range(STARS)], keeps=False)
    stars = graph.node(StarStage(), after=downloads, each=lambda done: _follow("star", done))
    graph.table(TableStage(), after=stars, collect=lambda records: [make_item("table", records)])
    measured = graph.node(MeasureStage(), [make_item(f"measure-{n}") for n in range(TAPES)])
    segments = graph.parts(SegmentStage(), after=measured)
    tapes = graph.node(TapeStage(), after=measured, each=_join, parts=segments)
    graph.node(PreviewStage(), after=tapes, each=lambda done: _follow("preview", done))
    return graph


def _follow(name: str, done: Done) -> Item:
    return make_item(f"{name}-{_number(done)}", [done.record])


def _join(measured: Done) -> Whole:
    number = _number(measured)
    parts = [make_item(f"segment-{number}-{part}", [measured.record]) for part in range(PARTS)]
    return Whole(make_item(f"tape-{number}", [measured.record]), lambda: parts)


def _number(done: Done) -> str:
    return done.id.rpartition("-")[2]


@batch_flow("graph-flow")
def graph_flow(output_dir: Path, execution: Execution = Execution()) -> Steps:
    """Run the graph.

    Args:
        output_dir: Output folder
        execution: Execution options
    """

    def steps(run: BatchRun) -> State[Any]:
        run.execute(build_graph())
        return run.finish()

    return steps
