"""Test item keys and plans: changes that create a new key, and the order of items."""

import math
import os
import random
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import MAX_ID_LENGTH, Item, is_safe_id, make_safe_id
from tasks.engine.contract.stage import Stage, StageResult, Workspace
from tasks.engine.planning.identity import canonicalize, compute_item_key, compute_stage_digest, identify_input
from tasks.engine.planning.plan import DroppedItem, ItemPlanner, PlannedItem, SettledItem, order_items
from tasks.engine.store.files import hash_file
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Failure, Output, Record, Usage
from tasks.engine.store.records import RecordStore
from tasks.engine.store.tree import Tree
from tests.engine.plans import plan_stage


class Params(BaseModel):
    model_config = ConfigDict(frozen=True)

    size: int = 1


class PlainStage(Stage):
    name = "plain"
    version = 1

    def run(self, item: Item, work: Workspace) -> StageResult:
        raise NotImplementedError


class NextVersion(PlainStage):
    version = 2


class OtherName(PlainStage):
    name = "other"


class WithModel(PlainStage):
    def model_digests(self) -> dict[str, str]:
        return {"model": "0" * 64}


ITEM = Item("a", {"start": 0.5})


def compute_key(stage: Stage | None = None, item: Item = ITEM) -> str:
    return compute_item_key(compute_stage_digest(stage or PlainStage(Params())), item, "stat")


def test_key_depends_on_everything_that_affects_the_result() -> None:
    stages = [NextVersion(Params()), OtherName(Params()), WithModel(Params()), PlainStage(Params(size=2))]
    items = [Item("b", ITEM.payload), Item("a", {"start": 0.6}), Item("a", {"start": "0.5"}), Item("a")]
    keys = [compute_key(), *(compute_key(stage) for stage in stages), *(compute_key(item=item) for item in items)]
    assert len(set(keys)) == len(keys)
    assert all(len(found) == 64 for found in keys)


def test_key_does_not_depend_on_cost_fields_or_order() -> None:
    assert compute_key() == compute_key(PlainStage(Params(size=1)))
    assert compute_key() == compute_key(item=Item("a", {"start": 0.5}, cost=9.0, fields={"rank": 3}))
    assert compute_key(item=Item("a", {"x": 1, "y": [2]})) == compute_key(item=Item("a", {"y": [2], "x": 1}))


def test_keys_are_stable_across_machines_and_versions() -> None:
    """A changed digest would re-run all items of every user: raise a stage's version instead."""
    assert compute_key() == "9e5577b51a244b10afbc8b6fb1f09144a6b7002f0efb3e0c33dda81c2e300e47"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_json_lacks_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonicalize({"x": value})


def test_identity_of_a_file_has_size_and_mtime_or_digest(tmp_path: Path) -> None:
    path, copy = tmp_path / "one", tmp_path / "two"
    path.write_bytes(b"content")
    os.utime(path, ns=(0, 1_000_000_001))
    assert identify_input(str(path), "stat") == [7, 1_000_000_001]
    assert identify_input(str(path), "content") == [7, hash_file(path)]
    copy.write_bytes(b"content")
    assert identify_input(str(copy), "stat") != identify_input(str(path), "stat")
    assert identify_input(str(copy), "content") == identify_input(str(path), "content")
    missing = identify_input(str(tmp_path / "nothing"), "stat")
    assert missing == identify_input(str(tmp_path / "nothing"), "content")
    assert missing[0] == "unreadable"


