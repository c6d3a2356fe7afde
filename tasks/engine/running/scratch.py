"""Local scratch of a run: the copies of ``--stage-inputs``, and their removal however a run ends.

Each user has one scratch folder, ``headrace-UID`` in the folder for temporary files. Its name is predictable, so it is
used only if it belongs to the user, has mode 0700 and is not a symlink. The place of a run's copies depends only on the
output folder, where one run at a time is active: files found there at the start of a run are from a dead run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.items import Item
from tasks.engine.running.staging import measure_inputs
from tasks.engine.store.files import format_bytes
from tasks.engine.store.tree import Tree

_PROBES = "probes"
_STORES = "stores"


def get_local_scratch(output_dir: Path, run_id: str) -> Path:
    """Return the local scratch folder for the copies of one run, without creating it."""
    return _get_base_path() / _make_folder_name(output_dir) / run_id


def get_work_folder(url: str) -> Path:
    """Return the local folder in which the items of an output folder in a store are produced, without creating it."""
    return _get_base_path() / _STORES / hashlib.sha256(url.encode()).hexdigest()[:16]


def check_local_scratch(items: Sequence[Item], slots: int) -> None:
    """Raise RunError if local scratch is not private, or too small for the inputs of ``slots`` items."""
    _open_private_base(_get_base_path())
    sizes = sorted((sum(measure_inputs(path) for path in item.inputs) for item in items), reverse=True)
    needed, free = sum(sizes[:slots]), shutil.disk_usage(tempfile.gettempdir()).free
    if needed > free:
        place = f"{tempfile.gettempdir()} has {format_bytes(free)} free"
        raise RunError(
            f"--stage-inputs: {slots} items at a time need {format_bytes(needed)} of scratch, and {place}; "
            "free some space, set TMPDIR, or use fewer --workers"
        )


def make_local_scratch(local: Path) -> None:
    """Make ``local``, a folder below :func:`get_local_scratch`. Raises RunError if local scratch is not private."""
    base = _open_private_base(_find_base(local))
    with base.opened(local.relative_to(base.root).as_posix(), make=True):
        pass


def remove_local_scratch(local: Path) -> None:
    """Remove ``local`` if it exists and belongs to this user."""
    base = _check_existing_base(_find_base(local))
    if base is not None:
        base.remove(local.relative_to(base.root).as_posix())


def leave_local_scratch(output_dir: Path, run_id: str) -> None:
    """Remove the run's copies from local scratch."""
    remove_local_scratch(get_local_scratch(output_dir, run_id))
    base = _check_existing_base(_get_base_path())
    if base is not None:
        with suppress(OSError):  # another run has copies there, or the folder is missing
            base.remove_empty(_make_folder_name(output_dir))


def sweep_local_scratch(output_dir: Path, but: str = "") -> None:
    """Remove leftovers of runs into ``output_dir`` from local scratch, except those of the run ``but``.

    A folder of another user in place of this user's folder is left alone.
    """
    base = _check_existing_base(_get_base_path())
    if base is None:
        return
    folder = _make_folder_name(output_dir)
    if not but:
        base.remove(folder)
    for run in base.names(folder):
        if run != but:
            base.remove(f"{folder}/{run}")


@contextmanager
def probe_scratch() -> Iterator[Path]:
    """Yield a new private folder and remove it afterwards, together with those of dead processes.

    Its owner holds a lock on it, which the system releases however the owner ends.
    """
    base = _open_private_base(_get_base_path())
    _remove_dead_probes(base)
    while True:
        name = f"{_PROBES}/{uuid.uuid4().hex}"
        with base.opened(name, make=True) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if base.is_folder(name):  # else another process removed it before it was locked
                try:
                    yield base.root / name
                finally:
                    base.remove(name)
                return


def _remove_dead_probes(base: Tree) -> None:
    for name in base.names(_PROBES):
        with suppress(OSError), base.opened(f"{_PROBES}/{name}") as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            base.remove(f"{_PROBES}/{name}")


def _make_folder_name(output_dir: Path) -> str:
    return hashlib.sha256(os.fsencode(output_dir)).hexdigest()[:16]


def _get_base_path() -> Path:
    return Path(tempfile.gettempdir(), f"headrace-{os.geteuid()}")


def _find_base(local: Path) -> Path:
    """Return the user's scratch folder that contains ``local``; another process may use a different TMPDIR."""
    return local.parents[next(n for n, folder in enumerate(local.parents) if folder.name == _get_base_path().name)]


def _open_private_base(path: Path) -> Tree:
    """Return this user's scratch folder, which no other user can read, replace or write to.

    Raises RunError if something else has its name: the name is predictable, and all users can create folders there.
    """
    if given := _explain_replaceable(path.parent):
        raise _refuse(path.parent, given, "a folder whose entries only their owners can rename (the sticky bit)")
    try:
        with suppress(FileExistsError):
            path.mkdir(0o700)
    except OSError as error:
        raise RunError(f"cannot make {path}: {error.strerror}; set TMPDIR to a folder of your own") from error
    if given := _explain_not_private(path):
        raise _refuse(path, given, "a folder of your own that nobody else can enter (mode 700)")
    return Tree(path, makes_root=False)


def _check_existing_base(path: Path) -> Tree | None:
    """Return this user's scratch folder; None if it does not exist or is not private."""
    return None if _explain_replaceable(path.parent) or _explain_not_private(path) else Tree(path, makes_root=False)


def _refuse(path: Path, given: str, allowed: str) -> RunError:
    return RunError(f"{path} {given}; allowed: {allowed}; remove it, or set TMPDIR to a folder of your own")


def _explain_not_private(path: Path) -> str:
    """Return the reason why the scratch folder is not private, or ""."""
    try:
        status = path.lstat()
    except OSError as error:
        return f"cannot be used ({error.strerror})"
    if stat.S_ISLNK(status.st_mode):
        return "is a symlink"
    if not stat.S_ISDIR(status.st_mode):
        return "is no folder"
    if status.st_uid != os.geteuid():
        return f"belongs to the user {status.st_uid}"
    return f"has the mode {stat.S_IMODE(status.st_mode):o}" if stat.S_IMODE(status.st_mode) & 0o077 else ""


def _explain_replaceable(folder: Path) -> str:
    """Return the reason why other users could replace a folder in ``folder``, or ""."""
    try:
        status = folder.stat()
    except OSError as error:
        return f"cannot be used ({error.strerror})"
    if not _is_trusted(status.st_uid):
        return f"belongs to the user {status.st_uid}"
    shared = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    return f"has the mode {stat.S_IMODE(status.st_mode):o}" if shared else ""


def _is_trusted(user: int) -> bool:
    """Return True for this user and root, including the root of another user namespace, as containers see it."""
    if user in (0, os.geteuid()):
        return True
    with suppress(OSError, ValueError):
        is_namespaced = Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]
        return is_namespaced and user == int(Path("/proc/sys/kernel/overflowuid").read_text())
    return False
