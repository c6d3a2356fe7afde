"""The diagrams in docs/architecture.md show the graphs that the flows declare."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.graphs import FLOWS, FOLDER, draw_graph, read_graph

PAGE = Path(__file__).resolve().parent.parent / "docs" / "architecture.md"


@pytest.mark.parametrize("flow", FLOWS)
def test_diagram_shows_the_graph_of_the_flow(flow: str) -> None:
    path = FOLDER / f"graph_{flow}.svg"
    assert path.read_text() == draw_graph(read_graph(flow)), "run: python scripts/graphs.py"
    assert f"images/{path.name}" in PAGE.read_text()


def test_every_flow_has_a_diagram() -> None:
    modules = {path.stem for path in (PAGE.parent.parent / "flows").glob("*.py")} - {"__init__"}
    assert set(FLOWS) == modules
