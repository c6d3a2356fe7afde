"""Draw the graph of each flow from its code: ``python scripts/graphs.py`` writes docs/images/graph_*.svg."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from tasks.engine.planning.graph import Graph, Node

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
# The function of each module in flows/steps that declares the graph, and the values that its declaration needs.
FLOWS: dict[str, tuple[str, dict[str, Any]]] = {
    "dataset_prep": ("build_dataset", {}),
    "landmark_extraction": ("extract_landmarks", {}),
    "vhs_batch": ("restore_tapes", {"auto_detect": True}),
    "vhs_presets": ("compare_presets", {}),
    "overlay_removal": ("remove_overlays", {}),
    "exoplanet_features": ("search_stars", {"source": "mast"}),
}
_WIDTH, _HEIGHT, _GAP, _ROW = 150, 46, 60, 84


def read_graph(flow: str) -> Graph:
    """Return the graph that a flow declares."""
    name, values = FLOWS[flow]
    declare = getattr(importlib.import_module(f"flows.steps.{flow}"), name)
    run = MagicMock()
    arguments = {parameter: MagicMock() for parameter in inspect.signature(declare).parameters} | values | {"run": run}
    declare(**arguments)
    graph: Graph = run.execute.call_args.args[0]
    return graph


@dataclass(frozen=True)
class _Box:
    node: Node
    x: int
    y: int


def draw_graph(graph: Graph) -> str:
    """Return a graph as SVG: stages from left to right, arrows for the items that follow from records."""
    rows: dict[int, int] = {}
    boxes = {}
    for node in graph.nodes:
        row = rows.get(node.depth, 0)
        rows[node.depth] = row + 1
        boxes[node] = _Box(node, 10 + node.depth * (_WIDTH + _GAP), 10 + row * _ROW)
    width = max(box.x for box in boxes.values()) + _WIDTH + 10
    height = max(box.y for box in boxes.values()) + _HEIGHT + 10
    arrows = [line for node in graph.nodes for line in _draw_arrows(node, boxes)]
    style = (
        "text{font:13px system-ui,sans-serif;fill:#14212b;text-anchor:middle}.k{font-size:11px;fill:#5b6b78}"
        "rect{fill:#edf1f4;stroke:#1f77a8;stroke-width:1.5}path{fill:none;stroke:#5b6b78;stroke-width:1.5}"
    )
    head = (
        '<marker id="a" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<polygon points="0 0 8 4 0 8" fill="#5b6b78"/></marker>'
    )
    body = "".join([*arrows, *map(_draw_box, boxes.values())])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<style>{style}</style><defs>{head}</defs><rect x="0" y="0" width="100%" height="100%" '
        f'style="fill:#fff;stroke:none"/>{body}</svg>\n'
    )


def _draw_box(box: _Box) -> str:
    lane = "" if box.node.stage.lane == "cpu" else f" ({box.node.stage.lane})"
    middle = box.x + _WIDTH // 2
    return (
        f'<rect x="{box.x}" y="{box.y}" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>'
        f'<text x="{middle}" y="{box.y + 20}">{escape(box.node.name + lane)}</text>'
        f'<text class="k" x="{middle}" y="{box.y + 37}">{_describe(box.node)}</text>'
    )


def _describe(node: Node) -> str:
    if node.collect:
        return "from all items"
    if node.parts:
        return "when all parts are done"
    if node.split:
        return "many per item"
    if node.after is None:
        return "given as input"
    return "one per item" if node.each else "parts of a later item"


def _draw_arrows(node: Node, boxes: dict[Node, _Box]) -> Iterator[str]:
    """Yield the arrows to ``node``: from its parts if it has some, otherwise from the stage that it follows."""
    source = node.parts or node.after
    if source is None:
        return
    start, end = boxes[source], boxes[node]
    x1, y1, x2, y2 = start.x + _WIDTH, start.y + _HEIGHT // 2, end.x - 2, end.y + _HEIGHT // 2
    middle = (x1 + x2) // 2
    yield f'<path d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}" marker-end="url(#a)"/>'


def main() -> None:
    """Write all drawings."""
    for flow in FLOWS:
        (FOLDER / f"graph_{flow}.svg").write_text(draw_graph(read_graph(flow)))


if __name__ == "__main__":
    main()
