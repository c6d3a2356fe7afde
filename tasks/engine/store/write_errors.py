"""Explain filesystem errors: the cause, the advice, and whether one item or the whole run is affected."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.engine.contract.errors import OutputBlocked, RunError
from tasks.engine.store.files import format_bytes, free_bytes

_PROBE_BYTES = 256 * 1024
_AGAIN = "then run the same command again"
_ELSEWHERE = "or give another --output-dir"
# By errno: the cause and the advice.
_CAUSES = {
    errno.ENOSPC: ("the disk is full", f"free some space {_ELSEWHERE}"),
    errno.EDQUOT: ("the disk quota is exceeded", f"free some of the quota, have it raised, {_ELSEWHERE}"),
    errno.EROFS: ("the filesystem is read-only", f"make it writable {_ELSEWHERE}"),
    errno.EACCES: ("permission denied", f"change its permissions {_ELSEWHERE}"),
    errno.EPERM: ("the operation is not permitted", f"change its owner or attributes {_ELSEWHERE}"),
    errno.EIO: ("the disk reports an input/output error", f"check the disk or the mount {_ELSEWHERE}"),
    errno.ESTALE: ("the file handle is stale: the folder was replaced on its server", "mount it again"),
    errno.ENOTCONN: ("the filesystem is disconnected", "mount it again"),
    errno.ETIMEDOUT: ("the filesystem does not answer", "check the mount"),
    errno.ENOENT: ("a folder has vanished", f"restore the output folder {_ELSEWHERE}"),
    errno.EISDIR: ("it is a folder, and a file must be written there", "move or rename that folder"),
    errno.ENOTDIR: ("a file is where a folder must be", "move or rename that file"),
    errno.EEXIST: ("a file is where a folder must be", "move or rename that file"),
    errno.ENOTEMPTY: ("it is a folder with files in it, and a file must be written there", "move or rename it"),
    errno.ENAMETOOLONG: ("the name is too long for this filesystem", "give a shorter --output-dir, or shorter names"),
    errno.ELOOP: ("its symlinks form a loop", "remove them"),
    errno.EFBIG: ("the file is larger than this filesystem allows", "give an --output-dir on another filesystem"),
    errno.EBUSY: ("it is in use", f"close whatever uses it {_ELSEWHERE}"),
    errno.ETXTBSY: ("it is a program that runs", f"end it {_ELSEWHERE}"),
    errno.EMFILE: ("too many files are open in this process", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many files are open on this machine", "close some, or raise the limit"),
}
# These errors affect all items.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
# These concern the path of one output.
_IN_THE_WAY = frozenset({
    errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP, errno.EFBIG,
    errno.EBUSY, errno.ETXTBSY,
})  # fmt: skip
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM})
# Some are free again once what could not be written is cleared away.
_FEW_INODES = 8


def explain_write_error(folder: Path, error: OSError) -> RunError:
    """Return the error to raise if the output folder ``folder`` cannot be written."""
    cause, advice = _explain(error)
    return RunError(f"cannot write to {folder}: {cause}{_place(folder, error)}; {advice}, {_AGAIN}")


@contextmanager
def explain_write_errors(folder: Path) -> Iterator[None]:
    """Turn an error of writing below ``folder`` inside the block into RunError."""
    try:
        yield
    except OSError as error:
        path = _find_path(error)
        if path is None or not path.is_relative_to(folder) or error.errno == errno.ENOENT:
            raise
        raise explain_write_error(folder, error) from error


def write_failure(folder: Path, engine_folder: Path, error: OSError) -> RunError | OutputBlocked:
    """Return the error to raise if an item could not be published into ``folder``.

    An obstacle at the path of one output concerns its item. Everything else, and an obstacle in ``engine_folder``,
    concerns the run.
    """
    path = _find_path(error)
    if path is None or path == folder or not path.is_relative_to(folder) or path.is_relative_to(engine_folder):
        return explain_write_error(folder, error)
    if error.errno in _IN_THE_WAY or (error.errno in _NOT_ALLOWED and os.access(folder, os.W_OK | os.X_OK)):
        cause, advice = _explain(error)
        return OutputBlocked(f"cannot write {path}: {cause}; {advice}, {_AGAIN}")
    return explain_write_error(folder, error)


def check_is_no_folder(path: Path) -> None:
    """Raise IsADirectoryError if ``path``, where a file is to be written, is a folder."""
    try:
        status = os.lstat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return
        raise
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def find_full_disk(error: BaseException | None) -> str:
    """Return the cause if the error, or one that led to it, says that a disk is full or read-only; else "".

    Programs such as ffmpeg report it as text.
    """
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno in _NO_ROOM:
            cause, _ = _explain(link)
            return f"{cause} ({link.filename})" if link.filename else cause
        for code in _NO_ROOM:
            if os.strerror(code).lower() in str(link).lower():
                return _CAUSES[code][0]
    return ""


def probe_write(folder: Path) -> OSError | None:
    """Try to write a file of 256 KiB to ``folder``; return the error, or None."""
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(bytes(_PROBE_BYTES))  # network filesystems report errors when it is closed
    except OSError as error:
        return error
    return None


def explain_no_writes(folder: Path, message: str, cause: str, error: OSError | None) -> RunError:
    """Return the error that ends a run because its output folder, or a disk that its items need, cannot be written.

    ``message`` is the failure of the item, ``cause`` the cause in that failure, ``error`` the result of a trial.
    """
    explained, advice = _explain(error) if error else (cause, f"free some space {_ELSEWHERE}")
    places = [f"{place} has {format_bytes(free_bytes(place))} free" for place in _find_disks(folder)]
    return RunError(f"nothing more can be written: {explained} ({', '.join(places)}); {message}; {advice}, {_AGAIN}")


def _find_disks(folder: Path) -> list[Path]:
    """Return the output folder, and the folder for temporary files if it is on another filesystem."""
    scratch = Path(tempfile.gettempdir())
    with suppress(OSError):
        if folder.stat().st_dev != scratch.stat().st_dev:
            return [folder, scratch]
    return [folder]


def _explain(error: OSError) -> tuple[str, str]:
    """Return the cause and the advice."""
    if error.errno == errno.ENOSPC and _has_no_inodes(_find_path(error)):
        return "the filesystem has no inodes left: it holds too many files", f"remove some files {_ELSEWHERE}"
    usual = str(error.strerror or error), f"check the folder {_ELSEWHERE}"
    return _CAUSES.get(error.errno or 0, usual)


def _has_no_inodes(path: Path | None) -> bool:
    """Return True if the filesystem of ``path`` counts inodes and none is free."""
    if path is None:
        return False
    for folder in path.parents:
        with suppress(OSError):
            status = os.statvfs(folder)
            return status.f_files > 0 and status.f_favail < _FEW_INODES and status.f_bavail > 0
    return False


def _place(folder: Path, error: OSError) -> str:
    """Return the path that the error names, in brackets, unless it is the folder itself."""
    path = _find_path(error)
    return f" ({path})" if path is not None and path != folder else ""


def _find_path(error: OSError) -> Path | None:
    """Return the path that could not be written: of a rename its target."""
    named = error.filename2 or error.filename
    return Path(os.fsdecode(named)) if isinstance(named, str | bytes) else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
