"""Leases in stores: one owner at a time of an output folder, or of an item's publication.

A lease is a folder of objects with numbers. A process owns the lease if it has written the one with the highest number.
To take it over, it writes the next number, which must be new: of several processes, one succeeds. While an owner holds
its lease, it writes its object again every few seconds (its heartbeat) and looks for a higher number: then it has lost
the lease.

An owner is dead if its process has ended, as seen from its machine, or if its last heartbeat is too old by the store's
clock. If the store does not tell the time, the other process watches the object by its own clock. Clocks of two
machines are never compared.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tasks.engine.contract.errors import LockLost, RunError
from tasks.engine.store.lock import CLOCK, Owner, forget_lock, remember_lock
from tasks.stores.base import ObjectInfo, WritableStore
from tasks.stores.errors import ObjectExists, ObjectMissing, StoreError

RUN_LEASE = ".headrace/lease"
CLAIMS_FOLDER = ".headrace/claims"
_BEATS = 12  # in the time after which an owner without heartbeat is dead
_STALE_SHARE = 1 / 3  # of that time: an owner that was silent for longer asks before it writes
_LOOKS = 60
_MAX_BYTES = 64 * 1024
_CLOCK_STEP_SECONDS = 2.0  # precision of the times that stores tell


class Lease:
    """A lease that this process holds. A thread sends heartbeats until :meth:`release`."""

    def __init__(self, store: WritableStore, folder: str, number: int, owner: Owner, started: float) -> None:
        self.owner = owner
        self.on_loss: Callable[[LockLost], None] = lambda _: None
        self._store = store
        self._folder = folder
        self._number = number
        self._beat_at = started
        self._beats = 0
        self._loss: LockLost | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._heart = threading.Thread(target=self._send_heartbeats, name="headrace-lease", daemon=True)
        self._heart.start()

    def check(self) -> None:
        """Raise LockLost unless this process still holds the lease. Call it right before publishing."""
        if self._loss is None and self._is_stale():
            with suppress(StoreError):
                self._beat()
            if self._loss is None and self._is_stale():
                self._lose("it could not be renewed in time")
        if self._loss is not None:
            raise self._loss

    def release(self) -> None:
        """Stop the heartbeat, and remove the lease if this process still holds it."""
        self._over.set()
        self._heart.join()
        if self._loss is None:
            with suppress(StoreError):
                if not self._is_stale() or _find_last(self._store, self._folder) == self._number:
                    self._store.remove([_make_key(self._folder, self._number)])

    def _is_stale(self) -> bool:
        return time.clock_gettime(CLOCK) - self._beat_at > self.owner.seconds * _STALE_SHARE

    def _send_heartbeats(self) -> None:
        while not self._over.wait(self.owner.seconds / _BEATS) and self._loss is None:
            with suppress(StoreError):  # it may pass, unless it lasts
                self._beat()

    def _beat(self) -> None:
        """Renew the lease, then look for a higher number. The order matters: see the module's docstring."""
        with self._lock:
            now = time.clock_gettime(CLOCK)
            try:
                if not self._has_own():
                    self._lose("it is gone")
                    return
                self._beats += 1
                padding = b" " * (self._beats % 8)  # JSON allows it, and the object gets another ETag
                self._store.put(_make_key(self._folder, self._number), self.owner.encode() + padding)
                if _find_last(self._store, self._folder) != self._number:
                    self._lose("another run has taken it over")
                    return
            except ObjectMissing:
                self._lose("it is gone")
                return
            self._beat_at = now

    def _has_own(self) -> bool:
        """Return True if the object of this owner exists: one that was taken over may be removed."""
        owner = Owner.decode(self._store.read(_make_key(self._folder, self._number), _MAX_BYTES))
        return owner is not None and owner.token == self.owner.token

    def _lose(self, why: str) -> None:
        advice = "this run has stopped and wrote nothing more; give the same command again once no other run is at work"
        self._loss = self._loss or LockLost(f"this run has lost its lease of {self._store.location}: {why}; {advice}")
        self.on_loss(self._loss)


@contextmanager
def hold_lease(
    store: WritableStore, owner: Owner, say: Callable[[str], None] = lambda _: None, folder: str = RUN_LEASE
) -> Iterator[Lease]:
    """Hold the lease of an output folder. Raises RunError if another run that is alive holds it."""
    lease = _take(store, folder, owner, say, waits=False)
    remember_lock(lease)
    try:
        yield lease
    finally:
        forget_lock(lease)
        lease.release()


