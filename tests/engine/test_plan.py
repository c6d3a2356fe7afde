"""Keys and plans: what makes an item another item, and who comes first."""

import math
import os
import random
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import MAX_ID_LENGTH, Item, is_safe_id, make_safe_id
from tasks.engine.contract.stage import Stage, StageResult, Workspace
from tasks.engine.planning.identity import canonicalize, compute_item_key, compute_stage_digest, identify_input
from tasks.engine.planning.plan import PlannedItem, order_items, plan_stage
from tasks.engine.store.files import hash_file
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Failure, Output, Record, Usage
from tasks.engine.store.records import RecordStore
from tasks.engine.store.tree import Tree


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


def key(stage: Stage | None = None, item: Item = ITEM) -> str:
    return compute_item_key(compute_stage_digest(stage or PlainStage(Params())), item, "stat")


def test_a_key_changes_with_what_changes_the_result() -> None:
    stages = [NextVersion(Params()), OtherName(Params()), WithModel(Params()), PlainStage(Params(size=2))]
    items = [Item("b", ITEM.payload), Item("a", {"start": 0.6}), Item("a", {"start": "0.5"}), Item("a")]
    keys = [key(), *(key(stage) for stage in stages), *(key(item=item) for item in items)]
    assert len(set(keys)) == len(keys)
    assert all(len(found) == 64 for found in keys)


def test_a_key_does_not_change_with_what_changes_no_result() -> None:
    assert key() == key(PlainStage(Params(size=1)))
    assert key() == key(item=Item("a", {"start": 0.5}, cost=9.0, fields={"rank": 3}))
    assert key(item=Item("a", {"x": 1, "y": [2]})) == key(item=Item("a", {"y": [2], "x": 1}))


def test_keys_are_the_same_on_every_machine_and_in_every_version() -> None:
    """A changed digest makes every user's items run again: raise a stage's version instead."""
    assert key() == "9e5577b51a244b10afbc8b6fb1f09144a6b7002f0efb3e0c33dda81c2e300e47"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_json_lacks_have_no_key(value: float) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonicalize({"x": value})


def test_identity_of_an_input(tmp_path: Path) -> None:
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
def test_identity_of_a_folder_is_that_of_what_is_in_it(tmp_path: Path, identity: str) -> None:
    def now() -> object:
        return identify_input(str(tmp_path), identity)  # type: ignore[arg-type]

    seen = [now()]
    for name in ("b", "a", "deep/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("same")
        seen.append(now())
    (tmp_path / "a").rename(tmp_path / "A")
    seen.append(now())
    (tmp_path / "deep/c").write_text("other")
    seen.append(now())
    assert len({str(identity) for identity in seen}) == len(seen)


def plan(*costs_and_ranks: tuple[float, object], **options: object) -> str:
    """The order in which items a, b, c, ... come."""
    items = [
        PlannedItem(Item("abcdefgh"[place], cost=cost, fields={"rank": rank}), "key", place)
        for place, (cost, rank) in enumerate(costs_and_ranks)
    ]
    return "".join(planned.item.id for planned in order_items(items, Execution.model_validate(options)))


def test_order_by_cost_and_place() -> None:
    costs = [(1.0, None), (3.0, None), (1.0, None), (2.0, None)]
    assert plan(*costs) == "bdac"
    assert plan(*costs, order="lightest") == "acdb"
    assert plan(*costs, order="manifest") == "abcd"


def test_priority_puts_numbers_over_texts_over_nothing() -> None:
    ranks = [None, "x", 1, 2.5, math.nan, "y", -7, True]
    assert plan(*[(1.0, rank) for rank in ranks], priority="rank") == "dchgfbae"
    assert plan((1.0, 5), (2.0, 5), (3.0, 4), priority="rank") == "bac"
    assert plan((1.0, 5), (2.0, 5), priority="no such field", order="lightest") == "ab"


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    made = RecordStore(Layout(tmp_path), PlainStage.name)
    made.prepare()
    return made


def test_a_plan_parts_what_is_settled_from_what_is_to_do(store: RecordStore) -> None:
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


@pytest.mark.parametrize("seed", range(5))
def test_any_text_becomes_a_safe_id_of_its_own(seed: int) -> None:
    chance = random.Random(seed)
    letters = "aZ0._-/ \\\n\0é漢'\"$%:*"
    texts = {"".join(chance.choices(letters, k=chance.randrange(200))) for _ in range(500)}
    ids = {text: make_safe_id(text) for text in texts}
    assert all(is_safe_id(found) for found in ids.values())
    assert len(set(ids.values())) == len(texts)
    assert all(found == text for text, found in ids.items() if is_safe_id(text))


@pytest.mark.parametrize("text", ["", ".", "..", ".hidden", "-x", "a/b", "a\n", "a b", "é", "a" * (MAX_ID_LENGTH + 1)])
def test_unsafe_ids(text: str) -> None:
    assert not is_safe_id(text)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, tree = tmp_path / "file", Tree(tmp_path)
    tree.write("file", b"first")
    assert path.read_bytes() == b"first"

    def no_room(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space"):
        tree.write("file", b"second")
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_half_written_files_are_told_from_others(tmp_path: Path) -> None:
    others = ["a.json", ".a.tmp", ".hidden", "a.0123456789ab.tmp", ".a.json.0123456789AB.tmp"]
    for name in [*others, ".a.json.0123456789ab.tmp"]:
        (tmp_path / name).touch()
    Tree(tmp_path).remove_temporary()
    assert {path.name for path in tmp_path.iterdir()} == set(others)
    Tree(tmp_path / "nowhere").remove_temporary()


def test_a_folder_that_is_named_like_a_half_written_file_stays(tmp_path: Path) -> None:
    (tmp_path / ".a.0123456789ab.tmp").mkdir()
    Tree(tmp_path).remove_temporary()
    assert (tmp_path / ".a.0123456789ab.tmp").is_dir()
