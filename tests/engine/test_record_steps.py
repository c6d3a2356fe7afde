"""Records step by step: histories, what is set aside, and what reaches the disk in which order."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Failure, Output, Usage
from tasks.engine.store.records import RecordStore, find_needed_outputs
from tasks.engine.store.tree import Tree
from tests.engine.test_records import make, record, stale, visible


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    made = RecordStore(Layout(tmp_path / "out"), "stage")
    made.prepare()
    return made


def failure(item_id: str, message: str = "no result", run_id: str = "run") -> Failure:
    return Failure(item_id, "stage", "key", "timeout", message, 1, Usage(1.0, 2.0), run_id)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was written, moved, removed and forced to the disk below .headrace, in order."""
    made: list[str] = []
    for name in ("write", "unlink", "move", "sync", "sync_folder"):
        _note_calls(monkeypatch, name, made)
    return made


def _note_calls(monkeypatch: pytest.MonkeyPatch, name: str, made: list[str]) -> None:
    real = getattr(Tree, name)

    def noted(tree: Tree, *arguments: Any, **options: bool) -> None:
        paths = [each.removeprefix(".headrace/") for each in arguments if isinstance(each, str)]
        made.append(" ".join([name, *paths, *(f"{key}={value}" for key, value in options.items())]))
        real(tree, *arguments, **options)

    monkeypatch.setattr(Tree, name, noted)


def test_the_history_tells_of_earlier_tries_latest_last(store: RecordStore) -> None:
    store.write_failure(failure("a", "first"))
    store.write_failure(failure("a", "second"))
    store.write(record("a"))
    store.write(record("a"))
    found = store.get("a")
    assert found is not None
    assert [(each.outcome, each.message) for each in found.history] == [
        ("failed", "timeout: first"),
        ("failed", "timeout: second"),
        ("done", ""),
    ]
    store.write_failure(failure("a", "third"))
    assert [each.outcome for each in store.load_failures()["a"].history] == ["failed", "failed", "done", "done"]


def test_the_history_keeps_the_latest_twenty_tries(store: RecordStore) -> None:
    for number in range(25):
        store.write_failure(failure("a", str(number)))
    history = store.load_failures()["a"].history
    assert [each.message for each in history] == [f"timeout: {number}" for number in range(4, 24)]


def test_the_history_outlives_a_record_that_was_set_aside(store: RecordStore) -> None:
    make(store, "a", {"old": "old"})
    store.set_aside(record("a"))
    store.write_failure(failure("a"))
    assert [each.outcome for each in store.load_failures()["a"].history] == ["done"]


def test_what_is_known_of_an_item_is_in_three_files(store: RecordStore) -> None:
    own = store.layout.state_folder
    assert store.paths("a") == [
        own / "records/stage/a.json",
        own / "records/stage/a.stale",
        own / "failures/stage/a.json",
    ]


@pytest.mark.parametrize("left", ["records/stage/a.json", "records/stage/a.stale", "failures/stage/a.json"])
def test_an_item_with_any_file_is_looked_for(store: RecordStore, left: str) -> None:
    if left.startswith("failures"):
        store.write_failure(failure("a"))
    else:
        make(store, "a", {"old": "old"})
        if left.endswith("stale"):
            store.set_aside(record("a"))
    store.look(["a", "new"])
    store.write(record("a"))
    assert len(store.load()["a"].history) == 1


def test_an_item_that_nothing_is_known_of_is_published_in_few_steps(store: RecordStore, steps: list[str]) -> None:
    """Thousands of new items: nothing is read and nothing is removed for them."""
    store.look(["new"])
    store.set_aside(record("new"))
    store.write(record("new"))
    store.settle(record("new"))
    assert steps == ["write records/stage/new.json", "sync_folder records/stage"]


def test_a_failure_of_a_new_item_is_looked_for_from_then_on(store: RecordStore) -> None:
    store.look(["new"])
    store.write_failure(failure("new"))
    store.write(record("new"))
    assert store.load_failures() == {}
    assert [each.outcome for each in store.load()["new"].history] == ["failed"]