@pytest.mark.parametrize("identity", ["stat", "content"])
def test_identity_of_a_folder_depends_on_its_content(tmp_path: Path, identity: str) -> None:
    def identify_now() -> object:
        return identify_input(str(tmp_path), identity)  # type: ignore[arg-type]

    seen = [identify_now()]
    for name in ("b", "a", "deep/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("same")
        seen.append(identify_now())
    (tmp_path / "a").rename(tmp_path / "A")
    seen.append(identify_now())
    (tmp_path / "deep/c").write_text("other")
    seen.append(identify_now())
    assert len({str(identity) for identity in seen}) == len(seen)


def plan_order(*costs_and_ranks: tuple[float, object], **options: object) -> str:
    """Return the planned order of items a, b, c, ..."""
    items = [
        Item("abcdefgh"[place], cost=cost, fields={"rank": rank}) for place, (cost, rank) in enumerate(costs_and_ranks)
    ]
    return "".join(items[place].id for place in order_items(items, Execution.model_validate(options)))


def test_items_are_ordered_by_cost_and_place() -> None:
    costs = [(1.0, None), (3.0, None), (1.0, None), (2.0, None)]
    assert plan_order(*costs) == "bdac"
    assert plan_order(*costs, order="lightest") == "acdb"
    assert plan_order(*costs, order="manifest") == "abcd"


def test_priority_orders_numbers_before_texts_before_missing() -> None:
    ranks = [None, "x", 1, 2.5, math.nan, "y", -7, True]
    assert plan_order(*[(1.0, rank) for rank in ranks], priority="rank") == "dchgfbae"
    assert plan_order((1.0, 5), (2.0, 5), (3.0, 4), priority="rank") == "bac"
    assert plan_order((1.0, 5), (2.0, 5), priority="no such field", order="lightest") == "ab"


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    new_store = RecordStore(Layout(tmp_path), PlainStage.name)
    new_store.prepare()
    return new_store


def test_plan_separates_settled_items_from_the_rest(store: RecordStore) -> None:
    (store.layout.output_dir / "there").write_text("x")
    items = [Item(name) for name in ("done", "other-key", "lost-output", "failed", "failed-before", "new")]
    digest = compute_stage_digest(PlainStage(Params()))
    keys = {item.id: compute_item_key(digest, item, "stat") for item in items}
    for name, found, output in [
        ("done", keys["done"], "there"),
        ("other-key", "0" * 64, "there"),
        ("lost-output", keys["lost-output"], "gone"),
    ]:
        outputs = (Output(output, 1, "0" * 64),)
        store.write(Record(name, "plain", 1, found, outputs, {}, {}, Usage(), 1, "run"))
    for name, found in [("failed", keys["failed"]), ("failed-before", "0" * 64)]:
        store.write_failure(Failure(name, "plain", found, "bad_input", "", 1, Usage(), "run"))

    def planned(**options: object) -> tuple[dict[str, str], list[str], list[str]]:
        found = plan_stage(PlainStage(Params()), items, store, Execution.model_validate(options))
        assert found.total == len(items)
        settled = {outcome.id: outcome.outcome for outcome in found.settled}
        return settled, [item.item.id for item in found.todo], [item.item.id for item in found.left]

    todo = ["other-key", "lost-output", "failed", "failed-before", "new"]
    assert planned() == ({"done": "cached"}, todo, [])
    without_failed = [name for name in todo if name != "failed"]
    assert planned(keep_failed=True) == ({"done": "cached", "failed": "failed"}, without_failed, [])
    assert planned(refresh=True) == ({}, [item.id for item in items], [])
    assert planned(max_items=2) == ({"done": "cached"}, todo[:2], todo[2:])
    assert planned(verify="digest")[0] == {}
    assert {item.key for item in plan_stage(PlainStage(Params()), items, store, Execution()).todo} <= set(keys.values())


def test_planner_compares_single_items(store: RecordStore) -> None:
    stage, item = PlainStage(Params()), Item("a", name="Ä")
    new = ItemPlanner(stage, store, Execution()).plan(item)
    assert isinstance(new, PlannedItem)
    assert (new.key, new.attempts, new.alone) == (compute_key(stage, item), 0, False)
    (store.layout.output_dir / "there").write_text("x")
    record = Record("a", "plain", 1, new.key, (Output("there", 1, "0" * 64),), {"n": 1}, {}, Usage(), 1, "run")
    store.write(record)
    settled = ItemPlanner(stage, store, Execution()).plan(item)
    assert isinstance(settled, SettledItem)
    assert settled.record == record
    assert (settled.outcome.outcome, settled.outcome.name, settled.outcome.values) == ("cached", "Ä", {"n": 1})
    changed = ItemPlanner(stage, store, Execution()).plan(Item("a", {"start": 1}))
    assert isinstance(changed, PlannedItem)
    assert changed.key != new.key


def test_planner_does_not_look_for_dropped_outputs(store: RecordStore) -> None:
    stage, item = PlainStage(Params()), Item("a")
    key = compute_key(stage, item)
    store.write(Record("a", "plain", 1, key, (Output("gone", 1, "0" * 64),), {}, {}, Usage(), 1, "run", dropped=True))
    dropped = ItemPlanner(stage, store, Execution()).plan(item)
    assert isinstance(dropped, DroppedItem)
    assert dropped.record.dropped
    assert dropped.planned.key == key
    assert isinstance(ItemPlanner(stage, store, Execution(refresh=True)).plan(item), PlannedItem)
    assert [planned.item.id for planned in plan_stage(stage, [item], store, Execution()).todo] == ["a"]


def test_planner_does_not_see_records_of_this_run(store: RecordStore) -> None:
    """An item that was not done at the beginning is never taken from a record: another process may write it."""
    stage, item = PlainStage(Params()), Item("a")
    planner = ItemPlanner(stage, store, Execution())
    store.write(Record("a", "plain", 1, compute_key(stage, item), (), {}, {}, Usage(), 1, "run"))
    assert isinstance(planner.plan(item), PlannedItem)


def test_planner_refuses_ids_that_are_unsafe_or_collide(store: RecordStore) -> None:
    planner = ItemPlanner(PlainStage(Params()), store, Execution())
    with pytest.raises(RunError, match="'a/b' cannot be a file name"):
        planner.check_id(Item("a/b"))
    planner.check_id(Item("a"))
    with pytest.raises(RunError, match="'a' and 'A' would get the same file name"):
        planner.check_id(Item("A"))


@pytest.mark.parametrize("seed", range(5))
def test_every_text_becomes_a_unique_safe_id(seed: int) -> None:
    generator = random.Random(seed)
    letters = "aZ0._-/ \\\n\0é漢'\"$%:*"
    texts = {"".join(generator.choices(letters, k=generator.randrange(200))) for _ in range(500)}
    ids = {text: make_safe_id(text) for text in texts}
    assert all(is_safe_id(found) for found in ids.values())
    assert len(set(ids.values())) == len(texts)
    assert all(found == text for text, found in ids.items() if is_safe_id(text))


@pytest.mark.parametrize("text", ["", ".", "..", ".hidden", "-x", "a/b", "a\n", "a b", "é", "a" * (MAX_ID_LENGTH + 1)])
def test_unsafe_ids_are_recognized(text: str) -> None:
    assert not is_safe_id(text)


def test_file_is_written_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, tree = tmp_path / "file", Tree(tmp_path)
    tree.write("file", b"first")
    assert path.read_bytes() == b"first"

    def raise_disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", raise_disk_full)
    with pytest.raises(OSError, match="No space"):
        tree.write("file", b"second")
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_only_temporary_files_are_removed(tmp_path: Path) -> None:
    others = ["a.json", ".a.tmp", ".hidden", "a.0123456789ab.tmp", ".a.json.0123456789AB.tmp"]
    for name in [*others, ".a.json.0123456789ab.tmp"]:
        (tmp_path / name).touch()
    Tree(tmp_path).remove_temporary()
    assert {path.name for path in tmp_path.iterdir()} == set(others)
    Tree(tmp_path / "nowhere").remove_temporary()


def test_folder_with_the_name_of_a_temporary_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".a.0123456789ab.tmp").mkdir()
    Tree(tmp_path).remove_temporary()
    assert (tmp_path / ".a.0123456789ab.tmp").is_dir()
