"""Records: what is trusted, what is forgotten, and which files go with them."""

import json
import random
from pathlib import Path

import pytest

from tasks.engine.store.files import hash_file
from tasks.engine.store.layout import Layout, remove_output
from tasks.engine.store.outcomes import Failure, Output, Record, Usage
from tasks.engine.store.publish import collect_outputs, publish
from tasks.engine.store.records import RecordStore


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    made = RecordStore(Layout(tmp_path / "out"), "stage")
    made.prepare()
    return made


def record(item_id: str, outputs: tuple[Output, ...] = (), key: str = "key") -> Record:
    values = {"n": 1, "x": 0.1, "names": ["a", "é"], "none": None, "flag": True}
    detail = {"rows": [{"a": [1, 2.5, "\u2028"]}]}
    return Record(item_id, "stage", 1, key, outputs, values, detail, Usage(1.5, 2.5), 1, "run")


def make(store: RecordStore, item_id: str, files: dict[str, str], key: str = "key") -> Record:
    """Publish ``files`` for an item, as a slot does."""
    private = store.layout.private / "run" / item_id
    for name, content in files.items():
        (private / name).parent.mkdir(parents=True, exist_ok=True)
        (private / name).write_text(content)
    private.mkdir(parents=True, exist_ok=True)
    made = record(item_id, collect_outputs(private), key)
    publish(private, made, store)
    return made


def visible(store: RecordStore) -> set[str]:
    folder = store.layout.output_dir
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if path.parts[0] != ".headrace"}


def stale(store: RecordStore) -> list[str]:
    return sorted(path.name for path in store.folder.glob("*.stale"))


def test_a_record_is_read_as_it_was_written(store: RecordStore) -> None:
    written = record("a", (Output("x/y.bin", 3, "0" * 64),))
    store.write(written)
    assert store.load() == {"a": written}
    assert store.get("a") == written
    assert store.get("b") is None


@pytest.mark.parametrize("seed", range(10))
def test_a_damaged_record_is_none_or_the_very_same(store: RecordStore, seed: int) -> None:
    """Cut, flipped and padded at random: nothing raises."""
    chance = random.Random(seed)
    written = record("a", (Output("x", 1, "0" * 64),))
    store.write(written)
    path = store.folder / "a.json"
    whole = path.read_bytes()
    for _ in range(50):
        content = bytearray(whole)
        if chance.random() < 0.5:
            del content[chance.randrange(len(content)) :]
        else:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        found = store.get("a")
        assert found is None or isinstance(found, Record)
        assert store.load() == ({} if found is None else {"a": found})


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b'{"id": "a"}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_record_is_none(store: RecordStore, content: bytes) -> None:
    (store.folder / "a.json").write_bytes(content)
    assert store.load() == {}
    (store.folder / "a.stale").write_bytes(content)
    make(store, "a", {"a.txt": "a"})
    assert set(store.load()) == {"a"}
    assert stale(store) == []


def test_temporary_files_and_folders_are_no_records(store: RecordStore) -> None:
    store.write(record("a"))
    (store.folder / ".a.json.0123456789ab.tmp").write_bytes((store.folder / "a.json").read_bytes())
    (store.folder / "folder.json").mkdir()
    assert set(store.load()) == {"a"}


def test_a_stage_that_never_ran_has_no_records(tmp_path: Path) -> None:
    store = RecordStore(Layout(tmp_path / "nowhere"), "stage")
    assert store.load() == {}
    assert store.load_failures() == {}
    store.tidy({"a"})
    assert not (tmp_path / "nowhere").exists()


def test_a_success_forgets_the_failure(store: RecordStore) -> None:
    store.write_failure(Failure("a", "stage", "key", "timeout", "no result", 2, Usage(), "run"))
    assert set(store.load_failures()) == {"a"}
    store.write(record("a"))
    assert store.load_failures() == {}


def test_outputs_hold_only_whole(store: RecordStore) -> None:
    made = make(store, "a", {"one": "1", "two": "22"})
    folder = store.layout.output_dir
    assert store.has_intact_outputs(made, "size")
    assert store.has_intact_outputs(made, "digest")
    (folder / "two").write_text("33")
    assert store.has_intact_outputs(made, "size")
    assert not store.has_intact_outputs(made, "digest")
    (folder / "two").write_text("333")
    assert not store.has_intact_outputs(made, "size")
    (folder / "two").unlink()
    (folder / "two").mkdir()
    assert not store.has_intact_outputs(made, "digest")