def test_a_new_item_with_outputs_names_them_before_they_are_in_place(store: RecordStore, steps: list[str]) -> None:
    store.look(["new"])
    made = record("new", (Output("x", 1, "0" * 64),))
    store.set_aside(made)
    assert json.loads((store.folder / "new.stale").read_bytes()) == {"paths": ["x"], "former": None}
    store.write(made)
    store.settle(made)
    assert stale(store) == []
    assert steps == [
        "write records/stage/new.stale durable=False",
        "write records/stage/new.json",
        "sync_folder records/stage",
        "unlink records/stage/new.stale",
    ]


def test_a_record_is_set_aside_on_the_disk_before_its_outputs_are_replaced(
    store: RecordStore, steps: list[str]
) -> None:
    old = make(store, "a", {"old": "old"})
    steps.clear()
    store.set_aside(record("a", (Output("new", 1, "0" * 64),)))
    aside = json.loads((store.folder / "a.stale").read_bytes())
    assert sorted(aside["paths"]) == ["new", "old"]
    assert aside["former"]["outputs"] == [{"path": "old", "size_bytes": 3, "sha256": old.outputs[0].sha256}]
    assert steps == [
        "write records/stage/a.stale durable=True",
        "unlink records/stage/a.json",
        "sync_folder records/stage",
    ]


def test_a_failure_needs_no_disk_and_a_record_does(store: RecordStore, steps: list[str]) -> None:
    store.write_failure(failure("a"))
    store.write(record("a"))
    assert steps == [
        "write failures/stage/a.json durable=False",
        "write records/stage/a.json",
        "sync_folder records/stage",
        "unlink failures/stage/a.json",
    ]


def test_a_withdrawn_record_reads_as_what_it_was(store: RecordStore, steps: list[str]) -> None:
    make(store, "a", {"old": "old"})
    steps.clear()
    store.withdraw(["a", "unknown"])
    assert steps == ["move records/stage/a.json records/stage/a.stale", "sync_folder records/stage"]
    assert store.get("a") is None
    store.write_failure(failure("a"))
    assert [each.outcome for each in store.load_failures()["a"].history] == ["done"]
    store.tidy(set())
    assert visible(store) == set()


def test_a_record_is_withdrawn_together_with_what_was_set_aside_before(store: RecordStore) -> None:
    make(store, "a", {"old": "old"})
    make(store, "a", {"new": "new"})
    store.withdraw(["a"])
    aside = json.loads((store.folder / "a.stale").read_bytes())
    assert sorted(aside["paths"]) == ["new", "old"]
    assert [output["path"] for output in aside["former"]["outputs"]] == ["new"]
    assert not (store.folder / "a.json").exists()


def test_outputs_that_cannot_be_read_do_not_hold(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(store, "a", {"one": "1"})

    def refuse(*_: object) -> str:
        raise PermissionError

    monkeypatch.setattr(Tree, "sha256", refuse)
    assert store.has_intact_outputs(made, "size")
    assert not store.has_intact_outputs(made, "digest")
    (store.layout.output_dir / "one").unlink()
    assert not store.has_intact_outputs(made, "size")


def test_many_records_are_read_through_open_folders(store: RecordStore) -> None:
    made = make(store, "a", {"deep/one": "1"})
    with store.reading():
        assert store.get("a") == made
        store.folder.rename(store.folder.with_name("moved"))
        assert store.get("a") == made
    assert store.get("a") is None


def test_needed_outputs_are_those_of_all_stages_but_for_items_that_go(store: RecordStore) -> None:
    make(store, "a", {"one": "1"})
    make(store, "b", {"two": "2"})
    other = RecordStore(store.layout, "other")
    other.prepare()
    other.write(replace(record("a", (Output("three", 1, "0" * 64),)), stage="other"))
    found = find_needed_outputs(store.layout, lambda stage, item_id: (stage, item_id) == ("stage", "a"))
    assert found == {"two", "three"}


def test_a_disk_that_cannot_read_a_record_is_an_error(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counted as missing then would be lost, with its files."""
    store.write(record("a"))

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Tree, "read", fail)
    with pytest.raises(OSError, match="Input/output error"):
        store.get("a")


def test_a_hidden_file_is_no_record_whatever_it_says(store: RecordStore) -> None:
    store.write(record(".hidden"))
    assert store.load() == {}
