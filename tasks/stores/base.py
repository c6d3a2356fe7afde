"""The interface of a store: objects below one prefix, with conditional writes."""

from __future__ import annotations

import hashlib
import os
import random
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tasks.stores.errors import ObjectChanged, ObjectMissing, StoreUnavailable, Transient
from tasks.stores.location import Location

T = TypeVar("T")
CHUNK_BYTES = 16 * 2**20  # of one request: part of an upload, range of a download
_FIRST_WAIT_SECONDS = 0.2
_MAX_WAIT_SECONDS = 20.0
_TRIES_VARIABLE = "HEADRACE_STORE_TRIES"
_TRIES = 10  # about a minute and a half in total


@dataclass(frozen=True)
class ObjectInfo:
    """One object.

    key       relative to the prefix of the store
    etag      changes with the content: the store's ETag; size and mtime if the store has none
    modified  seconds since the epoch by the store's clock; 0 if unknown
    """

    key: str
    size_bytes: int
    etag: str
    modified: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Pace:
    """Number of tries of a request, sleep, and random numbers from 0 to 1; replaceable in tests."""

    tries: int = _TRIES
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random

    @classmethod
    def read(cls) -> Pace:
        """Return the pace with the number of tries in HEADRACE_STORE_TRIES."""
        given = os.environ.get(_TRIES_VARIABLE, "")
        return cls(max(1, int(given))) if given.isascii() and given.isdecimal() else cls()


class ObjectStore(ABC):
    """The objects below the prefix ``location``. Keys are relative to it. Thread-safe.

    Every request is retried with backoff and jitter if its failure may pass.
    """

    def __init__(self, location: Location, pace: Pace | None = None) -> None:
        self.location = location
        self.requests = 0
        self._pace = pace or Pace.read()

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose keys begin with ``prefix``, which is empty or ends with ``/``."""

    @abstractmethod
    def find(self, key: str) -> ObjectInfo | None:
        """Return one object; None if there is none."""

    @abstractmethod
    def read_range(self, key: str, etag: str, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` to ``end`` (exclusive) of an object.

        Raises ObjectChanged if its ETag is not ``etag`` (empty for any), and ObjectMissing.
        """

    def read_clock(self) -> float | None:
        """Return the time by the store's clock in seconds since the epoch; None if the store does not tell it."""
        return None

    def read(self, key: str, max_bytes: int) -> bytes:
        """Return the content of an object. Raises ObjectMissing, and OSError if it has more than ``max_bytes``."""
        content = self.read_range(key, "", 0, max_bytes + 1)
        if len(content) > max_bytes:
            raise OSError(f"{self.location.child(key)} has more than {max_bytes} bytes")
        return content

    def read_chunks(self, info: ObjectInfo) -> Iterator[bytes]:
        """Yield the content of an object. Raises ObjectChanged if it changed since ``info``."""
        for start in range(0, info.size_bytes, CHUNK_BYTES):
            yield self.read_range(info.key, info.etag, start, min(start + CHUNK_BYTES, info.size_bytes))

    def download(self, info: ObjectInfo, target: Path) -> None:
        """Write an object to the file ``target``, which appears whole or not at all.

        Raises ObjectChanged if the object changed since ``info``, and ObjectMissing.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex[:12]}.tmp")
        try:
            with partial.open("xb") as stream:
                for chunk in self.read_chunks(info):
                    stream.write(chunk)
            partial.replace(target)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def hash(self, info: ObjectInfo) -> str:
        """Return the sha256 of an object as 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for chunk in self.read_chunks(info):
            digest.update(chunk)
        return digest.hexdigest()

    def retry(self, request: Callable[[], T], guard: Callable[[], None] = lambda: None) -> T:
        """Return the result of ``request``; repeat it while it raises Transient. Raises StoreUnavailable at last."""
        wait = _FIRST_WAIT_SECONDS
        for number in range(1, self._pace.tries + 1):
            try:
                self.requests += 1
                return request()
            except Transient as error:
                if number == self._pace.tries:
                    advice = "check the connection, then give the same command again: finished items stay done"
                    raise StoreUnavailable(f"{self.location}: {error}, {number} times in a row; {advice}") from error
                self._pace.sleep(max(error.seconds, wait * (0.5 + self._pace.chance() / 2)))
                wait = min(2 * wait, _MAX_WAIT_SECONDS)
                guard()
        raise AssertionError

    def make_missing(self, key: str) -> ObjectMissing:
        """Return the error for a missing object."""
        return ObjectMissing(f"{self.location.child(key)} does not exist; check it")

    def make_changed(self, key: str) -> ObjectChanged:
        """Return the error for an object that changed."""
        return ObjectChanged(f"{self.location.child(key)} was changed by somebody else")


class WritableStore(ObjectStore):
    """A store that takes outputs. ``guard`` is called before each retry of an upload, and may raise an error."""

    @abstractmethod
    def put(self, key: str, content: bytes, *, is_new: bool = False, match: str = "") -> ObjectInfo:
        """Write a small object whole or not at all.

        Raises ObjectExists with ``is_new`` if there is one, and ObjectChanged if the ETag of the one that is to be
        replaced is not ``match``.
        """

    @abstractmethod
    def upload(self, key: str, path: Path, sha256: str, guard: Callable[[], None]) -> ObjectInfo:
        """Write the file at ``path`` as a new object, whole or not at all, and verify its content.

        Raises ObjectExists if there is an object that has not this content.
        """

    @abstractmethod
    def remove(self, keys: Collection[str]) -> None:
        """Remove objects. Missing ones are ignored."""

    def abort_uploads(self) -> None:
        """Remove parts of uploads that no process finishes. No run may be at work."""


def read_verified(path: Path, sha256: str) -> Iterator[bytes]:
    """Yield a file in chunks. Raises OSError after the last one if its sha256 is another one."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            yield chunk
    if digest.hexdigest() != sha256:
        raise OSError(f"{path} changed before it was uploaded")
