"""Fetch published files of earlier stages into the local work folder of an output folder in a store."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tasks.stores.location import parse_location

_MARKER = ".headrace/store-url"
_MAX_BYTES = 4096
_COPY_SECONDS = 0  # mtime of local copies of objects, which are not uploaded again


def write_marker(work: Path, url: str) -> None:
    """Note in the work folder which store it belongs to, for every process that works there."""
    path = work / _MARKER
    path.parent.mkdir(exist_ok=True)
    path.write_text(url, encoding="utf-8")


def fetch_published(output_dir: Path, path: str) -> None:
    """Download the published file ``path`` if ``output_dir`` belongs to a store and the file is not there.

    Raises StoreError if the store cannot be used. A file that does not exist in the store is left missing.
    """
    target = output_dir / path
    if target.exists():
        return
    with suppress(OSError):
        url = (output_dir / _MARKER).read_text(encoding="utf-8")[:_MAX_BYTES]
        _download(url, path, target)


def _download(url: str, path: str, target: Path) -> None:
    from tasks.stores.opening import open_store

    store = open_store(parse_location(url))
    if info := store.find(path):
        store.download(info, target)
        mark_copy(target)


def mark_copy(path: Path) -> None:
    """Mark a file in the work folder as the copy of an object."""
    os.utime(path, (_COPY_SECONDS, _COPY_SECONDS))


def is_copy(path: Path) -> bool:
    """Return True if a file in the work folder is the copy of an object."""
    return path.stat().st_mtime == _COPY_SECONDS
