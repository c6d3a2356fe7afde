"""Test the publication of outputs: complete or refused, and moved in an order that survives a power loss."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.engine.contract.errors import OutputBlocked, RunError
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Output
from tasks.engine.store.publish import collect_outputs
from tasks.engine.store.records import RecordStore
from tasks.engine.store.tree import Tree
from tests.engine.test_records import publish_files


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    new_store = RecordStore(Layout(tmp_path / "out"), "stage")
    new_store.prepare()
    return new_store


def test_output_has_path_size_and_checksum(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.txt").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert collect_outputs(tmp_path) == (Output("a/b.txt", 3, digest),)


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "pipe"])
def test_only_plain_files_are_published(tmp_path: Path, kind: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/folder").mkdir()
    path = tmp_path / "deep/it"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("folder" if kind == "link to a folder" else "nowhere")
    with pytest.raises(ValueError, match=r"^a stage may publish plain files only: it$"):
        collect_outputs(tmp_path)


def test_output_at_an_engine_path_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / ".headrace").mkdir()
    (tmp_path / ".headrace/lock").touch()
    with pytest.raises(ValueError, match=r"^a stage may not publish a file of the engine's own: \.headrace/lock$"):
        collect_outputs(tmp_path)


def test_unreadable_output_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the item would be done without the outputs in it."""

    def refuse(path: int) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(PermissionError):
        collect_outputs(tmp_path)


def test_every_changed_folder_is_synced(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(Tree, "sync_folder", lambda _, folder="": synced.append(folder))
    publish_files(store, "a", {"top.txt": "1", "a/b/c/file": "2", "d/file": "3"})
    assert sorted({folder for folder in synced if not folder.startswith(".headrace")}) == ["", "a/b", "a/b/c", "d"]


def test_obstacle_blocks_the_item_before_any_file_is_moved(store: RecordStore) -> None:
    (store.layout.output_dir / "taken").mkdir()
    with pytest.raises(OutputBlocked) as refused:
        publish_files(store, "a", {"free": "1", "taken": "2"})
    assert str(refused.value).startswith(f"cannot write {store.layout.output_dir}/taken: it is a folder")
    assert not (store.layout.output_dir / "free").exists()
    assert store.get("a") is None


def test_obstacle_in_an_engine_folder_ends_the_run(store: RecordStore) -> None:
    (store.folder / "a.stale").mkdir()
    with pytest.raises(RunError) as refused:
        publish_files(store, "a", {"free": "1"})
    assert str(refused.value).startswith(f"cannot write to {store.layout.output_dir}: it is a folder")
    assert f"({store.folder}/a.stale)" in str(refused.value)
