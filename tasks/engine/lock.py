"""One run at a time in an output folder, one process at a time at an item's files: locks that the dead do not hold.

The lock is a file that is made exclusively, which every filesystem can do, NFS among them; advisory locks may be
missing there. It names its owner. An owner on this host is looked up; one on another host shows that it lives by
touching the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tasks.engine.errors import RunError

_TOUCH_SECONDS = 15.0
_CLAIM_SECONDS = 0.05  # between two tries to get a claim
_SILENT_SECONDS = 120.0  # an owner elsewhere that has not touched its lock for so long is dead


@dataclass(frozen=True)
class Owner:
    """A process that holds a lock. ``created``, in seconds since the epoch, tells it from a later one of its number."""

    run_id: str
    host: str
    pid: int
    created: float

    @classmethod
    def myself(cls, run_id: str) -> Owner:
        """This process, for ``run_id``."""
        own = psutil.Process()
        return cls(run_id, socket.gethostname(), own.pid, own.create_time())


@contextmanager
def locked(path: Path, run_id: str) -> Iterator[None]:
    """Hold the lock at ``path``. Raises RunError where another run that is alive holds it."""
    _take(path, Owner.myself(run_id))
    over = threading.Event()
    toucher = threading.Thread(target=_touch, args=(path, over), name="headrace-lock", daemon=True)
    toucher.start()
    try:
        yield
    finally:
        over.set()
        toucher.join()
        if (owner := _owner(path)) and owner.run_id == run_id:
            path.unlink(missing_ok=True)


@contextmanager
def claimed(path: Path, run_id: str) -> Iterator[None]:
    """Hold the lock at ``path`` for a moment; while another that is alive holds it, wait."""
    owner = Owner.myself(run_id)
    while not _make(path, owner):
        holder = _owner(path)
        if _lives(path, holder):
            time.sleep(_CLAIM_SECONDS)
        else:
            _remove_dead(path, holder)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _take(path: Path, owner: Owner) -> None:
    while not _make(path, owner):
        holder = _owner(path)
        if _lives(path, holder):
            who = f"run {holder.run_id}, process {holder.pid} on {holder.host}" if holder else "a run that just began"
            raise RunError(f"{path.parent.parent} is in use by {who}; wait for it, or give another --output-dir")
        _remove_dead(path, holder)


def _make(path: Path, owner: Owner) -> bool:
    """Make the lock whole or not at all: written aside, then linked, which fails where there is one."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    aside.write_text(json.dumps(asdict(owner)))
    try:
        os.link(aside, path)
    except FileExistsError:
        return False
    except OSError:  # a filesystem without links
        return _make_exclusively(path, owner)
    finally:
        aside.unlink()
    return True


def _make_exclusively(path: Path, owner: Owner) -> bool:
    try:
        with path.open("x") as stream:
            stream.write(json.dumps(asdict(owner)))
    except FileExistsError:
        return False
    return True


def _owner(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _lives(path: Path, owner: Owner | None) -> bool:
    if owner is None or owner.host != socket.gethostname():
        return _touched_lately(path)
    try:
        return bool(psutil.Process(owner.pid).create_time() == owner.created)
    except psutil.Error:
        return False


def _touched_lately(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < _SILENT_SECONDS
    except FileNotFoundError:
        return False


def _remove_dead(path: Path, holder: Owner | None) -> None:
    """Take a dead owner's lock away, by a rename that only one of several can do."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.dead")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if _owner(aside) != holder:  # somebody was quicker and holds it now: give it back
            with contextlib.suppress(OSError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)


def _touch(path: Path, over: threading.Event) -> None:
    while not over.wait(_TOUCH_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
