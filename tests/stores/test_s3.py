"""Test the S3 store on a real server: conditions, large objects, listings, errors."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tasks.stores import base, s3
from tasks.stores.base import WritableStore
from tasks.stores.errors import ObjectChanged, ObjectExists, ObjectMissing, StoreError
from tasks.stores.location import parse_location
from tasks.stores.opening import open_writable_store
from tests.stores.s3_server import BUCKET, S3Server


@pytest.fixture
def store(prefix: str) -> WritableStore:
    return open_writable_store(prefix)


def write_file(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_object_is_read_as_written(store: WritableStore) -> None:
    info = store.put("a/b", b"content")
    assert store.find("a/b") == info
    assert store.read("a/b", 100) == b"content"
    assert store.read_range("a/b", info.etag, 2, 4) == b"nt"
    assert [each.key for each in store.list()] == ["a/b"]
    store.put("empty", b"")
    assert store.read("empty", 10) == b""
    with pytest.raises(OSError, match="more than 3 bytes"):
        store.read("a/b", 3)
    store.remove(["a/b", "empty", "missing"])
    assert list(store.list()) == []
    assert store.find("a/b") is None
    with pytest.raises(ObjectMissing):
        store.read("a/b", 100)


def test_server_honors_conditions(store: WritableStore) -> None:
    """Records and leases depend on this; a server that ignores conditions must not be used."""
    first = store.put("record", b"first", is_new=True)
    with pytest.raises(ObjectExists):
        store.put("record", b"other", is_new=True)
    assert store.put("record", b"first", is_new=True) == first  # as if the answer had got lost
    second = store.put("record", b"second", match=first.etag)
    with pytest.raises(ObjectChanged):
        store.put("record", b"third", match=first.etag)
    with pytest.raises(ObjectChanged):
        store.put("missing", b"third", match=first.etag)
    with pytest.raises(ObjectChanged):
        store.read_range("record", first.etag, 0, 3)
    assert store.read_range("record", second.etag, 0, 10) == b"second"


@pytest.mark.parametrize("is_large", [False, True])
def test_files_are_uploaded_as_new_objects(
    store: WritableStore, tmp_path: Path, is_large: bool, monkeypatch: pytest.MonkeyPatch, s3_server: S3Server
) -> None:
    size = 11 * 2**20 + 5 if is_large else 1000
    monkeypatch.setattr(s3, "CHUNK_BYTES", 5 * 2**20)
    monkeypatch.setattr(base, "CHUNK_BYTES", 5 * 2**20)
    content = os.urandom(size)
    digest = write_file(tmp_path / "file", content)
    checks: list[int] = []
    info = store.upload("x/file", tmp_path / "file", digest, lambda: checks.append(1))
    assert info.size_bytes == size
    assert ("-" in info.etag) is is_large
    assert store.upload("x/file", tmp_path / "file", digest, lambda: None).etag == info.etag  # the same content
    other = write_file(tmp_path / "other", content[::-1])
    with pytest.raises(ObjectExists):
        store.upload("x/file", tmp_path / "other", other, lambda: None)
    found = store.find("x/file")
    assert found is not None
    store.download(found, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert store.hash(found) == digest
    assert "Uploads" not in s3_server.client.list_multipart_uploads(Bucket=BUCKET, Prefix=store.location.path)


def test_file_that_changed_is_not_uploaded(store: WritableStore, tmp_path: Path) -> None:
    digest = write_file(tmp_path / "file", b"as the record says")
    (tmp_path / "file").write_bytes(b"as the disk says now")
    with pytest.raises(OSError, match="changed before it was uploaded"):
        store.upload("file", tmp_path / "file", digest, lambda: None)
    assert store.find("file") is None


def test_unfinished_uploads_are_aborted(store: WritableStore, s3_server: S3Server) -> None:
    client, path = s3_server.client, store.location.path
    client.create_multipart_upload(Bucket=BUCKET, Key=f"{path}/half")
    client.create_multipart_upload(Bucket=BUCKET, Key=f"{path}-other/half")
    store.abort_uploads()
    left = [upload["Key"] for upload in client.list_multipart_uploads(Bucket=BUCKET, Prefix=path)["Uploads"]]
    assert left == [f"{path}-other/half"]


def test_listing_has_many_pages(store: WritableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"{number:02d}" for number in range(25)]
    for key in keys:
        store.put(key, b"")
    call = store._call  # type: ignore[attr-defined]

    def call_for_few(key: str, method: str, *arguments: object, **parameters: object) -> object:
        extra = {"MaxKeys": 10} if method == "list_objects_v2" else {}
        return call(key, method, *arguments, **parameters, **extra)

    monkeypatch.setattr(store, "_call", call_for_few)
    assert [info.key for info in store.list()] == keys
    store.remove(keys)
    assert list(store.list()) == []


def test_clock_is_the_servers(store: WritableStore) -> None:
    store.put("a", b"")
    found, clock = store.find("a"), store.read_clock()
    assert found is not None
    assert clock is not None
    assert 0 <= clock - found.modified < 60


def test_missing_bucket_is_named(prefix: str) -> None:
    store = open_writable_store(parse_location("s3://no-such-bucket/a"))
    with pytest.raises(StoreError, match="there is no bucket no-such-bucket; create it"):
        list(store.list())
    with pytest.raises(StoreError, match="there is no bucket no-such-bucket"):
        store.put("a", b"")


def test_missing_credentials_are_explained(prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    store = s3.S3Store(parse_location(prefix))
    with pytest.raises(StoreError, match="no credentials"):
        store.put("a", b"")
