"""The objects of an output folder in a store: listed once, read through a cache, written with conditions.

While a run holds the lease of the folder, nobody else writes there: one listing says what exists. If workers elsewhere
write too, every question goes to the store.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tasks.engine.contract.errors import LockLost
from tasks.engine.store.tree import Tree
from tasks.stores.base import ObjectInfo
from tasks.stores.errors import ObjectChanged, ObjectExists, ObjectMissing
from tasks.stores.location import Location, parse_location
from tasks.stores.opening import open_writable_store

_CONNECTIONS = 16  # for requests of one process that wait for each other's end
_MAX_WAITING = 500  # removals, until one request does them
_UPLOAD_TRIES = 5
_MAX_AHEAD = 1000  # contents that are read at a time
_RECORDS = ".headrace/records/"
CACHE_FOLDER = ".headrace/store"


class ObjectFolder:
    """The objects below ``location``; ``work`` is the local folder in which items are produced. Thread-safe.

    guard  called before writes; raises LockLost if this process must not write any more
    """

    def __init__(self, location: Location, work: Path) -> None:
        self.location = location
        self.store = open_writable_store(location)
        self.guard: Callable[[], None] = lambda: None
        self._cache = Tree(work)
        self._known: dict[str, ObjectInfo] | None = None
        self._lock = threading.Lock()
        self._flush = threading.Lock()
        self._removed: dict[str, None] = {}
        self._pool = ThreadPoolExecutor(_CONNECTIONS, "headrace-store")

    def list_once(self) -> None:
        """List all objects; from now on only this process writes."""
        known = {info.key: info for info in self.store.list()}
        with self._lock:
            self._known = known

    def share(self) -> None:
        """Ask the store from now on, because others write too."""
        self.flush()
        with self._lock:
            self._known = None

    @property
    def is_listed(self) -> bool:
        """True if one listing says what exists."""
        return self._known is not None

    def find(self, key: str) -> ObjectInfo | None:
        """Return one object; None if there is none."""
        with self._lock:
            if key in self._removed:
                return None
            if self._known is not None:
                return self._known.get(key)
        return self.store.find(key)

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """Yield all objects in ``folder``, at any depth."""
        prefix = f"{folder}/" if folder else ""
        with self._lock:
            known = None if self._known is None else list(self._known.values())
            removed = set(self._removed)
        for info in self.store.list(prefix) if known is None else known:
            if info.key.startswith(prefix) and info.key not in removed:
                yield info

    def has_folder(self, folder: str) -> bool:
        """Return True if there are objects in ``folder``."""
        return next(self.list(folder), None) is not None

    def read(self, key: str, max_bytes: int) -> bytes:
        """Return the content of an object. Raises FileNotFoundError, and OSError if it is larger."""
        info = self.find(key) if self.is_listed or key in self._removed else ObjectInfo(key, 0, "")
        if info is None:
            raise FileNotFoundError(2, os.strerror(2), self.location.child(key).url)
        return self._read(info, max_bytes)

    def _read(self, info: ObjectInfo, max_bytes: int) -> bytes:
        key = info.key
        if info.size_bytes > max_bytes:
            raise OSError(f"{self.location.child(key)} has more than {max_bytes} bytes")
        if (content := self._read_cached(info)) is not None:
            return content
        try:
            content = self.store.read_range(key, info.etag, 0, max_bytes + 1)
        except ObjectMissing as error:
            raise FileNotFoundError(2, os.strerror(2), self.location.child(key).url) from error
        if len(content) > max_bytes:
            raise OSError(f"{self.location.child(key)} has more than {max_bytes} bytes")
        self._write_cached(info, content)
        return content

    def read_end(self, key: str, max_bytes: int) -> bytes:
        """Return the last ``max_bytes`` of an object. Raises FileNotFoundError."""
        info = self.find(key)
        if info is None:
            raise FileNotFoundError(2, os.strerror(2), self.location.child(key).url)
        if not info.size_bytes:
            return b""
        return self.store.read_range(key, info.etag, max(0, info.size_bytes - max_bytes), info.size_bytes)

    def read_many(self, infos: Sequence[ObjectInfo], max_bytes: int) -> Iterator[tuple[ObjectInfo, bytes | OSError]]:
        """Yield the content of each object, or the error; many are read at a time."""
        for start in range(0, len(infos), _MAX_AHEAD):
            batch = infos[start : start + _MAX_AHEAD]
            yield from zip(batch, self._pool.map(lambda info: self._try_read(info, max_bytes), batch), strict=True)

    def _try_read(self, info: ObjectInfo, max_bytes: int) -> bytes | OSError:
        try:
            return self._read(info, max_bytes)
        except OSError as error:
            return error

    def write(self, key: str, content: bytes) -> None:
        """Write a small object. A record must be new, or replace the known one: raises LockLost otherwise."""
        self.guard()
        if key in self._removed:
            self.flush()
        try:
            is_new, match = self._make_condition(key)
            info = self.store.put(key, content, is_new=is_new, match=match)
        except (ObjectExists, ObjectChanged) as error:
            raise LockLost(f"{error}; nothing more was written") from error
        self._note(info)
        self._write_cached(info, content)

    def _make_condition(self, key: str) -> tuple[bool, str]:
        """Return whether the object must be new, and the ETag of the one that it may replace."""
        if not (key.startswith(_RECORDS) and key.endswith(".json")):
            return False, ""
        info = self.find(key)
        return (True, "") if info is None else (False, info.etag)

    def upload(self, files: Sequence[tuple[Path, str, str]], check: Callable[[], None]) -> None:
        """Upload files to new objects, several at a time; each is a path, a key and a sha256.

        ``check`` raises LockLost if this process must not write any more. An object with the key of one that must be
        new is a leftover of a dead process: it is removed.
        """
        if any(key in self._removed for _, key, _ in files):
            self.flush()
        self.remove([key for _, key, _ in files if self._known is not None and key in self._known])
        if len(files) == 1:
            self._upload(*files[0], check)
            return
        futures = [self._pool.submit(self._upload, *file, check) for file in files]
        errors = [error for future in futures if (error := future.exception())]  # after all have ended
        if errors:
            raise errors[0]

    def _upload(self, path: Path, key: str, sha256: str, check: Callable[[], None]) -> None:
        for _ in range(_UPLOAD_TRIES):
            check()
            try:
                self._note(self.store.upload(key, path, sha256, check))
            except ObjectExists:
                check()
                self.store.remove([key])
            else:
                return
        raise LockLost(f"{self.location.child(key)} is written by another process again and again")

    def put_back(self, key: str, path: Path) -> None:
        """Upload a file of the run itself, which replaces an earlier one."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.guard()
        self.remove([key])
        self._upload(path, key, digest, self.guard)

    def remove(self, keys: Collection[str]) -> None:
        """Remove objects now."""
        if keys:
            self.guard()
            self.flush()
            self.store.remove(keys)
            self._forget(keys)

    def remove_later(self, key: str) -> None:
        """Remove an object together with others, at the latest by :meth:`flush`. It counts as removed at once."""
        with self._lock:
            if self._known is not None and self._known.pop(key, None) is None:
                return
            self._removed[key] = None
            is_full = len(self._removed) >= _MAX_WAITING
        if is_full:
            self.flush()

    def flush(self) -> None:
        """Do the removals that wait."""
        with self._flush:
            with self._lock:
                waiting = list(self._removed)
            if not waiting:
                return
            self.guard()
            self.store.remove(waiting)
            with self._lock:
                for key in waiting:
                    self._removed.pop(key, None)

    def download(self, key: str, target: Path) -> None:
        """Write an object to a file. Raises FileNotFoundError."""
        info = self.find(key)
        if info is None:
            raise FileNotFoundError(2, os.strerror(2), self.location.child(key).url)
        self.store.download(info, target)

    def hash(self, key: str) -> str:
        """Return the sha256 of an object. Raises FileNotFoundError."""
        info = self.find(key)
        if info is None:
            raise FileNotFoundError(2, os.strerror(2), self.location.child(key).url)
        return self.store.hash(info)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def sweep_cache(self) -> None:
        """Remove what the cache holds of objects that do not exist any more."""
        if self._known is not None:
            kept = {_get_cache_path(info) for info in self._known.values()}
            for name in self._cache.names(CACHE_FOLDER):
                if f"{CACHE_FOLDER}/{name}" not in kept:
                    self._cache.unlink(f"{CACHE_FOLDER}/{name}")

    def _note(self, info: ObjectInfo) -> None:
        with self._lock:
            if self._known is not None:
                self._known[info.key] = replace(info)

    def _forget(self, keys: Iterable[str]) -> None:
        with self._lock:
            if self._known is not None:
                for key in keys:
                    self._known.pop(key, None)

    def _read_cached(self, info: ObjectInfo) -> bytes | None:
        if not _is_cached(info):
            return None
        try:
            content = self._cache.read(_get_cache_path(info), info.size_bytes)
        except OSError:
            return None
        return content if len(content) == info.size_bytes else None

    def _write_cached(self, info: ObjectInfo, content: bytes) -> None:
        if _is_cached(info) and len(content) == info.size_bytes:
            with suppress(OSError), self._cache.opened(CACHE_FOLDER, make=True):
                self._cache.write(_get_cache_path(info), content, durable=False)


def _is_cached(info: ObjectInfo) -> bool:
    return bool(info.etag) and info.key.startswith(_RECORDS)


def _get_cache_path(info: ObjectInfo) -> str:
    """Return the place of a content in the cache: it depends on the ETag, so that it is never out of date."""
    return f"{CACHE_FOLDER}/{hashlib.sha256(f'{info.etag} {info.key}'.encode()).hexdigest()}"


_lock = threading.Lock()
_folders: dict[tuple[int, str, str], ObjectFolder] = {}


def get_object_folder(url: str, work: Path) -> ObjectFolder:
    """Return this process's view of an output folder in a store."""
    key = os.getpid(), url, str(work)
    with _lock:
        if key not in _folders:
            _folders[key] = ObjectFolder(parse_location(url, writable=True), work)
        return _folders[key]


def forget_object_folder(url: str, work: Path) -> None:
    """Forget what this process knows of an output folder."""
    with _lock:
        folder = _folders.pop((os.getpid(), url, str(work)), None)
    if folder:
        folder.close()