@contextmanager
def claim_lease(store: WritableStore, owner: Owner, folder: str) -> Iterator[Lease]:
    """Hold a lease briefly; wait while another live process holds it."""
    lease = _take(store, folder, owner, lambda _: None, waits=True)
    try:
        yield lease
    finally:
        lease.release()


_checked: dict[str, float] = {}


def check_lease(store: WritableStore, token: str, folder: str = RUN_LEASE) -> None:
    """Raise LockLost unless the owner with ``token``, in another process, holds the lease.

    The store is asked at most once in the time between two heartbeats.
    """
    now = time.clock_gettime(CLOCK)
    if now < _checked.get(token, 0.0):
        return
    number = _find_last(store, folder)
    owner = _read_owner(store, folder, number) if number else None
    if owner is None or owner.token != token:
        raise LockLost(f"the run has lost its lease of {store.location}; nothing more was written")
    _checked[token] = now + owner.seconds / _BEATS


def _take(store: WritableStore, folder: str, owner: Owner, say: Callable[[str], None], waits: bool) -> Lease:
    is_first = waits  # a claim is free as a rule: it is taken without a look
    while True:
        now = time.clock_gettime(CLOCK)
        last = None if is_first else _find_last_info(store, folder)
        is_first = False
        if last and not _is_free(store, folder, last, say, waits):
            continue
        number = _read_number(last.key) + 1 if last else 1
        try:
            store.put(_make_key(folder, number), owner.encode(), is_new=True)
        except ObjectExists:
            continue
        if last:
            _remove_older(store, folder, number)
        return Lease(store, folder, number, owner, now)


def _is_free(store: WritableStore, folder: str, last: ObjectInfo, say: Callable[[str], None], waits: bool) -> bool:
    """Return True if the owner of the lease is dead, False if the lease has changed.

    Raises RunError if the owner is alive, unless ``waits``.
    """
    holder = _read_owner(store, folder, _read_number(last.key))
    alive = holder.process.is_alive() if holder else None
    if alive is False or (alive is None and _is_expired(store, last, holder)):
        return True
    if alive and not waits:
        raise _refuse(store, holder)
    if not waits:
        seconds = holder.seconds if holder else Owner.mine("").seconds
        who = holder or "an unknown run"
        say(f"{store.location} is leased by {who}: waiting up to {seconds:.0f} s for a sign of life")
    later = _watch(store, folder, last, holder)
    if later == last:
        return True
    if later is not None and not waits:
        raise _refuse(store, holder)
    return False


def _refuse(store: WritableStore, holder: Owner | None) -> RunError:
    who = holder or "another run"
    return RunError(f"{store.location} is in use by {who}; wait for it, or give another --output-dir")


def _is_expired(store: WritableStore, last: ObjectInfo, holder: Owner | None) -> bool:
    """Return True if the last heartbeat is too old by the store's clock."""
    now = store.read_clock()
    if now is None or not last.modified or holder is None:
        return False
    return now - last.modified > holder.seconds + _CLOCK_STEP_SECONDS


def _watch(store: WritableStore, folder: str, last: ObjectInfo, holder: Owner | None) -> ObjectInfo | None:
    """Watch a lease until it changes, or until its owner is dead by the clock of this process."""
    seconds = holder.seconds if holder else Owner.mine("").seconds
    silent, before = 0.0, time.monotonic()
    pause = seconds / _LOOKS
    while silent < seconds:
        time.sleep(pause)
        later = _find_last_info(store, folder)
        if later is None or later.key != last.key or later.modified != last.modified or later.etag != last.etag:
            return later
        now = time.monotonic()
        silent += min(now - before, 4 * pause)  # if this process was paused, the owner may have been too
        before = now
    return last


def _find_last_info(store: WritableStore, folder: str) -> ObjectInfo | None:
    found = [info for info in store.list(f"{folder}/") if _read_number(info.key)]
    return max(found, key=lambda info: _read_number(info.key), default=None)


def _find_last(store: WritableStore, folder: str) -> int:
    last = _find_last_info(store, folder)
    return _read_number(last.key) if last else 0


def _read_owner(store: WritableStore, folder: str, number: int) -> Owner | None:
    try:
        return Owner.decode(store.read(_make_key(folder, number), _MAX_BYTES))
    except (ObjectMissing, OSError):
        return None


def _remove_older(store: WritableStore, folder: str, number: int) -> None:
    older = [info.key for info in store.list(f"{folder}/") if 0 < _read_number(info.key) < number]
    if older:
        store.remove(older)


def _make_key(folder: str, number: int) -> str:
    return f"{folder}/{number:08d}"


def _read_number(key: str) -> int:
    name = key.rpartition("/")[2]
    return int(name) if name.isascii() and name.isdecimal() else 0
