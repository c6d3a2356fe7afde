"""Test item ids: safe file names everywhere, and unique for each name."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import MAX_ID_LENGTH, Item, is_safe_id, make_distinct_ids, make_safe_id
from tasks.engine.contract.stage import NoParams, Stage, StageResult, Workspace
from tasks.engine.planning.graph import Graph
from tasks.engine.planning.identity import compute_item_key, compute_stage_digest
from tasks.engine.reporting.summary import RunFigures, summarize, write_summary
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcome, Record, Usage
from tasks.engine.store.records import RecordStore
from tests.engine.plans import plan_stage

NFC, NFD = (unicodedata.normalize(form, "Gürtel") for form in ("NFC", "NFD"))


class PlainStage(Stage):
    """Stage that does no work."""

    name = "plain"
    version = 1

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Return None; never called."""
        raise NotImplementedError


@pytest.mark.parametrize("text", ["a", "A-_.b", "tape-1", "a_", "0", "nul-1", "console", "com", "com10", "x.con"])
def test_safe_ids_are_unchanged(text: str) -> None:
    assert is_safe_id(text)
    assert make_safe_id(text) == text


@pytest.mark.parametrize("text", ["CON", "nul", "Aux.mp4", "com1", "LPT9.tar.gz", "a.", "a..", "a ", "-a", "_a", ".a"])
def test_names_that_windows_or_shells_change_are_unsafe(text: str) -> None:
    assert not is_safe_id(text)
    assert is_safe_id(make_safe_id(text))


def test_derived_ids_keep_ascii_letters() -> None:
    assert make_safe_id(NFC).startswith("Gurtel-")
    assert make_safe_id("-5nEBVFY0nk").startswith("5nEBVFY0nk-")
    assert make_safe_id("con.txt").startswith("con-txt-")
    assert len(make_safe_id("x" * 5000)) == MAX_ID_LENGTH
    assert is_safe_id(make_safe_id("family\udcff.mp4"))


def test_texts_with_similar_digests_have_different_ids() -> None:
    """With 8 digits, two of 130,000 names share a digest; the test searches for such a pair."""
    first: dict[str, str] = {}
    pair: tuple[str, str] | None = None
    for number in range(1_000_000):
        text = f"{chr(0x4E00 + number % 1000)}{chr(0x4E00 + number // 1000)}"
        other = first.setdefault(hashlib.sha256(text.encode()).hexdigest()[:8], text)
        if other != text:
            pair = other, text
            break
    assert pair is not None
    assert make_safe_id(pair[0]) != make_safe_id(pair[1])


@pytest.mark.parametrize(
    "names",
    [
        ["SAME", "same", "Same"],
        ["a b", "ab", "a-b", "a_b", "a  b"],
        ["a b", "a/b", "a:b", "a?b"],
        [NFC, NFD, "Gurtel"],
        ["straße", "STRASSE", "strasse"],
        ["x", "x.", "x ", " x", "x.."],
        ["nul", "NUL", "nul.txt"],
        ["中文", "한국어", "العربية", "عربي"],
        ["field-1-11", "field-11-1", "star_1_2", "star_12"],
        ["a" * 200, "a" * 201, "A" * 200],
        ["a b", make_safe_id("a b"), make_safe_id("a b").upper()],
        ["K2-3", "k2-3", "\u212a2-3"],
    ],
)
def test_distinct_names_get_distinct_ids_on_every_filesystem(names: list[str]) -> None:
    ids = make_distinct_ids(names)
    assert all(map(is_safe_id, ids))
    assert len({item_id.lower() for item_id in ids}) == len(names)
    assert sorted(make_distinct_ids(names[::-1])) == sorted(ids)
    assert dict(zip(names, ids, strict=True)) == dict(zip(names[::-1], make_distinct_ids(names[::-1]), strict=True))


def test_safe_names_keep_their_ids_among_others() -> None:
    assert make_distinct_ids(["tape-1", "a b", "SAME", "same", "x"])[::4] == ["tape-1", "x"]


def test_first_free_form_of_a_name_becomes_its_id() -> None:
    names = ["a.mp4", "a.mkv", "b.mp4", "B.avi", "sub/c.mp4", "d.mp4.mkv", "d.mp4"]
    stems = ["a", "a", "b", "B", "sub/c", "d.mp4", "d"]
    ids_by_name = dict(zip(names, make_distinct_ids(names, stems), strict=True))
    assert [ids_by_name[name] for name in ("a.mp4", "a.mkv", "b.mp4", "B.avi")] == ["a.mp4", "a.mkv", "b.mp4", "B.avi"]
    assert ids_by_name["sub/c.mp4"] == make_safe_id("sub/c")
    assert (ids_by_name["d.mp4.mkv"], ids_by_name["d.mp4"]) == ("d.mp4.mkv", "d")


@pytest.mark.parametrize("ids", [("a", "a"), ("same", "SAME")])
def test_plan_refuses_items_with_colliding_file_names(tmp_path: Path, ids: tuple[str, str]) -> None:
    items = [Item(item_id, name=f"{number} {item_id}") for number, item_id in enumerate(ids)]
    with pytest.raises(RunError, match=rf"'0 {ids[0]}' and '1 {ids[1]}' would get the same file name"):
        plan_stage(PlainStage(NoParams()), items, RecordStore(Layout(tmp_path), "plain"), Execution())


def test_names_and_paths_are_in_all_rows_but_in_no_key(tmp_path: Path) -> None:
    """Records of older versions lack both."""
    layout, stage = Layout(tmp_path), PlainStage(NoParams())
    named = [Item(f"id-{number}", {}, name=f"中文 {number}", path=f"한국어/{number}.mp4") for number in range(2)]
    keys = [compute_item_key(compute_stage_digest(stage), item, "stat") for item in (named[0], Item("id-0", {}))]
    assert keys[0] == keys[1]
    store = RecordStore(layout, "plain")
    store.prepare()
    store.write(Record("id-0", "plain", 1, keys[0], (), {}, {}, Usage(), 1, "run"))
    graph = Graph()
    graph.node(stage, [*named, Item("id-2")])
    scheduler = Scheduler(graph, layout, Execution())
    scheduler.plan()
    outcomes = scheduler.collect_outcomes()
    failed = Outcome("id-3", "plain", "failed", failure_kind="bad_input", message="broken")
    outcomes.append(failed.named(Item("id-3", name="العربية", path="bytes\udcff.mp4")))
    summary = summarize(RunFigures("flow", "run", 0.0, 1.0, 1, 1, {}), outcomes, 1.0)
    write_summary(layout, summary, outcomes)
    rows = pq.read_table(tmp_path / "items.parquet").to_pylist()
    assert [(row["id"], row["name"], row["path"], row["outcome"]) for row in rows] == [
        ("id-0", "中文 0", "한국어/0.mp4", "cached"),
        ("id-1", "中文 1", "한국어/1.mp4", "remaining"),
        ("id-2", "id-2", None, "remaining"),
        ("id-3", "العربية", "bytes\\udcff.mp4", "failed"),
    ]
    (failure,) = json.loads((tmp_path / "failures.json").read_bytes())
    assert (failure["name"], failure["path"]) == ("العربية", "bytes\\udcff.mp4")
