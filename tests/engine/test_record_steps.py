"""Test the steps of record stores: histories, records set aside, and the order of writes."""

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
from tests.engine.test_records import create_record, list_stale, list_visible, publish_files


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    written = RecordStore(Layout(tmp_path / "out"), "stage")
    written.prepare()
    return written


def create_failure(item_id: str, message: str = "no result", run_id: str = "run") -> Failure:
    return Failure(item_id, "stage", "key", "timeout", message, 1, Usage(1.0, 2.0), run_id)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the writes, moves, removals and syncs in .headrace, in order."""
    written: list[str] = []
    for name in ("write", "unlink", "move", "sync", "sync_folder"):
        _record_calls(monkeypatch, name, written)
    return written


def _record_calls(monkeypatch: pytest.MonkeyPatch, name: str, written: list[str]) -> None:
    real = getattr(Tree, name)

    def record_call(tree: Tree, *arguments: Any, **options: bool) -> None:
        paths = [each.removeprefix(".headrace/") for each in arguments if isinstance(each, str)]
        written.append(" ".join([name, *paths, *(f"{key}={value}" for key, value in options.items())]))
        real(tree, *arguments, **options)

    monkeypatch.setattr(Tree, name, record_call)


def test_history_lists_earlier_attempts_in_order(store: RecordStore) -> None:
    store.write_failure(create_failure("a", "first"))
    store.write_failure(create_failure("a", "second"))
    store.write(create_record("a"))
    store.write(create_record("a"))
    loaded = store.get("a")
    assert loaded is not None
    assert [(each.outcome, each.message) for each in loaded.history] == [
        ("failed", "timeout: first"),
        ("failed", "timeout: second"),
        ("done", ""),
    ]
    store.write_failure(create_failure("a", "third"))
    assert [each.outcome for each in store.load_failures()["a"].history] == ["failed", "failed", "done", "done"]


def test_history_keeps_the_latest_twenty_attempts(store: RecordStore) -> None:
    for number in range(25):
        store.write_failure(create_failure("a", str(number)))
    history = store.load_failures()["a"].history
    assert [each.message for each in history] == [f"timeout: {number}" for number in range(4, 24)]


def test_history_survives_a_record_that_was_set_aside(store: RecordStore) -> None:
    publish_files(store, "a", {"old": "old"})
    store.set_aside(create_record("a"))
    store.write_failure(create_failure("a"))
    assert [each.outcome for each in store.load_failures()["a"].history] == ["done"]


def test_item_has_three_files(store: RecordStore) -> None:
    own = store.layout.state_folder
    assert store.paths("a") == [
        own / "records/stage/a.json",
        own / "records/stage/a.stale",
        own / "failures/stage/a.json",
    ]


@pytest.mark.parametrize("left", ["records/stage/a.json", "records/stage/a.stale", "failures/stage/a.json"])
def test_item_with_any_file_is_found(store: RecordStore, left: str) -> None:
    if left.startswith("failures"):
        store.write_failure(create_failure("a"))
    else:
        publish_files(store, "a", {"old": "old"})
        if left.endswith("stale"):
            store.set_aside(create_record("a"))
    store.look(["a", "new"])
    store.write(create_record("a"))
    assert len(store.load()["a"].history) == 1


def test_new_item_is_published_in_few_steps(store: RecordStore, steps: list[str]) -> None:
    """Thousands of items may be new: no file is read or removed for them."""
    store.look(["new"])
    store.set_aside(create_record("new"))
    store.write(create_record("new"))
    store.settle(create_record("new"))
    assert steps == ["write records/stage/new.json", "sync_folder records/stage"]


def test_failure_of_a_new_item_is_removed_by_its_record(store: RecordStore) -> None:
    store.look(["new"])
    store.write_failure(create_failure("new"))
    store.write(create_record("new"))
    assert store.load_failures() == {}
    assert [each.outcome for each in store.load()["new"].history] == ["failed"]


def test_outputs_of_a_new_item_are_noted_before_publication(store: RecordStore, steps: list[str]) -> None:
    store.look(["new"])
    written = create_record("new", (Output("x", 1, "0" * 64),))
    store.set_aside(written)
    assert json.loads((store.folder / "new.stale").read_bytes()) == {"paths": ["x"], "former": None}
    store.write(written)
    store.settle(written)
    assert list_stale(store) == []
    assert steps == [
        "write records/stage/new.stale durable=False",
        "write records/stage/new.json",
        "sync_folder records/stage",
        "unlink records/stage/new.stale",
    ]


def test_record_is_set_aside_and_synced_before_its_outputs_are_replaced(store: RecordStore, steps: list[str]) -> None:
    old = publish_files(store, "a", {"old": "old"})
    steps.clear()
    store.set_aside(create_record("a", (Output("new", 1, "0" * 64),)))
    aside = json.loads((store.folder / "a.stale").read_bytes())
    assert sorted(aside["paths"]) == ["new", "old"]
    assert aside["former"]["outputs"] == [{"path": "old", "size_bytes": 3, "sha256": old.outputs[0].sha256}]
    assert steps == [
        "write records/stage/a.stale durable=True",
        "unlink records/stage/a.json",
        "sync_folder records/stage",
    ]


def test_records_are_synced_and_failures_are_not(store: RecordStore, steps: list[str]) -> None:
    store.write_failure(create_failure("a"))
    store.write(create_record("a"))
    assert steps == [
        "write failures/stage/a.json durable=False",
        "write records/stage/a.json",
        "sync_folder records/stage",
        "unlink failures/stage/a.json",
    ]


def test_withdrawn_record_stays_in_the_history(store: RecordStore, steps: list[str]) -> None:
    publish_files(store, "a", {"old": "old"})
    steps.clear()
    store.withdraw(["a", "unknown"])
    assert steps == ["move records/stage/a.json records/stage/a.stale", "sync_folder records/stage"]
    assert store.get("a") is None
    store.write_failure(create_failure("a"))
    assert [each.outcome for each in store.load_failures()["a"].history] == ["done"]
    store.tidy(set())
    assert list_visible(store) == set()


def test_record_is_withdrawn_together_with_earlier_outputs(store: RecordStore) -> None:
    publish_files(store, "a", {"old": "old"})
    publish_files(store, "a", {"new": "new"})
    store.withdraw(["a"])
    aside = json.loads((store.folder / "a.stale").read_bytes())
    assert sorted(aside["paths"]) == ["new", "old"]
    assert [output["path"] for output in aside["former"]["outputs"]] == ["new"]
    assert not (store.folder / "a.json").exists()


def test_unreadable_outputs_are_not_intact(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    written = publish_files(store, "a", {"one": "1"})

    def refuse(*_: object) -> str:
        raise PermissionError

    monkeypatch.setattr(Tree, "sha256", refuse)
    assert store.has_intact_outputs(written, "size")
    assert not store.has_intact_outputs(written, "digest")
    (store.layout.output_dir / "one").unlink()
    assert not store.has_intact_outputs(written, "size")


def test_many_records_are_read_through_open_folders(store: RecordStore) -> None:
    written = publish_files(store, "a", {"deep/one": "1"})
    with store.reading():
        assert store.get("a") == written
        store.folder.rename(store.folder.with_name("moved"))
        assert store.get("a") == written
    assert store.get("a") is None


def test_needed_outputs_exclude_removed_items(store: RecordStore) -> None:
    publish_files(store, "a", {"one": "1"})
    publish_files(store, "b", {"two": "2"})
    other = RecordStore(store.layout, "other")
    other.prepare()
    other.write(replace(create_record("a", (Output("three", 1, "0" * 64),)), stage="other"))
    loaded = find_needed_outputs(store.layout, lambda stage, item_id: (stage, item_id) == ("stage", "a"))
    assert loaded == {"two", "three"}


def test_unreadable_record_is_an_error(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the record would count as missing, and its files would be lost."""
    store.write(create_record("a"))

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Tree, "read", fail)
    with pytest.raises(OSError, match="Input/output error"):
        store.get("a")


def test_hidden_file_is_not_a_record(store: RecordStore) -> None:
    store.write(create_record(".hidden"))
    assert store.load() == {}
