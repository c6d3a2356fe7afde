"""Files by their content."""

from __future__ import annotations

from pathlib import Path

from tasks.downloads.partial import file_digest


def fits(path: Path, sha256: str, size_bytes: int | None = None) -> bool:
    """Whether there is a readable file with that content; its size, where given, spares reading most that are not."""
    try:
        if size_bytes is not None and path.stat().st_size != size_bytes:
            return False
        return file_digest(path) == sha256
    except OSError:
        return False


def in_folder(folder: Path | None, file_name: str, sha256: str, size_bytes: int | None = None) -> Path | None:
    """The file of that content in ``folder``: under its own name, else under any that ends in ``.task``."""
    if folder is None:
        return None
    try:
        others = sorted(folder.glob("*.task"))
    except OSError:  # it cannot be listed
        others = []
    places = (folder / file_name, *others)
    return next((place for place in places if fits(place, sha256, size_bytes)), None)
