"""Locks of output folders and items: one owner at a time, on any filesystem, whatever the clocks say.

A lock is a file that is made exclusively, which every filesystem can do; advisory locks may be missing. It names its
owner. While an owner holds its lock, it touches the file every few seconds: its heartbeat.

A process that finds a lock looks its owner up if both run on one machine and see the same processes. Otherwise only
the heartbeat counts: the process watches the file by its own clock until it changes (the owner lives), or until it has
not changed for ``Owner.seconds`` (the owner is dead, and its lock is taken over). Clocks of two machines are never
compared.

An owner that was paused or disconnected from the filesystem may have lost its lock without noticing. :meth:`Lock.check`
detects this before a file is published. An owner that sent no heartbeat for a third of ``seconds`` first touches its
lock and then reads it; a process that takes over first renames the lock and then compares its time. At least one of the
two notices the other. ``docs/reliability.md`` describes the protocol.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from tasks.engine.contract.errors import LockLost, RunError
from tasks.engine.store.liveness import ProcessIdentity

SECONDS_VARIABLE = "HEADRACE_LOCK_SECONDS"
_SECONDS = 60.0  # longer than filesystems cache attributes, as a rule
_MIN_SECONDS, _MAX_SECONDS = 0.5, 600.0
_BEATS = 12  # in that time
_STALE_SHARE = 1 / 3  # of that time; an owner that was silent for longer may have lost its lock
_LOOKS = 60  # that a watcher takes in that time, at least
_FIRST_LOOK_SECONDS = 0.02  # then the time between two looks doubles
_MAX_BYTES = 64 * 1024
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the former goes on while the machine is suspended


@dataclass(frozen=True)
class Owner:
    """The owner of a lock.

    run_id   of the run
    token    unique for each lock ever taken
    process  the process that holds it
    seconds  time without a heartbeat after which the owner is dead
    folder   private folder that a process must remove before it takes over the lock; empty if there is none
    """

    run_id: str
    token: str
    process: ProcessIdentity
    seconds: float
    folder: str = ""

    @classmethod
    def mine(cls, run_id: str, folder: str = "") -> Owner:
        """Return this process as an owner, with a new token."""
        return cls(run_id, uuid.uuid4().hex, ProcessIdentity.mine(), _own_seconds(), folder)

    def encode(self) -> bytes:
        """Return the content of a lock."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, content: bytes) -> Owner | None:
        """Return the owner that a lock names; None if the content is damaged or of another version."""
        try:
            fields = json.loads(content)
            owner = cls(**{**fields, "process": ProcessIdentity(**fields["process"])})
            return owner if owner._is_whole() else None
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def _is_whole(self) -> bool:
        process = self.process
        texts = (self.run_id, self.token, self.folder, process.host, process.boot_id, process.pid_namespace)
        whole = all(isinstance(text, str) for text in (*texts, process.time_namespace))
        whole = whole and isinstance(process.pid, int) and isinstance(process.start_ticks, int)
        return whole and process.pid < 2**31 and _MIN_SECONDS <= self.seconds <= _MAX_SECONDS

    def __str__(self) -> str:
        text = f"run {self.run_id}, process {self.process.pid} on {self.process.host}"
        return "".join(sign if sign.isprintable() else "?" for sign in text)[:300]


def _own_seconds() -> float:
    """Return the seconds of silence that HEADRACE_LOCK_SECONDS allows. Raises RunError if it is no such number."""
    given = os.environ.get(SECONDS_VARIABLE, "")
    try:
        seconds = float(given) if given else _SECONDS
    except ValueError:
        seconds = 0.0
    if not _MIN_SECONDS <= seconds <= _MAX_SECONDS:
        allowed = f"a number from {_MIN_SECONDS:g} to {_MAX_SECONDS:g}"
        raise RunError(f"{SECONDS_VARIABLE}: {given!r}; allowed: {allowed}; unset it for {_SECONDS:g}")
    return seconds


@dataclass(frozen=True)
class _Look:
    """A snapshot of a lock: its owner (None if the content is damaged), its inode, and its mtime."""

    owner: Owner | None
    inode: int
    mtime_ns: int


