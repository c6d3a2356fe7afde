"""Writing files so that a kill at any instant leaves the old file or the new one, never a part."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
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
    """Put ``content`` at ``path``: unique temporary name, fsync, rename.

    After a power cut the old file may be back, whole: whoever cannot have that calls :func:`sync_folder`.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # it must not hide the first error
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def remove_temporary(folder: Path) -> None:
    """Remove what :func:`write_atomically` left in ``folder`` when it was killed. Nobody may be writing there."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if _TEMPORARY.fullmatch(name) and os.path.isfile(path):
                os.unlink(path)


def file_sha256(path: Path) -> str:
    """sha256 of the content of ``path``, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def clear_folder(folder: Path) -> None:
    """Remove what is in ``folder``, if there is such a folder."""
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink(missing_ok=True)


def free_bytes(path: Path) -> int:
    """Bytes that are free where ``path`` is, or where it will be once it is made."""
    existing = next(parent for parent in [path, *path.parents] if parent.exists())
    return shutil.disk_usage(existing).free


def bytes_text(size: float) -> str:
    """Return a size as people read it: ``812 bytes``, ``15 KiB``, ``3.2 MiB``, ``1.5 GiB``."""
    if size < 1024:
        return f"{size:.0f} byte{'' if round(size) == 1 else 's'}"
    for unit, power in (("KiB", 10), ("MiB", 20), ("GiB", 30)):
        if size < 1000 * 2**power:
            return f"{size / 2**power:.3g} {unit}"
    return f"{size / 2**40:,.3g} TiB" if size < 1000 * 2**40 else f"{size / 2**40:,.0f} TiB"
