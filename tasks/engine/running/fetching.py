"""Download the inputs of items from stores to local scratch, before the items start.

Items that need the same input, such as the segments of a tape, share one copy. Copies that no item uses are removed
when scratch is needed for others: those that were used least recently go first.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tasks.engine.contract.errors import RunError
from tasks.engine.running.context import RunContext
from tasks.engine.running.messages import Failed
from tasks.engine.running.scratch import get_local_scratch, make_local_scratch, remove_local_scratch
from tasks.engine.store.files import format_bytes
from tasks.engine.store.mirrors import RemoteInput
from tasks.engine.store.outcomes import Usage
from tasks.stores.base import ObjectInfo
from tasks.stores.errors import ObjectChanged, ObjectMissing
from tasks.stores.opening import open_store

_CONNECTIONS = 8
_SHARE_OF_FREE = 0.8  # that copies may use
_CHANGED = "changed after the run was planned; give the same command again"
_GONE = "has vanished; bring it back, then give the same command again"


@dataclass
class _Copy:
    """A local copy of an input, and the number of items that use it."""

    folder: Path
    path: Path
    size_bytes: int
    users: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_whole: bool = False


@dataclass(frozen=True)
class FetchedInputs:
    """Local copies of an item's inputs, by their paths. Call ``release`` when the item is over."""

    paths: Mapping[str, str] = field(default_factory=dict)
    release: Callable[[], None] = lambda: None


class InputCache:
    """The local copies of one process in one run. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._lock = threading.Lock()
        make_local_scratch(folder)
        self._max_bytes = shutil.disk_usage(folder).free * _SHARE_OF_FREE

    def fetch(self, remote: Sequence[RemoteInput]) -> FetchedInputs | Failed:
        """Return local copies of inputs, or the failure of their item: an input has changed or vanished.

        Raises StoreError if a store cannot be read, and RunError if scratch is too small.
        """
        keys = [_make_key(each) for each in remote]
        copies = [self._acquire(key, each) for key, each in zip(keys, remote, strict=True)]

        def release() -> None:
            with self._lock:
                for copy in copies:
                    copy.users -= 1

        try:
            for copy, each in zip(copies, remote, strict=True):
                self._download(copy, each)
        except (ObjectChanged, ObjectMissing) as error:
            release()
            is_gone = isinstance(error, ObjectMissing)
            message = f"its input {each.url} {_GONE if is_gone else _CHANGED}"
            return Failed("bad_input" if is_gone else "error", message, Usage())
        except BaseException:
            release()
            raise
        return FetchedInputs({each.path: str(copy.path) for copy, each in zip(copies, remote, strict=True)}, release)

    def close(self) -> None:
        """Remove all copies."""
        remove_local_scratch(self._folder)

    def _acquire(self, key: str, remote: RemoteInput) -> _Copy:
        with self._lock:
            if key not in self._copies:
                self._make_room(remote.size_bytes)
                folder = self._folder / key
                self._copies[key] = _Copy(folder, folder / Path(remote.path).name, remote.size_bytes)
            self._copies.move_to_end(key)
            self._copies[key].users += 1
            return self._copies[key]

    def _make_room(self, size_bytes: int) -> None:
        """Remove copies that no item uses, until there is room for another one."""
        used = sum(copy.size_bytes for copy in self._copies.values())
        for key, copy in list(self._copies.items()):
            if used + size_bytes <= self._max_bytes:
                return
            if not copy.users:
                del self._copies[key]
                used -= copy.size_bytes
                remove_local_scratch(copy.folder)
        if used + size_bytes > self._max_bytes:
            given = f"{format_bytes(used + size_bytes)} of local scratch for its inputs"
            free = f"{self._folder} may use {format_bytes(self._max_bytes)}"
            raise RunError(f"an item needs {given}, and {free}; free some space, set TMPDIR, or use fewer --workers")

    def _download(self, copy: _Copy, remote: RemoteInput) -> None:
        with copy.lock:
            if copy.is_whole:
                return
            remove_local_scratch(copy.folder)
            make_local_scratch(copy.folder)
            store = open_store(remote.url)
            infos = [(ObjectInfo(each.key, each.size_bytes, each.etag), each.place) for each in remote.objects]
            with ThreadPoolExecutor(_CONNECTIONS, "headrace-fetch") as threads:
                futures = [
                    threads.submit(store.download, info, copy.path / place if place else copy.path)
                    for info, place in infos
                ]
            for future in futures:
                future.result()
            copy.is_whole = True


def _make_key(remote: RemoteInput) -> str:
    """Return the name of a copy: it depends on the content."""
    text = "\0".join([remote.url, *(f"{each.key} {each.size_bytes} {each.etag}" for each in remote.objects)])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


_lock = threading.Lock()
_caches: dict[tuple[int, str], InputCache] = {}


def get_input_cache(context: RunContext) -> InputCache:
    """Return the copies of this process in a run."""
    key = os.getpid(), context.run_id
    with _lock:
        if key not in _caches:
            folder = get_local_scratch(context.output_dir, context.run_id) / f"inputs-{os.getpid()}"
            _caches[key] = InputCache(folder)
        return _caches[key]


def forget_input_cache(run_id: str) -> None:
    """Remove the copies of this process in a run."""
    with _lock:
        cache = _caches.pop((os.getpid(), run_id), None)
    if cache:
        cache.close()
