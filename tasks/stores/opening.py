"""Open stores. Each process opens a store once."""

from __future__ import annotations

import os
import threading

from tasks.stores.base import ObjectStore, WritableStore
from tasks.stores.errors import StoreError
from tasks.stores.location import Location, parse_location

_lock = threading.Lock()
_stores: dict[tuple[int, str], ObjectStore] = {}


def open_store(location: Location | str) -> ObjectStore:
    """Return the store of a location or a URL; nothing is requested yet."""
    if isinstance(location, str):
        location = parse_location(location)
    key = os.getpid(), location.url  # a forked process has connections of its own
    with _lock:
        if key not in _stores:
            _stores[key] = _open(location)
        return _stores[key]


def open_writable_store(location: Location | str) -> WritableStore:
    """Return the store of a location or a URL that takes outputs. Raises StoreError for others."""
    store = open_store(location)
    if not isinstance(store, WritableStore):
        raise StoreError(f"{store.location}: https:// can only be read; name a bucket or a folder")
    return store


def _open(location: Location) -> ObjectStore:
    if location.scheme == "s3":
        from tasks.stores.s3 import S3Store

        return S3Store(location)
    if location.scheme in {"http", "https"}:
        from tasks.stores.web import WebStore

        return WebStore(location)
    from tasks.stores.sftp import SftpStore

    return SftpStore(location)
