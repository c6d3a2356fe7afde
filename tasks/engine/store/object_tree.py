"""An output folder in a store, as a tree: the engine reads, writes and removes its files as in a local folder.

Private folders and the lock of the machine stay in the local work folder. All other paths are objects. An output that
is published also stays in the work folder, for later stages on this machine.
"""

from __future__ import annotations

import stat as modes
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from os import stat_result
from pathlib import Path

from tasks.engine.contract.errors import RunError
from tasks.engine.store.object_folder import ObjectFolder
from tasks.engine.store.tree import Move, Tree, is_plain_path
from tasks.stores.published import mark_copy

_LOCAL = (".headrace/private", ".headrace/store")
_LOCAL_FILES = (".headrace/lock", ".headrace/.lock")
_RECORDS = ".headrace/records/"  # removed at once: their outputs change next


@dataclass(frozen=True)
class ObjectTree(Tree):
    """The files of an output folder in a store. ``root`` is the local work folder. Objects have no folders to make."""

    objects: ObjectFolder | None = None

    @property
    def _local(self) -> Tree:
        """The local work folder."""
        return Tree(self.root)

    @property
    def _objects(self) -> ObjectFolder:
        assert self.objects is not None
        return self.objects

    def opened(self, folder: str = "", make: bool = False) -> AbstractContextManager[int]:
        """Provide a descriptor of a local folder; -1 for others."""
        return self._local.opened(folder, make) if _is_local(folder) else nullcontext(-1)

    @contextmanager
    def holding(self) -> Iterator[Tree]:
        """Yield this tree."""
        yield self

    def names(self, folder: str = "") -> list[str]:
        """Return the sorted names in ``folder``; none if it is missing."""
        if _is_local(folder):
            return self._local.names(folder)
        skipped = len(folder) + 1 if folder else 0
        return sorted({info.key[skipped:].partition("/")[0] for info in self._objects.list(folder)})

    def folders(self, folder: str = "") -> list[str]:
        """Return the sorted names of the folders in ``folder``."""
        if _is_local(folder):
            return self._local.folders(folder)
        skipped = len(folder) + 1 if folder else 0
        rests = (info.key[skipped:].partition("/") for info in self._objects.list(folder))
        return sorted({name for name, slash, _ in rests if slash})

    def status(self, path: str) -> stat_result | None:
        """Return the status of a file: its size and time; None if it does not exist."""
        if _is_local(path):
            return self._local.status(path)
        _check(path)
        info = self._objects.find(path)
        if info is None:
            return None
        time = int(info.modified)
        return stat_result((modes.S_IFREG | 0o644, 0, 0, 1, 0, 0, info.size_bytes, time, time, time))

    def is_folder(self, path: str) -> bool:
        """Return True if ``path`` is a folder: if there are files in it."""
        return self._local.is_folder(path) if _is_local(path) else self._objects.has_folder(path)

    def refuse_link(self, path: str) -> None:
        """Raise RunError if a local ``path`` is a symlink."""
        if _is_local(path):
            self._local.refuse_link(path)

    def read(self, path: str, max_bytes: int) -> bytes:
        """Return the content of a file. Raises OSError if it has more than ``max_bytes``."""
        if _is_local(path):
            return self._local.read(path, max_bytes)
        _check(path)
        return self._objects.read(path, max_bytes)

    def read_end(self, path: str, max_bytes: int) -> bytes:
        """Return the last ``max_bytes`` of a file, or all of a shorter one."""
        if _is_local(path):
            return self._local.read_end(path, max_bytes)
        _check(path)
        return self._objects.read_end(path, max_bytes)

    def prefetch(self, folder: str, suffix: str, max_bytes: int) -> None:
        """Read the files in ``folder`` that end with ``suffix`` into the cache."""
        if self._objects.is_listed:
            for _ in self.read_all(folder, suffix, max_bytes):
                pass

    def read_all(self, folder: str, suffix: str, max_bytes: int) -> Iterator[tuple[str, bytes | OSError]]:
        """Yield the name, without ``suffix``, and the content of each file in ``folder`` that ends with ``suffix``."""
        skipped = len(folder) + 1
        wanted = [info for info in self._objects.list(folder) if info.key.endswith(suffix)]
        for info, content in self._objects.read_many(wanted, max_bytes):
            yield info.key[skipped:].removesuffix(suffix), content

    def sha256(self, path: str) -> str:
        """Return the sha256 of a file as 64 hexadecimal digits."""
        if _is_local(path):
            return self._local.sha256(path)
        _check(path)
        return self._objects.hash(path)

    def sync(self, path: str) -> None:
        """Do nothing: an object is durable when it is written."""

    def sync_folder(self, folder: str = "") -> None:
        """Do nothing: an object is durable when it is written."""

    def write(self, path: str, content: bytes, durable: bool = True) -> None:
        """Write ``content`` to ``path``, whole or not at all."""
        if _is_local(path):
            self._local.write(path, content, durable)
            return
        _check(path)
        self._objects.write(path, content)

    def move(self, source: str, target: str) -> None:
        """Give the small object ``source`` the name ``target``."""
        if _is_local(source) or _is_local(target):
            self._local.move(source, target)
            return
        self._objects.write(target, self._objects.read(source, 2**30))
        self._objects.remove([source])

    def move_all(self, moves: Sequence[Move], check: Callable[[], None]) -> None:
        """Upload local files as new objects; they stay in the work folder under their new paths."""
        self._objects.upload([(self.root / move.source, move.target, move.sha256) for move in moves], check)
        for move in moves:
            self._local.move(move.source, move.target)
            mark_copy(self.root / move.target)

    def unlink(self, path: str) -> None:
        """Remove a file, if there is one; its local copy too."""
        self._local.unlink(path)
        if _is_local(path):
            return
        if not (path.startswith(_RECORDS) and path.endswith(".json")):
            self._objects.remove_later(path)
        elif not self._objects.is_listed or self._objects.find(path):
            self._objects.remove([path])

    def remove(self, path: str) -> None:
        """Remove a file, or all files in a folder."""
        if _is_local(path):
            self._local.remove(path)
            return
        _check(path)
        self._objects.remove([info.key for info in self._objects.list(path)])
        self.unlink(path)

    def clear(self, folder: str) -> None:
        """Empty a local folder."""
        if not _is_local(folder):
            raise RunError(f"{folder!r} is not a local folder; it was left alone")
        self._local.clear(folder)

    def remove_temporary(self, folder: str = "") -> None:
        """Remove temporary files of killed writers from a local folder. Objects appear whole."""
        if _is_local(folder):
            self._local.remove_temporary(folder)

    def remove_empty(self, folder: str) -> None:
        """Remove a folder of the work folder if it is empty. Raises OSError if it is not."""
        self._local.remove_empty(folder)

    def flush(self) -> None:
        """Do all removals that wait for others."""
        self._objects.flush()

    def drop_copies(self, paths: Sequence[str]) -> None:
        """Remove the local copies of published files, which no later stage reads."""
        for path in paths:
            with suppress(OSError):
                self._local.unlink(path)


def _is_local(path: str) -> bool:
    return path.startswith(_LOCAL_FILES) or path in _LOCAL or path.startswith(tuple(f"{place}/" for place in _LOCAL))


def _check(path: str) -> None:
    if not path or not is_plain_path(path):
        raise RunError(f"{path!r} is not a path inside the output folder; it was left alone")


def make_object_tree(work: Path, objects: ObjectFolder) -> ObjectTree:
    """Return the tree of an output folder in a store."""
    return ObjectTree(work, objects=objects)
