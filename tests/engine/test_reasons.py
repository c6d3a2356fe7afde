"""Test the reasons why an item must run again, each caused by a real change."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning.basis import BasisMaker, read_params, write_outline, write_params
from tasks.engine.planning.plan import ItemPlanner, PlannedItem
from tasks.engine.planning.reasons import UNKNOWN, Explainer, Reason, describe_change, list_differences
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Failure, Output, Record, Usage
from tasks.engine.store.records import RecordStore
from tests.engine.faults import FaultParams, FaultStage

ITEM = Item("a", {"crf": 18, "list": list(range(100))})


class ModelStage(FaultStage):
    """A stage with a model."""

    def __init__(self, text: str = "text", model: str = "m1") -> None:
        super().__init__(FaultParams(text=text))
        self._model = model

    def model_digests(self) -> dict[str, str]:
        return {"face": self._model}


class Folder:
    """An output folder in which an item is done, and a later plan of it."""

    def __init__(self, path: Path) -> None:
        self.layout = Layout(path)
        self.store = RecordStore(self.layout, "faults")
        self.store.prepare()

    def finish(self, item: Item, stage: FaultStage, **options: Any) -> Record:
        execution = Execution(**options)
        planned = self.plan(item, stage, execution)
        (self.layout.output_dir / "a.txt").write_text("text")
        outputs = (Output("a.txt", 4, "0" * 64),)
        basis = BasisMaker(stage, execution.identity).describe(planned)
        record = Record(item.id, "faults", stage.version, planned.key, outputs, {}, {}, Usage(), 1, "run", basis=basis)
        self.store.write(record)
        write_params(self.layout, stage)
        return record

    def plan(self, item: Item, stage: FaultStage, execution: Execution) -> PlannedItem:
        planned = ItemPlanner(stage, self.store, execution).plan(item)
        assert isinstance(planned, PlannedItem), planned
        return planned

    def explain(self, item: Item, stage: FaultStage, **options: Any) -> Reason:
        execution = Execution(**options)
        return Explainer(stage, self.store, execution).explain(self.plan(item, stage, execution))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "out")


def test_item_without_files_is_new(folder: Folder) -> None:
    assert folder.explain(ITEM, ModelStage()) == Reason("new")


@pytest.mark.parametrize(
    ("item", "stage", "options", "text"),
    [
        (ITEM, ModelStage("other"), {}, 'parameter `text` changed from "text" to "other"'),
        (ITEM, ModelStage(model="m2"), {}, 'model `face` changed from "m1" to "m2"'),
        (replace(ITEM, payload={**ITEM.payload, "crf": 20}), ModelStage(), {}, "parameter `crf` changed from 18 to 20"),
        (replace(ITEM, payload={"crf": 18, "list": [1]}), ModelStage(), {}, "parameter `list` changed"),
        (replace(ITEM, payload={**ITEM.payload, "new": 1}), ModelStage(), {}, "parameter `new` is new"),
        (replace(ITEM, refusal="torn"), ModelStage(), {}, "its work changed"),
        (ITEM, ModelStage(), {"identity": "content"}, "--identity changed from stat to content"),
        (ITEM, ModelStage(), {"refresh": True}, "--refresh"),
    ],
)
def test_change_of_the_key_is_named(
    folder: Folder, item: Item, stage: FaultStage, options: dict[str, Any], text: str
) -> None:
    folder.finish(ITEM, ModelStage())
    if options == {"identity": "content"}:  # the key of an item without inputs does not depend on it
        record = folder.store.get("a")
        assert record is not None
        folder.store.write(replace(record, key="other"))
    assert folder.explain(item, stage, **options).text == text


def test_two_changes_are_both_named(folder: Folder) -> None:
    folder.finish(ITEM, ModelStage())
    item = replace(ITEM, payload={**ITEM.payload, "crf": 20})
    text = 'parameter `text` changed from "text" to "x", parameter `crf` changed from 18 to 20'
    assert folder.explain(item, ModelStage("x")).text == text


def test_many_changes_are_counted_in_the_reason_and_listed_in_the_details(folder: Folder) -> None:
    folder.finish(Item("a", dict.fromkeys("abcde", 1)), ModelStage())
    reason = folder.explain(Item("a", dict.fromkeys("abcde", 2)), ModelStage())
    assert reason.text.endswith("parameter `c` changed from 1 to 2, 2 more changes")
    assert len(reason.details) == 5


def test_changed_input_is_named(folder: Folder, tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    tape.write_text("one")
    item = replace(ITEM, inputs=(str(tape),))
    folder.finish(item, ModelStage())
    os.utime(tape, (1, 1))
    assert folder.explain(item, ModelStage()) == Reason("input changed", ("input changed", f"input: {tape}"))


def test_changed_result_of_an_earlier_stage_is_upstream(folder: Folder) -> None:
    folder.finish(Item("a", {"from": {"x": "0" * 64}, "crf": 1}), ModelStage())
    assert folder.explain(Item("a", {"from": {"x": "1" * 64}, "crf": 1}), ModelStage()).text == "upstream changed"


def test_new_version_of_the_stage_is_named(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.finish(ITEM, ModelStage())
    monkeypatch.setattr(FaultStage, "version", 2)
    assert folder.explain(ITEM, ModelStage()).text == "stage version changed from 1 to 2"


def test_missing_and_altered_outputs_are_named(folder: Folder) -> None:
    folder.finish(ITEM, ModelStage())
    (folder.layout.output_dir / "a.txt").write_text("longer")
    assert folder.explain(ITEM, ModelStage()) == Reason("output altered", ("altered: a.txt",))
    (folder.layout.output_dir / "a.txt").unlink()
    assert folder.explain(ITEM, ModelStage()) == Reason("output missing", ("missing: a.txt",))


def test_failed_and_unfinished_items_are_told_apart(folder: Folder) -> None:
    folder.store.write_failure(Failure("a", "faults", "key", "crash", "died", 1, Usage(), "run"))
    assert folder.explain(ITEM, ModelStage()) == Reason("failed before", ("crash: died",))
    record = folder.finish(replace(ITEM, id="b"), ModelStage())
    folder.store.set_aside(record)
    assert folder.explain(replace(ITEM, id="b"), ModelStage()).text == "unfinished"


def test_dropped_outputs_are_a_reason_of_their_own(folder: Folder) -> None:
    record = replace(folder.finish(ITEM, ModelStage()), dropped=True)
    folder.store.write(record)
    planned = PlannedItem(ITEM, record.key)
    explainer = Explainer(ModelStage(), folder.store, Execution())
    assert explainer.explain(planned).text == "outputs removed after use, needed again"


def remove_basis(folder: Folder) -> None:
    path = folder.store.folder / "a.json"
    content = json.loads(path.read_text())
    del content["basis"]
    path.write_text(json.dumps(content))


def remove_params(folder: Folder) -> None:
    for path in folder.layout.params("faults").iterdir():
        path.unlink()


def damage_params(folder: Folder) -> None:
    for path in folder.layout.params("faults").iterdir():
        path.write_text("{")


def forge_digest(folder: Folder) -> None:
    path = folder.store.folder / "a.json"
    content = json.loads(path.read_text())
    content["basis"] = json.dumps({**json.loads(content["basis"]), "params": "../../records/faults/a"})
    path.write_text(json.dumps(content))


def damage_basis(folder: Folder) -> None:
    path = folder.store.folder / "a.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "basis": "[" * 1000}))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (remove_basis, UNKNOWN),
        (damage_basis, UNKNOWN),
        (remove_params, "parameters changed"),
        (damage_params, "parameters changed"),
        (forge_digest, "parameters changed"),
    ],
)
def test_lost_history_never_stops_an_explanation(folder: Folder, damage: Callable[[Folder], None], text: str) -> None:
    folder.finish(ITEM, ModelStage())
    damage(folder)
    assert folder.explain(ITEM, ModelStage("other")).text == text


def test_record_of_an_older_version_is_done(folder: Folder) -> None:
    folder.finish(ITEM, ModelStage())
    remove_basis(folder)
    settled = ItemPlanner(ModelStage(), folder.store, Execution()).plan(ITEM)
    assert not isinstance(settled, PlannedItem)


def test_outline_stays_small_and_notices_changes_in_long_parts() -> None:
    one, two = (write_outline({"crf": 18, "rows": [end, *range(10_000)], "text": "x" * 500}) for end in (1, 2))
    assert one != two
    assert len(one) < 200
    assert write_outline({f"name {n}": n for n in range(1000)}) == ""


def test_differences_name_their_paths() -> None:
    old, new = {"a": {"b": [1, {"c": 2}]}, "d": [1]}, {"a": {"b": [1, {"c": 3}]}, "d": [1, 2]}
    assert list(list_differences(old, new)) == [("a.b[1].c", 2, 3), ("d", [1], [1, 2])]


def test_last_part_of_a_path_names_a_change_if_it_is_unique(folder: Folder) -> None:
    former = {"work": {"encoder": {"crf": 18.0}, "a": {"x": 1}, "b": {"x": 1}}}
    folder.finish(Item("a", former), ModelStage())
    now = {"work": {"encoder": {"crf": 20.5}, "a": {"x": 2}, "b": {"x": 3}}}
    assert folder.explain(Item("a", now), ModelStage()).text == (
        "parameter `work.a.x` changed from 1 to 2, parameter `work.b.x` changed from 1 to 3, "
        "parameter `crf` changed from 18 to 20.5"
    )


def test_long_values_are_not_shown() -> None:
    assert describe_change("x", "a" * 100, "b", "parameter") == "parameter `x` changed"


def test_params_of_an_unknown_stage_are_none(tmp_path: Path) -> None:
    assert read_params(Layout(tmp_path), "faults", "0" * 16) is None
