"""Test records: which are trusted, histories, records set aside, order of writes, and removed files."""

from __future__ import annotations

import errno
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.store.files import hash_file
from tasks.engine.store.layout import Layout, remove_output
from tasks.engine.store.outcomes import Failure, Output, Record, Usage
from tasks.engine.store.publish import collect_outputs, publish
from tasks.engine.store.records import RecordStore, find_needed_outputs
from tasks.engine.store.tree import Tree


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    new_store = RecordStore(Layout(tmp_path / "out"), "stage")
    new_store.prepare()
    return new_store


def create_record(item_id: str, outputs: tuple[Output, ...] = (), key: str = "key") -> Record:
    values = {"n": 1, "x": 0.1, "names": ["a", "é"], "none": None, "flag": True}
    detail = {"rows": [{"a": [1, 2.5, "\u2028"]}]}
    return Record(item_id, "stage", 1, key, outputs, values, detail, Usage(1.5, 2.5), 1, "run")


def publish_files(store: RecordStore, item_id: str, files: dict[str, str], key: str = "key") -> Record:
    """Publish ``files`` for an item as a slot does; return its record."""
    private = store.layout.private / "run" / item_id
    for name, content in files.items():
        (private / name).parent.mkdir(parents=True, exist_ok=True)
        (private / name).write_text(content)
    private.mkdir(parents=True, exist_ok=True)
    published = create_record(item_id, collect_outputs(private), key)
    publish(private, published, store)
    return published


def list_visible(store: RecordStore) -> set[str]:
    folder = store.layout.output_dir
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if path.parts[0] != ".headrace"}


def list_stale(store: RecordStore) -> list[str]:
    return sorted(path.name for path in store.folder.glob("*.stale"))


def test_record_is_read_as_written(store: RecordStore) -> None:
    written = create_record("a", (Output("x/y.bin", 3, "0" * 64),))
    store.write(written)
    assert store.load() == {"a": written}
    assert store.get("a") == written
    assert store.get("b") is None


@pytest.mark.parametrize("seed", range(10))
def test_damaged_record_is_ignored_or_unchanged(store: RecordStore, seed: int) -> None:
    """Truncate, flip and pad at random: no error is raised."""
    generator = random.Random(seed)
    written = create_record("a", (Output("x", 1, "0" * 64),))
    store.write(written)
    path = store.folder / "a.json"
    whole = path.read_bytes()
    for _ in range(50):
        content = bytearray(whole)
        if generator.random() < 0.5:
            del content[generator.randrange(len(content)) :]
        else:
            content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(content)
        loaded = store.get("a")
        assert loaded is None or isinstance(loaded, Record)
        assert store.load() == ({} if loaded is None else {"a": loaded})


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b'{"id": "a"}', b"\xff\xfe", b"[" * 100_000])
def test_invalid_record_is_ignored(store: RecordStore, content: bytes) -> None:
    (store.folder / "a.json").write_bytes(content)
    assert store.load() == {}
    (store.folder / "a.stale").write_bytes(content)
    publish_files(store, "a", {"a.txt": "a"})
    assert set(store.load()) == {"a"}
    assert list_stale(store) == []


def test_temporary_files_and_folders_are_not_records(store: RecordStore) -> None:
    store.write(create_record("a"))
    (store.folder / ".a.json.0123456789ab.tmp").write_bytes((store.folder / "a.json").read_bytes())
    (store.folder / "folder.json").mkdir()
    assert set(store.load()) == {"a"}


def test_stage_that_never_ran_has_no_records(tmp_path: Path) -> None:
    store = RecordStore(Layout(tmp_path / "nowhere"), "stage")
    assert store.load() == {}
    assert store.load_failures() == {}
    store.tidy({"a"})
    assert not (tmp_path / "nowhere").exists()


def test_record_removes_the_failure(store: RecordStore) -> None:
    store.write_failure(Failure("a", "stage", "key", "timeout", "no result", 2, Usage(), "run"))
    assert set(store.load_failures()) == {"a"}
    store.write(create_record("a"))
    assert store.load_failures() == {}


def test_outputs_are_intact_only_if_complete(store: RecordStore) -> None:
    published = publish_files(store, "a", {"one": "1", "two": "22"})
    folder = store.layout.output_dir
    assert store.has_intact_outputs(published, "size")
    assert store.has_intact_outputs(published, "digest")
    (folder / "two").write_text("33")
    assert store.has_intact_outputs(published, "size")
    assert not store.has_intact_outputs(published, "digest")
    (folder / "two").write_text("333")
    assert not store.has_intact_outputs(published, "size")
    (folder / "two").unlink()
    (folder / "two").mkdir()
    assert not store.has_intact_outputs(published, "digest")


def test_new_outputs_replace_old_ones(store: RecordStore) -> None:
    publish_files(store, "a", {"a/1": "1", "a/2": "2", "a/deep/3": "3"})
    publish_files(store, "b", {"b": "b"})
    publish_files(store, "a", {"a/1": "one"}, key="other")
    assert list_stale(store) == ["a.stale"]
    store.tidy()
    assert list_visible(store) == {"a/1", "b"}
    assert (store.layout.output_dir / "a/1").read_text() == "one"
    assert not (store.layout.output_dir / "a/deep").exists()
    assert list_stale(store) == []


