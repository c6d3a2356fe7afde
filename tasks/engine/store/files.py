"""Hash files and measure free space. See ``tree.py`` for writing and removing."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def hash_file(path: Path) -> str:
    """Return the sha256 of a file's content as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def free_bytes(path: Path) -> int:
    """Return the free bytes of the filesystem of ``path``, which need not exist."""
    existing = next(parent for parent in [path, *path.parents] if parent.exists())
    return shutil.disk_usage(existing).free


def format_bytes(size: float) -> str:
    """Return a size as people read it: ``812 bytes``, ``15 KiB``, ``3.2 MiB``, ``1.5 GiB``."""
    if size < 1024:
        return f"{size:.0f} byte{'' if round(size) == 1 else 's'}"
    for unit, power in (("KiB", 10), ("MiB", 20), ("GiB", 30)):
        if size < 1000 * 2**power:
            return f"{size / 2**power:.3g} {unit}"
    return f"{size / 2**40:,.3g} TiB" if size < 1000 * 2**40 else f"{size / 2**40:,.0f} TiB"
