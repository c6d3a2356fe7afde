"""Test the SFTP store on a real server."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.engine.run import open_layout, open_output_dir
from tasks.engine.store.records import RecordStore
from tasks.stores import base
from tasks.stores.base import WritableStore
from tasks.stores.errors import ObjectChanged, ObjectExists, ObjectMissing, StoreError
from tasks.stores.location import parse_location
from tasks.stores.sftp import SftpStore
from tests.engine.test_records import publish_files
from tests.stores.sftp_server import run_sftp_server


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "served").mkdir()
    with run_sftp_server(tmp_path / "served", tmp_path / "home") as url:
        yield url


@pytest.fixture
def store(address: str) -> WritableStore:
    return SftpStore(parse_location(f"{address}/out/data"))


def test_files_are_read_as_written(store: WritableStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = store.put("a/b", b"content", is_new=True)
    assert store.find("a/b") == info
    assert store.read("a/b", 100) == b"content"
    assert store.read_range("a/b", info.etag, 2, 4) == b"nt"
    with pytest.raises(ObjectExists):
        store.put("a/b", b"other", is_new=True)
    with pytest.raises(ObjectChanged):
        store.put("a/b", b"other", match="0-0")
    assert store.put("a/b", b"other text", match=info.etag).size_bytes == 10
    with pytest.raises(ObjectChanged):
        store.read_range("a/b", info.etag, 0, 3)
    monkeypatch.setattr(base, "CHUNK_BYTES", 100_000)
    content = os.urandom(350_001)
    (tmp_path / "file").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    uploaded = store.upload("c/d/large", tmp_path / "file", digest, lambda: None)
    with pytest.raises(ObjectExists):
        store.upload("c/d/large", tmp_path / "file", digest, lambda: None)
    assert store.hash(uploaded) == digest
    assert sorted(each.key for each in store.list()) == ["a/b", "c/d/large"]
    assert [each.key for each in store.list("c/")] == ["c/d/large"]
    (tmp_path / "served/out/data/c/.headrace-half").write_bytes(b"half")
    store.abort_uploads()
    store.remove(["a/b", "c/d/large", "missing"])
    assert list((tmp_path / "served/out/data").iterdir()) == []
    with pytest.raises(ObjectMissing):
        store.read("a/b", 10)


def test_unknown_host_and_key_are_explained(address: str, tmp_path: Path) -> None:
    known = tmp_path / "home/.ssh/known_hosts"
    text = known.read_text()
    known.write_text("")
    with pytest.raises(StoreError, match=r"is not in known_hosts; connect once with ssh"):
        SftpStore(parse_location(f"{address}/x")).find("a")
    known.write_text(text)
    (tmp_path / "home/.ssh/id_ecdsa").unlink()
    with pytest.raises(StoreError, match="accepts no key of this user"):
        SftpStore(parse_location(f"{address}/x")).find("a")


def test_items_are_published(address: str, tmp_path: Path) -> None:
    layout = open_layout(Path(f"{address}/out"))
    for turn in ("one", "two"):
        with open_output_dir(layout, f"run-{turn}"):
            store = RecordStore(layout, "stage")
            store.prepare()
            publish_files(store, "item", {"made/a.txt": turn, f"made/{turn}.txt": turn}, key=turn)
            store.tidy()
    served = tmp_path / "served/out"
    files = sorted(path.relative_to(served).as_posix() for path in served.rglob("*") if path.is_file())
    assert files == [".headrace/records/stage/item.json", "made/a.txt", "made/two.txt"]
    assert (served / "made/a.txt").read_text() == "two"