def test_file_taken_over_by_another_item_is_kept(store: RecordStore) -> None:
    publish_files(store, "a", {"shared": "by a", "own": "a"})
    publish_files(store, "b", {"shared": "by b"})
    publish_files(store, "a", {"own": "a"})
    store.tidy()
    assert list_visible(store) == {"shared", "own"}
    assert (store.layout.output_dir / "shared").read_text() == "by b"


def test_leftovers_of_a_killed_publication_are_found(store: RecordStore) -> None:
    """Kill a publication after its first rename, then publish with other parameters: old and new files are found."""
    publish_files(store, "a", {"old": "old"})
    half = create_record("a", (Output("half-1", 1, "0" * 64), Output("half-2", 1, "0" * 64)))
    store.set_aside(half)
    (store.layout.output_dir / "half-1").write_text("h")
    assert store.load() == {}
    publish_files(store, "a", {"new": "new"})
    store.tidy()
    assert list_visible(store) == {"new"}


def test_old_files_of_an_item_stay_until_it_is_published(store: RecordStore) -> None:
    publish_files(store, "a", {"old": "old"})
    store.set_aside(create_record("a"))
    store.tidy()
    assert list_visible(store) == {"old"}
    assert list_stale(store) == ["a.stale"]


def test_tidy_removes_items_that_are_not_kept(store: RecordStore) -> None:
    publish_files(store, "a", {"a": "a", "shared": "x"})
    publish_files(store, "b", {"b/b": "b", "shared": "x"})
    publish_files(store, "c", {"c": "c"})
    store.set_aside(create_record("c", (Output("c-too", 1, "0" * 64),)))
    (store.folder / "torn.json").write_bytes(b"{")
    store.tidy({"a"})
    assert list_visible(store) == {"a", "shared"}
    assert [path.name for path in store.folder.iterdir()] == ["a.json"]


def test_second_tidy_changes_no_file(store: RecordStore) -> None:
    publish_files(store, "a", {"a": "a"})
    before = sorted((str(path), path.stat().st_mtime_ns) for path in store.layout.output_dir.rglob("*"))
    store.tidy({"a"})
    store.tidy()
    assert sorted((str(path), path.stat().st_mtime_ns) for path in store.layout.output_dir.rglob("*")) == before


@pytest.mark.parametrize("path", ["../outside", "/outside", "a/../../outside"])
def test_record_cannot_remove_a_file_outside(store: RecordStore, tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    named = str(outside) if path.startswith("/") else path
    store.write(create_record("a", (Output(named, 4, hash_file(outside)),)))
    store.tidy(set())
    assert outside.read_text() == "mine"
    remove_output(store.layout, named)
    assert outside.read_text() == "mine"


def test_outputs_are_sorted_by_path(tmp_path: Path) -> None:
    for name in ("b/2", "b/10", "a", "é"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    loaded = collect_outputs(tmp_path)
    assert [output.path for output in loaded] == ["a", "b/10", "b/2", "é"]
    assert [output.size_bytes for output in loaded] == [1, 4, 3, 2]
    assert collect_outputs(tmp_path / "nothing") == ()


def test_only_empty_folders_are_removed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.state_folder.mkdir()
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_text("c")
    (tmp_path / "a/kept").write_text("k")
    remove_output(layout, "a/b/c")
    assert not (tmp_path / "a/b").exists()
    assert (tmp_path / "a/kept").exists()
    remove_output(layout, "a/never-was")
    remove_output(layout, "a/kept")
    assert list(tmp_path.iterdir()) == [layout.state_folder]


def test_records_are_standard_json(store: RecordStore) -> None:
    store.write(create_record("a"))
    content = json.loads((store.folder / "a.json").read_bytes())
    assert content["values"]["names"] == ["a", "é"]
    assert content["outputs"] == []


def test_item_is_new_only_until_it_has_files(store: RecordStore) -> None:
    """Each later result must find the earlier one, even if the store is never asked to look again."""
    store.look("new")
    publish_files(store, "new", {"new/1": "1", "new/2": "2"})
    publish_files(store, "new", {"new/1": "one"}, key="other")
    assert len(store.load()["new"].history) == 1
    store.tidy()
    assert list_visible(store) == {"new/1"}


def test_look_concerns_one_item(store: RecordStore) -> None:
    publish_files(store, "a", {"a/1": "1", "a/2": "2"})
    store.look("new")
    assert store.get("a") is not None
    publish_files(store, "a", {"a/1": "one"}, key="other")
    assert len(store.load()["a"].history) == 1
    store.tidy()
    assert list_visible(store) == {"a/1"}


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
    store.look("a")
    store.write(create_record("a"))
    assert len(store.load()["a"].history) == 1


def test_new_item_is_published_in_few_steps(store: RecordStore, steps: list[str]) -> None:
    """Thousands of items may be new: no file is read or removed for them."""
    store.look("new")
    store.set_aside(create_record("new"))
    store.write(create_record("new"))
    store.settle(create_record("new"))
    assert steps == ["write records/stage/new.json", "sync_folder records/stage"]


def test_failure_of_a_new_item_is_removed_by_its_record(store: RecordStore) -> None:
    store.look("new")
    store.write_failure(create_failure("new"))
    store.write(create_record("new"))
    assert store.load_failures() == {}
    assert [each.outcome for each in store.load()["new"].history] == ["failed"]


def test_outputs_of_a_new_item_are_noted_before_publication(store: RecordStore, steps: list[str]) -> None:
    store.look("new")
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
    with store.holding():
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
