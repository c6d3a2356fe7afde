"""Copy inputs to local scratch and measure their size. Symlinks to folders are not followed: they may loop."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator


def measure_inputs(path: str) -> int:
    """Return the size of a file, or of all files in a folder. Unreadable files count 0; their item reports them."""
    if not os.path.isdir(path):
        return _measure_bytes(path)
    return sum(_measure_bytes(os.path.join(folder, name)) for folder, name in _list_files(path))


def copy_input(path: str, target: str) -> None:
    """Copy a file, or a folder with the content of all files in it, to ``target``, which must not exist.

    A symlink to a file is copied as the file. Anything that cannot be copied (a symlink to a folder, a broken symlink,
    a pipe) becomes a symlink to the original, so that the item sees the same.
    """
    if not os.path.isdir(path):
        shutil.copyfile(path, target)
        return
    for folder, folders, names in os.walk(path):
        copy = os.path.normpath(os.path.join(target, os.path.relpath(folder, path)))
        os.makedirs(copy)
        for name in [*names, *(name for name in folders if os.path.islink(os.path.join(folder, name)))]:
            _copy_file(os.path.join(folder, name), os.path.join(copy, name))


def _copy_file(path: str, target: str) -> None:
    if os.path.isfile(path):
        shutil.copyfile(path, target)
    else:
        os.symlink(os.path.abspath(path), target)


def _list_files(path: str) -> Iterator[tuple[str, str]]:
    for folder, _, names in os.walk(path):
        for name in names:
            yield folder, name


def _measure_bytes(path: str) -> int:
    try:
        status = os.stat(path)
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
