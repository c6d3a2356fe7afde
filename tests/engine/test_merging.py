"""Test the merge of parts: items, failures, summaries, kills in between, and parts that do not belong together."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tasks.engine import merging
from tasks.engine.contract.errors import InvalidInput, RunError
from tasks.engine.contract.part import Part
from tasks.engine.merging import merge_parts
from tasks.engine.parts import choose_folder
from tasks.engine.planning.graph import Graph
from tasks.engine.reporting.summary import RunFigures, summarize, write_summary
from tasks.engine.store.layout import Layout
from tasks.engine.store.lock import hold_lock
from tasks.engine.store.outcomes import Outcomes
from tasks.engine.store.records import RecordStore
from tests.engine.simulation import Simulation, create_items, create_stage, follow

PARTS = [Part(number, 3) for number in (1, 2, 3)]
IDS = [f"item-{number}" for number in range(12)]


def build_graph(keeps: bool = True, text: str = "text", ids: list[str] = IDS) -> Graph:
    """Return first -> second, one to one. ``keeps=False``: the outputs of the first are dropped."""
    graph = Graph()
    first = graph.node(create_stage("first", text=text), create_items(*ids), keeps=keeps)
    graph.node(create_stage("second"), after=first, each=follow)
    return graph


def run_part(
    output_dir: Path,
    part: Part | None,
    graph: Graph,
    *,
    run_id: str = "",
    failing: str = "",
    quality: int = 90,
    values: dict[str, Any] | None = None,
) -> Simulation:
    """Run a part and write its summary as a run does; return the run."""
    folder = choose_folder(output_dir, part)
    run = Simulation(folder, graph, **({"part": str(part)} if part else {}))
    run.run(slots=2, failing={f"first/{failing}": "bad_input"} if failing else None)
    run.end()
    execution = {"part": str(part) if part else None}
    parameters = {"quality": quality, "output_dir": str(output_dir), "execution": execution}
    outcomes = Outcomes(replace(each, values=values or {}) for each in run.scheduler.collect_outcomes())
    number = part.number if part else 0
    figures = RunFigures("flow", run_id or f"run-{number}", 1000.0 + number, 1010.0 + number, 2, 5, parameters)
    write_summary(Layout(folder), summarize(figures, outcomes, 1.0), outcomes)
    return run


def run_all(output_dir: Path, make: Callable[[], Graph] = build_graph, **options: Any) -> None:
    for part in PARTS:
        run_part(output_dir, part, make(), **options)


def list_outputs(folder: Path) -> dict[str, str]:
    """Return the text of every output by path, without those of parts."""
    paths = [path for name in ("first", "second") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


def load_records(folder: Path) -> dict[str, Any]:
    stores = [RecordStore(Layout(folder), stage) for stage in ("first", "second")]
    return {f"{store.stage}/{name}": record for store in stores for name, record in store.load().items()}


def read_summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_bytes())
    return content


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "dropped"])
@pytest.mark.parametrize("has_links", [True, False], ids=["links", "copies"])
def test_merged_parts_equal_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps: bool, has_links: bool
) -> None:
    run_part(tmp_path / "one", None, build_graph(keeps))
    run_all(tmp_path / "out", lambda: build_graph(keeps))
    if not has_links:
        monkeypatch.setattr(os, "link", refuse_links)
    merged = merge_parts(tmp_path / "out")
    assert (merged.counts.added, merged.counts.present, merged.counts.incomplete) == (24, 0, 0)
    assert list_outputs(tmp_path / "out") == list_outputs(tmp_path / "one")
    assert load_records(tmp_path / "out") == load_records(tmp_path / "one")
    for path in list_outputs(tmp_path / "out"):
        (original,) = (tmp_path / "out").glob(f"part-*/{path}")
        assert (tmp_path / "out" / path).stat().st_mtime_ns == original.stat().st_mtime_ns, "its identity stays"
        assert (tmp_path / "out" / path).samefile(original) is has_links
    again = run_part(tmp_path / "out", None, build_graph(keeps), run_id="whole")
    assert again.started == [], "the run without --part finds all items done"
    assert list((tmp_path / "out/.headrace/private").iterdir()) == []


def refuse_links(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "no links here")


def test_summary_of_parts_is_one(tmp_path: Path) -> None:
    for part, values in zip(PARTS, [{"depth": 1}, {"depth": 2.5}, {"depth": 3, "note": "x"}], strict=True):
        run_part(tmp_path, part, build_graph(), failing="item-3", values=values)
    merge_parts(tmp_path)
    summary = read_summary(tmp_path)
    assert summary["items"] == {"total": 23, "done": 22, "cached": 0, "failed": 1, "remaining": 0, "upstream": 0}
    assert summary["state"] == "completed_with_failures"
    assert summary["message"] == "3 parts: 22 done, 0 cached, 1 failed"
    assert (summary["slots"], summary["shards"]) == (6, 15)
    assert (summary["wall_seconds"], summary["started_at"][:19]) == (12.0, "1970-01-01T00:16:41")
    assert summary["sequential_seconds"] == sum(
        read_summary(tmp_path / part.folder)["sequential_seconds"] for part in PARTS
    )
    assert summary["parameters"]["execution"]["part"] is None
    rows = pq.read_table(tmp_path / "items.parquet").to_pylist()
    assert len(rows) == 23
    assert {row["depth"] for row in rows} == {1.0, 2.5, 3.0}
    assert {row["note"] for row in rows} == {None, "x"}
    (failure,) = json.loads((tmp_path / "failures.json").read_bytes())
    assert (failure["id"], failure["message"]) == ("item-3", "broken")
    assert RecordStore(Layout(tmp_path), "first").failed_ids() == {"item-3"}


def test_columns_of_different_types_become_text(tmp_path: Path) -> None:
    for part, values in zip(PARTS, [{"x": 1}, {"x": "one"}, {"x": None}], strict=True):
        run_part(tmp_path, part, build_graph(), values=values)
    merge_parts(tmp_path)
    assert set(pq.read_table(tmp_path / "items.parquet").column("x").to_pylist()) == {"1", "one", None}


@pytest.mark.parametrize("after", [0, 1, 5, 11])
def test_killed_merge_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    run_part(tmp_path / "one", None, build_graph())
    run_all(tmp_path / "out")
    left = [after]
    publish = merging.publish

    def stop(*arguments: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        publish(*arguments)

    monkeypatch.setattr(merging, "publish", stop)
    with pytest.raises(KeyboardInterrupt):
        merge_parts(tmp_path / "out")
    monkeypatch.undo()
    merged = merge_parts(tmp_path / "out")
    assert (merged.counts.added, merged.counts.present) == (24 - after, after)
    assert list_outputs(tmp_path / "out") == list_outputs(tmp_path / "one")
    assert load_records(tmp_path / "out") == load_records(tmp_path / "one")


def test_later_merge_takes_what_is_new(tmp_path: Path) -> None:
    run_all(tmp_path)
    merge_parts(tmp_path)
    before = list_outputs(tmp_path)
    run_all(tmp_path, lambda: build_graph(ids=[*IDS, "added"]), run_id="later")
    merged = merge_parts(tmp_path)
    assert (merged.counts.added, merged.counts.present) == (2, 24)
    assert set(list_outputs(tmp_path)) - set(before) == {"first/added.txt", "second/added.txt"}
    run_all(tmp_path, lambda: build_graph(text="other"), run_id="last")
    assert merge_parts(tmp_path).counts.added == 24
    assert "other" in list_outputs(tmp_path)["first/item-0.txt"]
    assert "other" in (tmp_path / "first/item-0.txt").read_text()


def test_item_without_its_outputs_is_left_to_the_next_run(tmp_path: Path) -> None:
    run_all(tmp_path)
    (path,) = tmp_path.glob("part-*/second/item-4.txt")
    path.unlink()
    merged = merge_parts(tmp_path)
    assert (merged.counts.added, merged.counts.incomplete) == (23, 1)
    assert run_part(tmp_path, None, build_graph(), run_id="whole").started == ["second/item-4"]


def test_item_in_two_parts_with_different_results_is_refused(tmp_path: Path) -> None:
    run_all(tmp_path)
    folders = [tmp_path / part.folder for part in PARTS]
    (owner,) = [folder for folder in folders if (folder / "first/item-4.txt").exists()]
    other = next(folder for folder in folders if folder != owner)
    record = json.loads((owner / ".headrace/records/first/item-4.json").read_bytes())
    (other / ".headrace/records/first/item-4.json").write_text(json.dumps({**record, "key": "another"}))
    (other / "first/item-4.txt").write_bytes((owner / "first/item-4.txt").read_bytes())
    with pytest.raises(RunError, match=r"first item-4 is in part-\d-of-3 and part-\d-of-3 with different results"):
        merge_parts(tmp_path)


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no parts in it"):
        merge_parts(tmp_path)
    run_part(tmp_path, PARTS[0], build_graph())
    with pytest.raises(InvalidInput) as caught:
        merge_parts(tmp_path)
    assert str(caught.value).splitlines() == [
        f"{tmp_path}: part {number}/3 is missing; allowed: all parts; run it with --part {number}/3"
        for number in (2, 3)
    ]
    (tmp_path / "part-2-of-3/.headrace").mkdir(parents=True)
    run_part(tmp_path, PARTS[2], build_graph(), quality=80)
    with pytest.raises(InvalidInput, match=r"part 2/3 has no summary.json; allowed: parts whose runs have ended"):
        merge_parts(tmp_path)
    run_part(tmp_path, PARTS[1], build_graph())
    with pytest.raises(InvalidInput, match=r"part 3/3: quality is 80, and 90 in part 1/3; .* run --part 3/3 again"):
        merge_parts(tmp_path)
    (tmp_path / "part-1-of-2").mkdir()
    with pytest.raises(InvalidInput, match="parts of 2 and of 3"):
        merge_parts(tmp_path)


def test_active_part_is_not_merged(tmp_path: Path) -> None:
    run_all(tmp_path)
    with (
        hold_lock(Layout(tmp_path / "part-2-of-3").lock, "live"),
        pytest.raises(RunError, match=r"part-2-of-3 is in use"),
    ):
        merge_parts(tmp_path)
    assert list_outputs(tmp_path) == {}


def test_run_without_part_waits_for_the_merge(tmp_path: Path) -> None:
    run_all(tmp_path)
    with pytest.raises(RunError, match=r"not in .* yet; give headrace items merge"):
        choose_folder(tmp_path, None)
    merge_parts(tmp_path)
    assert choose_folder(tmp_path, None) == tmp_path
    run_part(tmp_path, PARTS[0], build_graph(), run_id="new")
    with pytest.raises(RunError, match=r"not in .* yet"):
        choose_folder(tmp_path, None)