class Lock:
    """A lock that this process holds. A thread sends heartbeats until :meth:`release`."""

    def __init__(self, path: Path, owner: Owner, descriptor: int, touched_at: float) -> None:
        self.path = path
        self.owner = owner
        self.on_loss: Callable[[LockLost], None] = lambda _: None
        self._descriptor = descriptor
        self._content = owner.encode()
        self._touched_at = touched_at
        self._loss: LockLost | None = None
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._send_heartbeats, name="headrace-lock", daemon=True)
        self._heart.start()
        remember_lock(self)

    def check(self) -> None:
        """Raise LockLost unless this process still holds the lock. Call it right before publishing."""
        if self._loss is None:
            if self._is_stale():
                self._touch()
                if self._is_stale():
                    self._lose("it could not be refreshed in time")
            else:
                self._confirm()
        if self._loss is not None:
            raise self._loss

    def release(self) -> None:
        """Stop the heartbeat, and remove the lock if this process still holds it."""
        self._over.set()
        self._heart.join()
        forget_lock(self)
        os.close(self._descriptor)
        with contextlib.suppress(OSError):
            if self._loss is None and _read_token(self.path) == self.owner.token:
                self.path.unlink(missing_ok=True)

    def _is_stale(self) -> bool:
        return time.clock_gettime(CLOCK) - self._touched_at > self.owner.seconds * _STALE_SHARE

    def _send_heartbeats(self) -> None:
        while not self._over.wait(self.owner.seconds / _BEATS) and self._loss is None:
            self._touch()

    def _touch(self) -> None:
        """Send a heartbeat, then check that the lock still exists. The order matters: see the module's docstring."""
        now = time.clock_gettime(CLOCK)
        try:
            _set_time(self._descriptor, self.owner)
            self._confirm()
        except OSError:  # no connection, a full disk: it may pass, unless it lasts
            return
        if self._loss is None:
            self._touched_at = now

    def _confirm(self) -> None:
        content = _read_lock(self.path)
        if content == self._content:
            return
        token = _find_token(content)
        if token is None:
            self._lose("it is gone")
        elif token != self.owner.token:
            self._lose(f"it is held by {self._read_successor()}")

    def _read_successor(self) -> str:
        look = _look(self.path)
        return str(look.owner) if look and look.owner else "another run"

    def _lose(self, why: str) -> None:
        self._loss = self._loss or LockLost(_explain_loss(self.path, why))
        self.on_loss(self._loss)


def _explain_loss(path: Path, why: str) -> str:
    advice = (
        "this run has stopped and wrote nothing more; give the same command again once no other run is at work there"
    )
    return f"this run has lost its lock {path}: {why}; {advice}"


class HeldLock(Protocol):
    """A lock or a lease that this process holds."""

    owner: Owner
    on_loss: Callable[[LockLost], None]

    def check(self) -> None:
        """Raise LockLost unless this process still holds it."""


_held: dict[str, HeldLock] = {}


def remember_lock(lock: HeldLock) -> None:
    """Let :func:`check_lock` find a lock that this process holds."""
    _held[lock.owner.token] = lock


def forget_lock(lock: HeldLock) -> None:
    """Forget a lock that this process does not hold any more."""
    del _held[lock.owner.token]


def find_held(token: str) -> HeldLock | None:
    """Return the lock of this process with ``token``; None if another process holds it."""
    return _held.get(token)


def check_lock(path: Path, token: str) -> None:
    """Raise LockLost unless the lock at ``path`` is held by the owner with ``token``, here or in another process."""
    try:
        if lock := _held.get(token):
            lock.check()
            return
        found = _read_token(path)
    except OSError as error:
        raise RunError(f"cannot read the lock {path}: {error.strerror or error}; nothing was published") from error
    if found != token:
        raise LockLost(_explain_loss(path, "it is gone" if found is None else "another run holds it"))


@contextmanager
def hold_lock(path: Path, run_id: str, say: Callable[[str], None] = lambda _: None) -> Iterator[Lock]:
    """Hold the lock at ``path``. Raises RunError if another run that is alive holds it.

    ``say`` receives a line if it takes a while to find out whether the owner is alive.
    """
    lock = _take(path, Owner.mine(run_id), say)
    try:
        yield lock
    finally:
        lock.release()


@contextmanager
def claim_lock(
    path: Path, run_id: str, folder: str = "", fence: Callable[[str], None] = lambda _: None
) -> Iterator[Lock]:
    """Hold the lock at ``path`` briefly; wait while another live process holds it.

    ``folder`` is the folder from which this process publishes. ``fence`` is called with the folder of a dead owner, and
    must ensure that no more files can be published from there.
    """
    owner = Owner.mine(run_id, folder)
    while (lock := _make(path, owner)) is None:
        look = _look(path)
        if look and (_is_dead(look) or _watch(path, look) == look):
            _remove_dead(path, look, fence)
    try:
        for aside in path.parent.glob(_make_dead_name(path, "?" * 12)):  # whoever took it away may not have fenced yet
            _fence(_look(aside), fence)
        yield lock
    finally:
        lock.release()


def _fence(look: _Look | None, fence: Callable[[str], None]) -> None:
    if look and look.owner and look.owner.folder:
        fence(look.owner.folder)


def _take(path: Path, owner: Owner, say: Callable[[str], None]) -> Lock:
    said = False
    while (lock := _make(path, owner)) is None:
        look = _look(path)
        if look is None:
            continue
        if look.owner and look.owner.process.is_alive():
            raise _refuse_in_use(path, look)
        if not _is_dead(look):
            if not said:
                say(_announce_wait(path, look))
                said = True
            later = _watch(path, look)
            if later is None or later.owner != look.owner:
                continue
            if later != look:
                raise _refuse_in_use(path, look)
        _remove_dead(path, look)
    return lock


