"""Access files below one folder without following symlinks.

Each folder below the root is opened relative to its parent with O_NOFOLLOW. No symlink (from an archive, or swapped in
by another process) can lead out of the root, because no path is checked first and used later. The root and the folders
above it may be symlinks, because the user chose them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tasks.engine.contract.errors import RunError

_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER = _ROOT | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not make its reader wait
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20
_MAX_HELD = 64  # folders
_MAX_HELD_DEPTH = 16  # of nested folders that are all kept open
# What filesystems say that cannot force the names in a folder to the disk.
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES})
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")


def is_plain_path(path: str) -> bool:
    """Return True if ``path`` is relative and normal: no ``..``, no ``.``, no empty part, no NUL."""
    parts = f"/{path}/"
    return not ("//" in parts or "/./" in parts or "/../" in parts or "\0" in parts)


@dataclass(frozen=True)
class Move:
    """A file to publish: its path, its new path, and its sha256."""

    source: str
    target: str
    sha256: str


class _Folders:
    """Folders that a tree keeps open, by path. For one thread at a time."""

    def __init__(self) -> None:
        self.descriptors: dict[str, int] = {}
        self.users = 0  # blocks of :meth:`Tree.opened` that are being executed

    def close(self, under: str | None = None) -> None:
        """Close the folder ``under`` and all folders in it; None means all folders."""
        for path in list(self.descriptors):
            if under is None or path == under or path.startswith(f"{under}/"):
                os.close(self.descriptors.pop(path))


@dataclass(frozen=True)
class Tree:
    """The files below ``root``. Paths are relative to it, with forward slashes; the empty path is the root itself.

    Every method raises RunError if a folder on the way is a symlink, and OSError as the system does.
    """

    root: Path
    makes_root: bool = True  # with the folders above it, where something is to be made in it
    _held: _Folders | None = field(default=None, compare=False, repr=False)

    def opened(self, folder: str = "", make: bool = False) -> AbstractContextManager[int]:
        """Provide a descriptor of ``folder``; with ``make``, make it and the folders above it if they are missing."""
        return _Opened(self._acquire, self._held, folder, make)

    @contextmanager
    def holding(self) -> Iterator[Tree]:
        """Yield this tree with a cache of open folders, for many accesses by one thread.

        No other process may meanwhile replace a folder that the thread uses.
        """
        held = _Folders()
        try:
            yield Tree(self.root, self.makes_root, held)
        finally:
            held.close()

    def _find_held(self, folder: str) -> int | None:
        """Return the descriptor of ``folder`` for a single call, if it is open. Faster than :meth:`opened`."""
        return self._held.descriptors.get(folder) if self._held is not None else None

    def _acquire(self, folder: str, make: bool) -> int:
        held = self._held
        if held is None:
            return self._open(folder, make)
        if not held.users and len(held.descriptors) >= _MAX_HELD:
            held.close()
        return self._hold(folder, held, make)

    def _hold(self, folder: str, held: _Folders, make: bool) -> int:
        """Return a descriptor of ``folder`` that stays open, opened relative to its parent."""
        if (known := held.descriptors.get(folder)) is not None:
            return known
        if not folder or folder.count("/") > _MAX_HELD_DEPTH:
            descriptor = self._open(folder, make)
        else:
            _check_path(folder)
            parent, _, name = folder.rpartition("/")
            descriptor = self._enter(self._hold(parent, held, make), name, folder, make)
        held.descriptors[folder] = descriptor
        return descriptor

    def _open(self, folder: str, make: bool) -> int:
        parts = _split_path(folder)
        descriptor = self._open_root(make)
        for place, name in enumerate(parts):
            try:
                inner = self._enter(descriptor, name, "/".join(parts[: place + 1]), make)
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor

    def _open_root(self, make: bool) -> int:
        try:
            return os.open(self.root, _ROOT)
        except FileNotFoundError:
            if not (make and self.makes_root):
                raise
        self.root.mkdir(parents=True, exist_ok=True)
        return os.open(self.root, _ROOT)

    def _enter(self, parent: int, name: str, path: str, make: bool) -> int:
        """Open the folder ``name`` in an open folder; ``path`` is its path in the tree."""
        try:
            return os.open(name, _FOLDER, dir_fd=parent)
        except FileNotFoundError:
            with _name_errors(self.root, path):
                if not make:
                    raise
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=parent)
            return self._enter(parent, name, path, make=False)
        except OSError:
            with _name_errors(self.root, path):
                if _is_link(name, parent):
                    raise _refuse(self.root / path) from None
                raise

    def _forget(self, path: str) -> None:
        """Close ``path`` and the folders in it, because they are about to be removed."""
        if self._held is not None:
            self._held.close(path)

    def make(self, folder: str, mode: int = 0o777) -> None:
        """Make ``folder``, which must not exist, and the folders above it."""
        parent, name = _split(folder)
        with _name_errors(self.root, folder), self.opened(parent, make=True) as descriptor:
            os.mkdir(name, mode, dir_fd=descriptor)

    def names(self, folder: str = "") -> list[str]:
        """Return the sorted names in ``folder``; none if it is missing."""
        try:
            with self.opened(folder) as descriptor, _name_errors(self.root, folder):
                return sorted(os.listdir(descriptor))
        except FileNotFoundError:
            return []

    def folders(self, folder: str = "") -> list[str]:
        """Return the sorted names of the folders in ``folder``, without symlinks; none if it is missing."""
        return [name for name in self.names(folder) if self.is_folder(f"{folder}/{name}" if folder else name)]

    def status(self, path: str) -> os.stat_result | None:
        """Return the status of ``path`` without following symlinks; None if it does not exist."""
        parent, name = _split(path)
        folder = self._find_held(parent)
        try:
            if folder is not None:
                return os.stat(name, dir_fd=folder, follow_symlinks=False)
            with self.opened(parent) as folder:
                return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def refuse_link(self, path: str) -> None:
        """Raise RunError if ``path`` is a symlink."""
        status = self.status(path)
        if status is not None and stat.S_ISLNK(status.st_mode):
            raise _refuse(self.root / path)

    def is_folder(self, path: str) -> bool:
        """Return True if ``path`` is a folder, and no symlink."""
        status = self.status(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    @contextmanager
    def reading(self, path: str) -> Iterator[int]:
        """Yield a descriptor of the plain file ``path``. Raises OSError for a symlink, a pipe or a device."""
        descriptor, _ = self._open_file(path)
        try:
            with _name_errors(self.root, path):
                yield descriptor
        finally:
            os.close(descriptor)

    def _open_file(self, path: str) -> tuple[int, int]:
        """Return a descriptor of the plain file ``path``, and its size in bytes."""
        parent, name = _split(path)
        folder = self._find_held(parent)
        with _name_errors(self.root, path):
            if folder is not None:
                descriptor = os.open(name, _FILE, dir_fd=folder)
            else:
                with self.opened(parent) as folder:
                    descriptor = os.open(name, _FILE, dir_fd=folder)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OSError(f"{self.root / path} is not a plain file")
        return descriptor, status.st_size

    def read(self, path: str, max_bytes: int) -> bytes:
        """Return the content of the plain file ``path``. Raises OSError if it has more than ``max_bytes``."""
        descriptor, size_bytes = self._open_file(path)
        try:
            if size_bytes > max_bytes:
                raise OSError(f"{self.root / path} has more than {max_bytes} bytes")
            with _name_errors(self.root, path):
                return _read(descriptor, size_bytes)
        finally:
            os.close(descriptor)

    def read_end(self, path: str, max_bytes: int) -> bytes:
        """Return the last ``max_bytes`` of the plain file ``path``, or all of a shorter one."""
        descriptor, size_bytes = self._open_file(path)
        try:
            with _name_errors(self.root, path):
                os.lseek(descriptor, max(0, size_bytes - max_bytes), os.SEEK_SET)
                return _read(descriptor, min(size_bytes, max_bytes))
        finally:
            os.close(descriptor)

    def sha256(self, path: str) -> str:
        """Return the sha256 of the plain file ``path`` as 64 hexadecimal digits."""
        digest = hashlib.sha256()
        descriptor, size_bytes = self._open_file(path)
        try:
            with _name_errors(self.root, path):
                while chunk := os.read(descriptor, min(size_bytes + 1, _CHUNK_BYTES)):
                    digest.update(chunk)
        finally:
            os.close(descriptor)
        return digest.hexdigest()

    def sync(self, path: str) -> None:
        """Force the content of a file to the disk."""
        with self.reading(path) as descriptor:
            os.fsync(descriptor)

    def sync_folder(self, folder: str = "") -> None:
        """Force the names in ``folder`` to the disk. Filesystems that cannot do this for folders are ignored.

        Raises OSError if the disk fails.
        """
        with self.opened(folder) as descriptor:
            try:
                with _name_errors(self.root, folder):
                    os.fsync(descriptor)
            except OSError as error:
                if error.errno not in _CANNOT_SYNC:
                    raise

    def write(self, path: str, content: bytes, durable: bool = True) -> None:
        """Write ``content`` to ``path`` atomically: temporary name, fsync, rename. The folder must exist.

        A kill leaves the old file or the new one. After a power cut the old file may be back unless the caller calls
        :meth:`sync_folder`.
        """
        parent, name = _split(path)
        temporary = f".{name}.{os.urandom(6).hex()}.tmp"
        with _name_errors(self.root, path), self.opened(parent) as folder:
            try:
                _write(os.open(temporary, _NEW, 0o666, dir_fd=folder), content, durable)
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):  # it must not hide the first error
                    os.unlink(temporary, dir_fd=folder)
                raise

    def move(self, source: str, target: str) -> None:
        """Rename the file ``source`` to ``target``; create its folders, and replace a file or a symlink there."""
        (from_parent, from_name), (to_parent, to_name) = _split(source), _split(target)
        opened = self.opened(from_parent), self.opened(to_parent, make=True)
        with opened[0] as from_folder, opened[1] as to_folder, _name_errors(self.root, target):
            os.replace(from_name, to_name, src_dir_fd=from_folder, dst_dir_fd=to_folder)

    def move_all(self, moves: Sequence[Move], check: Callable[[], None]) -> None:  # noqa: ARG002 - for stores
        """Rename files, and force their new names to the disk. ``check`` raises LockLost if they must stay."""
        parents = set()
        for move in moves:
            self.move(move.source, move.target)
            parent = move.target.rpartition("/")[0]
            parents |= {parent, parent.rpartition("/")[0]}
        for parent in parents:
            self.sync_folder(parent)

    def prefetch(self, folder: str, suffix: str, max_bytes: int) -> None:
        """Prepare reading all files in ``folder`` that end with ``suffix``: nothing to do in a local folder."""

    def read_all(self, folder: str, suffix: str, max_bytes: int) -> Iterator[tuple[str, bytes | OSError]]:
        """Yield the name, without ``suffix``, and the content of each file in ``folder`` that ends with ``suffix``.

        The content is the error if it cannot be read.
        """
        for name in self.names(folder):
            if name.endswith(suffix) and not name.startswith("."):
                yield name.removesuffix(suffix), self._try_read(f"{folder}/{name}", max_bytes)

    def _try_read(self, path: str, max_bytes: int) -> bytes | OSError:
        try:
            return self.read(path, max_bytes)
        except OSError as error:
            return error

    def flush(self) -> None:
        """Do everything that waits: nothing in a local folder."""

    def drop_copies(self, paths: Sequence[str]) -> None:
        """Remove local copies of published files: there are none in a local folder."""

    def unlink(self, path: str) -> None:
        """Remove the file or symlink ``path``, if there is one."""
        parent, name = _split(path)
        gone = contextlib.suppress(FileNotFoundError, NotADirectoryError)
        with gone, _name_errors(self.root, path), self.opened(parent) as folder:
            os.unlink(name, dir_fd=folder)

    def remove(self, path: str) -> None:
        """Remove ``path`` if it exists: a file, a symlink, or a folder with its content, as far as possible."""
        parent, name = _split(path)
        self._forget(path)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self.opened(parent) as folder:
            _remove(name, folder)

    def clear(self, folder: str) -> None:
        """Empty ``folder`` if it exists. If a symlink or a file has its name, remove that."""
        if not self.is_folder(folder):
            self.unlink(folder)
            return
        with self.opened(folder) as descriptor:
            for name in os.listdir(descriptor):
                self._forget(f"{folder}/{name}" if folder else name)
                _remove(name, descriptor)

    def remove_temporary(self, folder: str = "") -> None:
        """Remove the temporary files of killed writers from ``folder``. No process may be writing there."""
        for name in filter(_TEMPORARY.fullmatch, self.names(folder)):
            path = f"{folder}/{name}" if folder else name
            if not self.is_folder(path):
                self.unlink(path)

    def remove_empty(self, folder: str) -> None:
        """Remove ``folder``. Raises OSError if it is not empty."""
        parent, name = _split(folder)
        self._forget(folder)
        with self.opened(parent) as descriptor:
            os.rmdir(name, dir_fd=descriptor)


class _Opened:
    """Context of :meth:`Tree.opened`. A class, because a generator would take twice the time."""

    __slots__ = ("_acquire", "_descriptor", "_folder", "_held", "_make")

    def __init__(self, acquire: Callable[[str, bool], int], held: _Folders | None, folder: str, make: bool) -> None:
        self._acquire = acquire
        self._held = held
        self._folder = folder
        self._make = make
        self._descriptor = -1

    def __enter__(self) -> int:
        self._descriptor = self._acquire(self._folder, self._make)
        if self._held is not None:
            self._held.users += 1
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        if self._held is not None:
            self._held.users -= 1
        else:
            os.close(self._descriptor)


class _name_errors:  # noqa: N801 - reads as a context
    """Sets the full path in an OSError of the block: the system gives only the relative name, or none."""

    __slots__ = ("_path", "_root")

    def __init__(self, root: Path, path: str) -> None:
        self._root = root
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not isinstance(error, OSError):
            return
        is_named = isinstance(error.filename, str) and os.path.isabs(error.filename)
        if error.errno is not None and not is_named:  # one without a number has a text of its own
            error.filename = str(self._root / self._path)
            del error.filename2  # set to None, it would be in the text: "... -> None"


def _check_path(path: str) -> None:
    if not is_plain_path(path):
        raise RunError(f"{path!r} is not a path inside the output folder; it was left alone")


def _split_path(path: str) -> list[str]:
    if not path:
        return []
    _check_path(path)
    return path.split("/")


def _split(path: str) -> tuple[str, str]:
    """Split ``path`` into its folder and its name."""
    _check_path(path)
    parent, _, name = path.rpartition("/")
    return parent, name


def _is_link(name: str, parent: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _remove(name: str, parent: int) -> None:
    """Remove a name from an open folder; ``rmtree`` itself never follows a symlink."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except OSError:  # EISDIR on Linux, EPERM elsewhere
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise
        try:
            os.rmdir(name, dir_fd=parent)  # most folders are empty, and this is faster
        except OSError:
            shutil.rmtree(name, ignore_errors=True, dir_fd=parent)


def _read(descriptor: int, size_bytes: int) -> bytes:
    """Return the first ``size_bytes`` of a file, or all that it has."""
    content = os.read(descriptor, size_bytes)
    while len(content) < size_bytes and (more := os.read(descriptor, size_bytes - len(content))):
        content += more
    return content


def _write(descriptor: int, content: bytes, durable: bool) -> None:
    """Write ``content`` to a new file, with ``durable`` to the disk too, and close it."""
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse(path: Path) -> RunError:
    advice = "replace it with a folder (a bind mount will do), or give another --output-dir"
    return RunError(f"{path} is a symlink, and symlinks inside an output folder are not followed; {advice}")