def test_new_outputs_replace_the_old_ones(store: RecordStore) -> None:
    make(store, "a", {"a/1": "1", "a/2": "2", "a/deep/3": "3"})
    make(store, "b", {"b": "b"})
    make(store, "a", {"a/1": "one"}, key="other")
    assert stale(store) == ["a.stale"]
    store.tidy()
    assert visible(store) == {"a/1", "b"}
    assert (store.layout.output_dir / "a/1").read_text() == "one"
    assert not (store.layout.output_dir / "a/deep").exists()
    assert stale(store) == []


def test_a_file_that_another_item_took_over_stays(store: RecordStore) -> None:
    make(store, "a", {"shared": "by a", "own": "a"})
    make(store, "b", {"shared": "by b"})
    make(store, "a", {"own": "a"})
    store.tidy()
    assert visible(store) == {"shared", "own"}
    assert (store.layout.output_dir / "shared").read_text() == "by b"


def test_what_a_killed_publication_left_is_known_to_the_next(store: RecordStore) -> None:
    """Killed after its first rename, then run with other parameters: both its old and its new files are found."""
    make(store, "a", {"old": "old"})
    half = record("a", (Output("half-1", 1, "0" * 64), Output("half-2", 1, "0" * 64)))
    store.set_aside(half)
    (store.layout.output_dir / "half-1").write_text("h")
    assert store.load() == {}
    make(store, "a", {"new": "new"})
    store.tidy()
    assert visible(store) == {"new"}


def test_a_file_of_an_item_in_the_making_stays_until_it_is_made(store: RecordStore) -> None:
    make(store, "a", {"old": "old"})
    store.set_aside(record("a"))
    store.tidy()
    assert visible(store) == {"old"}
    assert stale(store) == ["a.stale"]


def test_tidying_forgets_what_is_not_kept(store: RecordStore) -> None:
    make(store, "a", {"a": "a", "shared": "x"})
    make(store, "b", {"b/b": "b", "shared": "x"})
    make(store, "c", {"c": "c"})
    store.set_aside(record("c", (Output("c-too", 1, "0" * 64),)))
    (store.folder / "torn.json").write_bytes(b"{")
    store.tidy({"a"})
    assert visible(store) == {"a", "shared"}
    assert [path.name for path in store.folder.iterdir()] == ["a.json"]


def test_tidying_again_changes_nothing(store: RecordStore) -> None:
    make(store, "a", {"a": "a"})
    before = sorted((str(path), path.stat().st_mtime_ns) for path in store.layout.output_dir.rglob("*"))
    store.tidy({"a"})
    store.tidy()
    assert sorted((str(path), path.stat().st_mtime_ns) for path in store.layout.output_dir.rglob("*")) == before


@pytest.mark.parametrize("path", ["../outside", "/outside", "a/../../outside"])
def test_no_record_makes_the_engine_remove_a_file_outside(store: RecordStore, tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    named = str(outside) if path.startswith("/") else path
    store.write(record("a", (Output(named, 4, hash_file(outside)),)))
    store.tidy(set())
    assert outside.read_text() == "mine"
    remove_output(store.layout, named)
    assert outside.read_text() == "mine"


def test_outputs_are_listed_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("b/2", "b/10", "a", "é"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = collect_outputs(tmp_path)
    assert [output.path for output in found] == ["a", "b/10", "b/2", "é"]
    assert [output.size_bytes for output in found] == [1, 4, 3, 2]
    assert collect_outputs(tmp_path / "nothing") == ()


def test_folders_that_lost_their_last_file_go_and_others_stay(tmp_path: Path) -> None:
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


def test_records_are_plain_json_without_what_json_lacks(store: RecordStore) -> None:
    store.write(record("a"))
    content = json.loads((store.folder / "a.json").read_bytes())
    assert content["values"]["names"] == ["a", "é"]
    assert content["outputs"] == []


def test_a_writer_that_has_looked_knows_what_is_there_of_its_own_items(store: RecordStore) -> None:
    for name in "abc":
        store.write(record(name))
    store.look(["b", "new"])
    assert store.get("b") is not None
    assert store.get("new") is None
    store.write(record("new"))
    assert store.ids() == {"a", "b", "c", "new"}
    assert store._looked == {"b"}, "a shard remembers its own items, not all that is done"
