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
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tasks.engine.contract.errors import RunError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not make its reader wait
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20
_MAX_HELD = 64  # folders
# What filesystems say that cannot force the names in a folder to the disk.
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES})
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")


def is_plain_path(path: str) -> bool:
    """Return True if ``path`` is relative and normal: no ``..``, no ``.``, no empty part, no NUL."""
    return bool(path) and not {"", ".", ".."} & set(path.split("/")) and "\0" not in path


@dataclass(frozen=True)
class Tree:
    """The files below ``root``. Paths are relative to it, with forward slashes; the empty path is the root itself.

    Every method raises RunError if a folder on the way is a symlink, and OSError as the system does.
    """

    root: Path
    makes_root: bool = True  # with the folders above it, where something is to be made in it
    _held: dict[str, int] | None = field(default=None, compare=False, repr=False)

    @contextmanager
    def opened(self, folder: str = "", make: bool = False) -> Iterator[int]:
        """Yield a descriptor of ``folder``; with ``make``, make it and the folders above it if they are missing."""
        if self._held is not None and not make:
            yield self._hold(folder, self._held)
            return
        descriptor = self._open(folder, make)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def holding(self) -> Iterator[Tree]:
        """Yield this tree with a cache of open folders, for reading many files."""
        held = dict[str, int]()
        try:
            yield Tree(self.root, self.makes_root, held)
        finally:
            _close(held)

    def _hold(self, folder: str, held: dict[str, int]) -> int:
        if folder not in held:
            if len(held) >= _MAX_HELD:
                _close(held)
            held[folder] = self._open(folder, make=False)
        return held[folder]

    def _open(self, folder: str, make: bool) -> int:
        if make and self.makes_root:
            self.root.mkdir(parents=True, exist_ok=True)
        parts = _split_path(folder)
        descriptor = os.open(self.root, _FOLDER & ~os.O_NOFOLLOW)
        for place, name in enumerate(parts):
            try:
                inner = self._enter(descriptor, name, self.root.joinpath(*parts[: place + 1]), make)
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor

    def _enter(self, parent: int, name: str, path: Path, make: bool) -> int:
        """Open the folder ``name`` in an open folder; ``path`` is where that is."""
        with _name_errors(path):
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=parent)
            try:
                return os.open(name, _FOLDER, dir_fd=parent)
            except OSError:
                if _is_link(name, parent):
                    raise _refuse(path) from None
                raise

    def make(self, folder: str, mode: int = 0o777) -> None:
        """Make ``folder``, which must not exist, and the folders above it."""
        parent, name = _split(folder)
        with _name_errors(self.root / folder), self.opened(parent, make=True) as descriptor:
            os.mkdir(name, mode, dir_fd=descriptor)

    def names(self, folder: str = "") -> list[str]:
        """Return the sorted names in ``folder``; none if it is missing."""
        try:
            with self.opened(folder) as descriptor, _name_errors(self.root / folder):
                return sorted(os.listdir(descriptor))
        except FileNotFoundError:
            return []

    def folders(self, folder: str = "") -> list[str]:
        """Return the sorted names of the folders in ``folder``, without symlinks; none if it is missing."""
        return [name for name in self.names(folder) if self.is_folder(f"{folder}/{name}" if folder else name)]

    def status(self, path: str) -> os.stat_result | None:
        """Return the status of ``path`` without following symlinks; None if it does not exist."""
        parent, name = _split(path)
        try:
            with self.opened(parent) as descriptor:
                return os.stat(name, dir_fd=descriptor, follow_symlinks=False)
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
        parent, name = _split(path)
        with _name_errors(self.root / path), self.opened(parent) as folder:
            descriptor = os.open(name, _FILE, dir_fd=folder)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{self.root / path} is not a plain file")
            with _name_errors(self.root / path):
                yield descriptor
        finally:
            os.close(descriptor)

    def read(self, path: str, max_bytes: int) -> bytes:
        """Return the content of the plain file ``path``. Raises OSError if it has more than ``max_bytes``."""
        with self.reading(path) as descriptor:
            size_bytes = os.fstat(descriptor).st_size
            if size_bytes > max_bytes:
                raise OSError(f"{self.root / path} has more than {max_bytes} bytes")
            with open(descriptor, "rb", closefd=False) as stream:
                return stream.read(size_bytes)

    def sha256(self, path: str) -> str:
        """Return the sha256 of the plain file ``path`` as 64 hexadecimal digits."""
        digest = hashlib.sha256()
        with self.reading(path) as descriptor:
            while chunk := os.read(descriptor, _CHUNK_BYTES):
                digest.update(chunk)
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
                with _name_errors(self.root / folder):
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
        temporary = f".{name}.{uuid.uuid4().hex[:12]}.tmp"
        with _name_errors(self.root / path), self.opened(parent) as folder:
            try:
                with open(os.open(temporary, _NEW, 0o666, dir_fd=folder), "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    if durable:
                        os.fsync(stream.fileno())
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):  # it must not hide the first error
                    os.unlink(temporary, dir_fd=folder)
                raise

    def move(self, source: str, target: str) -> None:
        """Rename the file ``source`` to ``target``; create its folders, and replace a file or a symlink there."""
        (from_parent, from_name), (to_parent, to_name) = _split(source), _split(target)
        opened = self.opened(from_parent), self.opened(to_parent, make=True)
        with opened[0] as from_folder, opened[1] as to_folder, _name_errors(self.root / target):
            os.replace(from_name, to_name, src_dir_fd=from_folder, dst_dir_fd=to_folder)

    def unlink(self, path: str) -> None:
        """Remove the file or symlink ``path``, if there is one."""
        parent, name = _split(path)
        gone = contextlib.suppress(FileNotFoundError, NotADirectoryError)
        with gone, _name_errors(self.root / path), self.opened(parent) as folder:
            os.unlink(name, dir_fd=folder)

    def remove(self, path: str) -> None:
        """Remove ``path`` if it exists: a file, a symlink, or a folder with its content, as far as possible."""
        parent, name = _split(path)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self.opened(parent) as folder:
            _remove(name, folder)

    def clear(self, folder: str) -> None:
        """Empty ``folder`` if it exists. If a symlink or a file has its name, remove that."""
        if not self.is_folder(folder):
            self.unlink(folder)
            return
        with self.opened(folder) as descriptor:
            for name in os.listdir(descriptor):
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
        with self.opened(parent) as descriptor:
            os.rmdir(name, dir_fd=descriptor)


@contextmanager
def _name_errors(path: Path) -> Iterator[None]:
    """Set the full ``path`` in an OSError of the block: the system gives only the relative name, or none."""
    try:
        yield
    except OSError as error:
        is_named = isinstance(error.filename, str) and os.path.isabs(error.filename)
        if error.errno is not None and not is_named:  # one without a number has a text of its own
            error.filename = str(path)
            del error.filename2  # set to None, it would be in the text: "... -> None"
        raise


def _split_path(path: str) -> list[str]:
    if path and not is_plain_path(path):
        raise RunError(f"{path!r} is not a path inside the output folder; it was left alone")
    return path.split("/") if path else []


def _split(path: str) -> tuple[str, str]:
    """Split ``path`` into its folder and its name."""
    *parents, name = _split_path(path)
    return "/".join(parents), name


def _close(held: dict[str, int]) -> None:
    while held:
        os.close(held.popitem()[1])


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
        shutil.rmtree(name, ignore_errors=True, dir_fd=parent)


def _refuse(path: Path) -> RunError:
    advice = "replace it with a folder (a bind mount will do), or give another --output-dir"
    return RunError(f"{path} is a symlink, and symlinks inside an output folder are not followed; {advice}")
