"""Define a flow of items that only take time, for ``graph.py``: ``python benchmarks/graph_flow.py --help``."""

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("benchmarks.graph_flow"))

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from prefect.client.schemas.objects import State

from benchmarks.graph_stages import FetchStage, PartStage, PreviewStage, TimedStage, WholeStage
from tasks.batch import BatchRun
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Done, Graph, Whole
from tasks.launcher.batch_flow import Steps, batch_flow

Workload = Literal["flat", "stream", "wholes"]


@batch_flow("graph-bench")
def graph_flow(
    output_dir: Path,
    workload: Workload = "flat",
    items: int = 100,
    seconds: float = 0.0,
    cpu_seconds: float = 0.0,
    parts: int = 6,
    execution: Execution = Execution(),
) -> Steps:
    """Take time.

    Args:
        output_dir: Folder for the records
        workload: One stage (flat), downloads that are searched (stream), or wholes with parts and a preview (wholes)
        items: Number of items that are given as input
        seconds: Time that an item waits; of the workload stream, its download
        cpu_seconds: CPU time that an item burns; of the workload wholes, each part
        parts: Number of parts of each whole
        execution: Execution options
    """
    build = _BUILDERS[workload]

    def steps(run: BatchRun) -> State[Any]:
        run.execute(build(items, {"seconds": seconds, "cpu_seconds": cpu_seconds}, parts))
        return run.finish()

    return steps


def build_flat(items: int, payload: dict[str, float], parts: int) -> Graph:
    """Return a graph of one stage."""
    graph = Graph()
    graph.node(TimedStage(), _make_items(items, payload))
    return graph


def build_stream(items: int, payload: dict[str, float], parts: int) -> Graph:
    """Return a graph of downloads, each followed by a search."""

    def search(fetched: Done) -> Item:
        return Item(fetched.id, {"cpu_seconds": payload["cpu_seconds"]})

    graph = Graph()
    fetched = graph.node(FetchStage(), _make_items(items, {"seconds": payload["seconds"]}))
    graph.node(TimedStage(), after=fetched, each=search)
    return graph


def build_wholes(items: int, payload: dict[str, float], parts: int) -> Graph:
    """Return a graph of wholes: each is measured, made in parts, put together and shown."""

    def cut(measured: Done) -> Whole:
        made = [Item(f"{measured.id}.{number}", payload) for number in range(parts)]
        return Whole(Item(measured.id, _scale(payload, 0.1)), partial(list, made))

    graph = Graph()
    measured = graph.node(TimedStage(), _make_items(items, _scale(payload, 0.5)))
    made = graph.parts(PartStage(), after=measured)
    wholes = graph.node(WholeStage(), after=measured, each=cut, parts=made)
    graph.node(PreviewStage(), after=wholes, each=lambda whole: Item(whole.id, _scale(payload, 0.2)))
    return graph


def _make_items(count: int, payload: dict[str, float]) -> list[Item]:
    return [Item(f"item-{number:05d}", payload) for number in range(count)]


def _scale(payload: dict[str, float], factor: float) -> dict[str, float]:
    return {name: value * factor for name, value in payload.items()}


_BUILDERS: dict[Workload, Callable[[int, dict[str, float], int], Graph]] = {
    "flat": build_flat,
    "stream": build_stream,
    "wholes": build_wholes,
}
