"""Test ``--part K/N``: which items a part takes, and which of a graph's items follow from them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.part import Part, find_part, parse_part
from tasks.engine.parts import choose_folder, choose_layout, find_parts
from tasks.engine.planning.graph import Graph, Whole
from tasks.engine.store.layout import Layout
from tests.engine.simulation import Simulation, create_items, create_stage, follow

IDS = [f"item-{number}" for number in range(1000)]


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "a/b", "", "4", "1/0", "/", "1/4/2", "01/4", "-1/4", "1 / 4", "1/10000"]
)
def test_other_texts_are_no_part(text: str) -> None:
    with pytest.raises(ValidationError, match="K/N, where K is the number of the part from 1 to N"):
        Execution(part=text)


def test_every_item_is_in_one_part_and_parts_are_of_similar_size() -> None:
    parts = [parse_part(f"{number}/4") for number in (1, 2, 3, 4)]
    owners = Counter(str(part) for item_id in IDS for part in parts if part.has(item_id))
    assert owners.total() == len(IDS)
    assert len(owners) == 4
    assert min(owners.values()) > 200


def test_part_of_an_item_never_changes() -> None:
    """Another partition would repeat the items of all parts that ran before."""
    assert [part.number for item_id in IDS[:12] for part in _split(5) if part.has(item_id)] == EXPECTED


EXPECTED = [2, 3, 1, 4, 5, 2, 2, 3, 1, 5, 3, 2]


def _split(count: int) -> list[Part]:
    return [Part(number, count) for number in range(1, count + 1)]


@pytest.mark.parametrize("name", ["part-0-of-4", "part-5-of-4", "part-1-of-4x", "part", "xpart-1-of-4", "part-01-of-4"])
def test_other_folders_are_no_part(name: str) -> None:
    assert find_part(name) is None
    assert find_part(Part(2, 4).folder) == Part(2, 4)


def build_graph(ids: list[str]) -> Graph:
    """Return first -> second, one to one, then a table; and wholes with parts, then a follower."""
    graph = Graph()
    first = graph.node(create_stage("first"), create_items(*ids))
    second = graph.node(create_stage("second"), after=first, each=follow)
    graph.table(create_stage("table"), after=second, collect=lambda records: [Item("table", {"n": len(list(records))})])
    parts = graph.parts(create_stage("part"))
    wholes = [Whole(Item(f"whole-{each}"), lambda each=each: _make_parts(each)) for each in ids]  # type: ignore[misc]
    joined = graph.node(create_stage("whole"), wholes, parts=parts)
    graph.node(create_stage("preview"), after=joined, each=follow)
    return graph


def _make_parts(item_id: str) -> list[Item]:
    return [Item(f"{item_id}-{number}") for number in range(3)]


def test_items_that_belong_together_are_in_one_part_and_no_part_makes_a_table(tmp_path: Path) -> None:
    ids = IDS[:20]
    everything = Simulation(tmp_path / "all", build_graph(ids)).run(slots=4)
    started: list[str] = []
    for part in _split(3):
        run = Simulation(tmp_path / part.folder, build_graph(ids), part=str(part))
        own = run.run(slots=4)
        run.end()
        own_ids = {key.partition("/")[2] for key in own if key.startswith("first/")}
        assert {key.partition("/")[2] for key in own if key.startswith("second/")} == own_ids
        wholes = {key.partition("/")[2] for key in own if key.startswith("whole/")}
        assert wholes == {f"whole-{item_id}" for item_id in ids if part.has(f"whole-{item_id}")}
        assert {key.rpartition("-")[0].partition("/")[2] for key in own if key.startswith("part/")} == {
            name.removeprefix("whole-") for name in wholes
        }
        assert {key for key in own if key.startswith("preview/")} == {f"preview/{name}" for name in wholes}
        started += own
    assert sorted(started) == sorted(set(everything) - {"table/table"})


def test_further_items_leave_the_others_where_they_are(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_graph(IDS[:10]), part="2/3")
    run.run()
    run.end()
    again = Simulation(tmp_path, build_graph(IDS[14::-1]), part="2/3")
    assert {key.partition("/")[2] for key in again.run() if key.startswith("first/")} == {
        item_id for item_id in IDS[10:15] if Part(2, 3).has(item_id)
    }


def test_part_has_its_own_folder(tmp_path: Path) -> None:
    assert choose_folder(tmp_path / "new", None) == tmp_path / "new"
    assert choose_folder(tmp_path, Part(2, 4)) == tmp_path / "part-2-of-4"
    (tmp_path / "part-2-of-4").mkdir()
    (tmp_path / "part-of-a-tape").mkdir()
    assert find_parts(tmp_path) == [Part(2, 4)]
    assert choose_folder(tmp_path, None) == tmp_path, "an empty folder"


def test_part_that_would_repeat_items_is_refused(tmp_path: Path) -> None:
    (tmp_path / "part-1-of-4" / ".headrace").mkdir(parents=True)
    with pytest.raises(RunError, match=r"has parts of 4, and --part 1/3 was given; give --part K/4"):
        choose_folder(tmp_path, Part(1, 3))
    with pytest.raises(RunError, match=r"results that are not in .* yet; give headrace items merge"):
        choose_folder(tmp_path, None)
    (tmp_path / "whole" / ".headrace").mkdir(parents=True)
    with pytest.raises(RunError, match="results of runs without --part, which part 1/3 would repeat; leave --part out"):
        choose_folder(tmp_path / "whole", Part(1, 3))


def test_part_in_a_store_is_refused() -> None:
    """Parts in a store cannot be merged."""
    layout = Layout(Path("/work"), "s3://bucket/out")
    assert choose_layout(layout, None) is layout
    with pytest.raises(RunError, match="--part 1/3 needs a folder, and s3://bucket/out is in a store"):
        choose_layout(layout, Part(1, 3))
