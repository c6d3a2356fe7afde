"""The folder that runs share: whole files only, a lock for each thing, and a few connections for all.

Locks are flock(2): a dead owner holds none. Where a filesystem has no such locks, everything is still right, since
files appear whole by a rename; two processes may then do the same work.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MAX_QUIET_SECONDS = 300.0  # the longest that a server's Retry-After is heeded
_POLL_SECONDS = 0.1
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@dataclass(frozen=True)
class Pace:
    """Time as the sources see it: seconds since the epoch, a wait, and chance (from 0 up to 1)."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


class SharedCache:
    """What processes that use the same folder agree on."""

    def __init__(self, folder: Path, connections: int, pace: Pace) -> None:
        self.folder = folder
        self._connections = connections
        self._pace = pace

    def place(self, kind: str, key: str, name: str) -> Path:
        """Where the file ``name`` of the thing ``key`` belongs; its folder is made."""
        path = self.folder / kind / digest_of(key)[:2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def locked(self, key: str) -> Iterator[bool]:
        """Hold the lock of the thing ``key``, after waiting for it; False where the filesystem has no locks."""
        path = self.folder / "locks" / f"{digest_of(key)[:3]}.lock"  # 4096 for all: lock files cannot be removed safely
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_lock(path) as stream:
            yield _flock(stream.fileno(), fcntl.LOCK_EX)

    @contextmanager
    def connection(self, host: str) -> Iterator[None]:
        """Hold one of the few connections, once ``host`` wants to be asked again."""
        folder = self.folder / "connections"
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            self._wait_for(host)
            with contextlib.ExitStack() as stack:
                if any(self._take(folder / f"{number}.lock", stack) for number in range(self._connections)):
                    yield
                    return
            self._pace.sleep(_POLL_SECONDS * (0.5 + self._pace.chance()))

    def quieten(self, host: str, seconds: float) -> None:
        """Have every process leave ``host`` alone for so long: it said that it is asked too much."""
        until = self._pace.now() + min(seconds, MAX_QUIET_SECONDS)
        write_json(self._quiet(host), {"until": max(until, self._quiet_until(host))})

    def _wait_for(self, host: str) -> None:
        seconds = self._quiet_until(host) - self._pace.now()
        if 0 < seconds <= MAX_QUIET_SECONDS:  # more than that is a clock that was set back
            self._pace.sleep(seconds + self._pace.chance())

    def _quiet_until(self, host: str) -> float:
        until = read_json(self._quiet(host)).get("until", 0.0)
        return float(until) if isinstance(until, int | float) and math.isfinite(until) else 0.0

    def _quiet(self, host: str) -> Path:
        return self.folder / "connections" / f"quiet-{digest_of(host)[:16]}.json"

    @staticmethod
    def _take(path: Path, stack: contextlib.ExitStack) -> bool:
        """Whether the lock at ``path`` was free, or locks are unknown here; held until ``stack`` ends."""
        stream = stack.enter_context(open_lock(path))
        try:
            _flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def open_lock(path: Path) -> IO[bytes]:
    """Open the lock file at ``path``, or create it. Raises OSError, for a symlink too: its target is never touched."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb")


def digest_of(text: str) -> str:
    """sha256 of ``text``, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file at ``path``; empty where there is none or what is there is no object."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Put ``content`` at ``path``, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1, allow_nan=False)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _flock(descriptor: int, operation: int) -> bool:
    """Whether the lock was taken; False where there are no locks. Raises BlockingIOError where another holds it."""
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True
