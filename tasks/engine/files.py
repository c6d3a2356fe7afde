"""Writing files so that a kill at any instant leaves the old file or the new one, never a part."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import uuid
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")


def sync_file(path: Path) -> None:
    """Force the content of ``path`` to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Force the names in ``folder`` to the disk. A filesystem that cannot do that for folders is left as it is."""
    try:
        sync_file(folder)
    except OSError:
        return


def write_atomically(path: Path, content: bytes, durable: bool = True) -> None:
    """Put ``content`` at ``path``: unique temporary name, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def remove_temporary(folder: Path) -> None:
    """Remove what :func:`write_atomically` left in ``folder`` when it was killed. Nobody may be writing there."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if _TEMPORARY.fullmatch(entry.name):
                os.unlink(entry.path)


def file_sha256(path: Path) -> str:
    """sha256 of the content of ``path``, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
