"""The cache folder that runs share: whole files only, a lock per key, and a limit on connections.

Locks are flock(2), so a dead owner holds none. On a filesystem without locks the results are still correct, since files
appear whole by a rename; two processes may then do the same work.
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

MAX_QUIET_SECONDS = 300.0  # limit for a server's Retry-After
_POLL_SECONDS = 0.1
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@dataclass(frozen=True)
class Pace:
    """Clock, sleep and random numbers (from 0 to 1) of a source; replaceable in tests."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


class SharedCache:
    """The shared state of processes that use the same folder."""

    def __init__(self, folder: Path, connections: int, pace: Pace) -> None:
        self.folder = folder
        self._connections = connections
        self._pace = pace

    def get_path(self, kind: str, key: str, name: str) -> Path:
        """Return the path for the file ``name`` of ``key``, and create its folder."""
        path = self.folder / kind / compute_text_digest(key)[:2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def lock(self, key: str) -> Iterator[bool]:
        """Hold the lock of ``key``, after waiting for it; False if the filesystem has no locks."""
        path = (
            self.folder / "locks" / f"{compute_text_digest(key)[:3]}.lock"
        )  # 4096 in total, since lock files cannot be removed safely
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_lock(path) as stream:
            yield _acquire_lock(stream.fileno(), fcntl.LOCK_EX)

    @contextmanager
    def hold_connection(self, host: str) -> Iterator[None]:
        """Hold one of the limited connections, after the quiet time of ``host``."""
        folder = self.folder / "connections"
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            self._wait_for(host)
            with contextlib.ExitStack() as stack:
                if any(self._take(folder / f"{number}.lock", stack) for number in range(self._connections)):
                    yield
                    return
            self._pace.sleep(_POLL_SECONDS * (0.5 + self._pace.chance()))

    def set_quiet(self, host: str, seconds: float) -> None:
        """Have all processes leave ``host`` alone for this time, as it requested."""
        until = self._pace.now() + min(seconds, MAX_QUIET_SECONDS)
        write_json(self._get_quiet_path(host), {"until": max(until, self._get_quiet_until(host))})

    def _wait_for(self, host: str) -> None:
        seconds = self._get_quiet_until(host) - self._pace.now()
        if 0 < seconds <= MAX_QUIET_SECONDS:  # more means that the clock was set back
            self._pace.sleep(seconds + self._pace.chance())

    def _get_quiet_until(self, host: str) -> float:
        until = read_json(self._get_quiet_path(host)).get("until", 0.0)
        return float(until) if isinstance(until, int | float) and math.isfinite(until) else 0.0

    def _get_quiet_path(self, host: str) -> Path:
        return self.folder / "connections" / f"quiet-{compute_text_digest(host)[:16]}.json"

    @staticmethod
    def _take(path: Path, stack: contextlib.ExitStack) -> bool:
        """Return True if the lock at ``path`` is acquired (or locks do not exist here); held until ``stack`` ends."""
        stream = stack.enter_context(open_lock(path))
        try:
            _acquire_lock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def open_lock(path: Path) -> IO[bytes]:
    """Open the lock file at ``path``, or create it. Raises OSError, for a symlink too: its target is never touched."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb")


def compute_text_digest(text: str) -> str:
    """Return the sha256 of ``text``, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in the file at ``path``; empty if the file is missing or invalid."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` to ``path`` atomically."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1, allow_nan=False)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _acquire_lock(descriptor: int, operation: int) -> bool:
    """Return True if the lock is acquired, False without lock support. Raises BlockingIOError if it is held."""
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True
