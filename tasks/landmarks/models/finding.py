"""Find files by their content."""

from __future__ import annotations

from pathlib import Path

from tasks.downloads.partial import compute_file_digest


def has_content(path: Path, sha256: str, size_bytes: int | None = None) -> bool:
    """Return True if the file is readable and has this content. A known size avoids reading most other files."""
    try:
        if size_bytes is not None and path.stat().st_size != size_bytes:
            return False
        return compute_file_digest(path) == sha256
    except OSError:
        return False


def find_in_folder(folder: Path | None, file_name: str, sha256: str, size_bytes: int | None = None) -> Path | None:
    """Return the file with this content in ``folder``: by its name, else among all ``.task`` files."""
    if folder is None:
        return None
    try:
        others = sorted(folder.glob("*.task"))
    except OSError:  # the folder cannot be listed
        others = []
    candidates = (folder / file_name, *others)
    return next((path for path in candidates if has_content(path, sha256, size_bytes)), None)