def _refuse_in_use(path: Path, look: _Look) -> RunError:
    who = look.owner or "a run that just began"
    return RunError(f"{path.parent.parent} is in use by {who}; wait for it, or give another --output-dir")


def _announce_wait(path: Path, look: _Look) -> str:
    seconds = f"waiting up to {_format_seconds(look):.0f} s for a sign of life"
    if look.owner is None:
        return f"{path} names no owner: {seconds}"
    return f"{path.parent.parent} is locked by {look.owner}, which cannot be looked up from here: {seconds}"


def _format_seconds(look: _Look) -> float:
    return look.owner.seconds if look.owner else _own_seconds()


def _is_dead(look: _Look) -> bool:
    return look.owner is not None and look.owner.process.is_alive() is False


def _watch(path: Path, look: _Look) -> _Look | None:
    """Watch a lock until it changes, or until its owner is dead; return a new snapshot.

    Only time in which this process could look counts: if it was paused, the owner may have been paused too.
    """
    seconds = _format_seconds(look)
    pause = _FIRST_LOOK_SECONDS
    silent, before = 0.0, time.monotonic()
    while silent < seconds:
        time.sleep(pause)
        if (later := _look(path)) != look:
            return later
        now = time.monotonic()
        silent += min(now - before, 2 * pause)
        before, pause = now, min(2 * pause, seconds / _LOOKS)
    return look


def _make(path: Path, owner: Owner) -> Lock | None:
    """Make the lock whole or not at all: written aside, then linked, which fails if there is one; None then."""
    now = time.clock_gettime(CLOCK)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        _write(aside, owner.encode())
        os.link(aside, path)
    except FileExistsError:
        pass  # or the answer to an earlier try got lost on a network: the token says
    except FileNotFoundError:  # swept by the owner
        if not path.parent.is_dir():
            raise
    except OSError:  # a filesystem without links
        _write_exclusively(path, owner)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
    return _hold(path, owner, now)


def _hold(path: Path, owner: Owner, now: float) -> Lock | None:
    """Return the lock if ``owner`` has it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # taken away again, or another's
        return None
    if _read(descriptor) == owner.encode():
        return Lock(path, owner, descriptor, now)
    os.close(descriptor)
    return None


def _write(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb") as stream:
        stream.write(content)


def _write_exclusively(path: Path, owner: Owner) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except FileExistsError:
        return
    try:
        with open(descriptor, "wb") as stream:
            stream.write(owner.encode())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _set_time(descriptor: int, owner: Owner) -> None:
    """Change the time of the file behind ``descriptor``, never that of a file that took its place."""
    try:
        os.utime(descriptor)
    except OSError:  # a filesystem that cannot set times: writing the same bytes again sets it as well
        os.pwrite(descriptor, owner.encode(), 0)
        os.fsync(descriptor)


def find_owner(path: Path) -> Owner | None:
    """Return the owner of the lock at ``path``; None if there is no valid lock. The owner may be dead."""
    content = _read_lock(path)
    return None if content is None else Owner.decode(content)


def _read_token(path: Path) -> str | None:
    """Return the token in the lock at ``path``, empty if it is damaged; None if there is no lock."""
    return _find_token(_read_lock(path))


def _find_token(content: bytes | None) -> str | None:
    if content is None:
        return None
    owner = Owner.decode(content)
    return owner.token if owner else ""


def _read_lock(path: Path) -> bytes | None:
    """Return the content of the lock at ``path``; None if there is no lock.

    The file is opened each time: network filesystems may answer from a cache otherwise.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _look(path: Path) -> _Look | None:
    """Return a snapshot of the lock at ``path``; None if there is none. A symlink is not followed and has no owner."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError:
        return _look_at_link(path)
    try:
        status = os.fstat(descriptor)
        owner = Owner.decode(_read(descriptor)) if stat.S_ISREG(status.st_mode) else None
        return _Look(owner, status.st_ino, status.st_mtime_ns)
    finally:
        os.close(descriptor)


def _look_at_link(path: Path) -> _Look | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return _Look(None, status.st_ino, status.st_mtime_ns)


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, _MAX_BYTES, 0)


def _make_dead_name(path: Path, digits: str) -> str:
    """Return the name of a removed lock."""
    return f".{path.name}.dead.{digits}.tmp"


def _remove_dead(path: Path, look: _Look, fence: Callable[[str], None] = lambda _: None) -> None:
    """Remove a dead owner's lock by a rename, which only one of several processes can do.

    If the file is another one or has changed since the snapshot, its owner lives: the file is restored.
    """
    aside = path.with_name(_make_dead_name(path, uuid.uuid4().hex[:12]))
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if _look(aside) == look:
        _fence(look, fence)
    else:
        with contextlib.suppress(OSError):
            os.link(aside, path)
    aside.unlink(missing_ok=True)
