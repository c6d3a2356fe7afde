"""Files that arrive in a folder: the complete ones, and those that no run has been started for.

A file is complete if its size and mtime have not changed for a while. Hidden and temporary names are left out, so a
file that is renamed into place appears complete. Only listings are read: network shares have no other signs.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

# Size in bytes and mtime in nanoseconds of each file, by its path below the folder.
Listing: TypeAlias = Mapping[str, tuple[int, int]]

_TEMPORARY = (
    ".part",
    ".partial",
    ".tmp",
    ".temp",
    ".crdownload",
    ".download",
    ".filepart",
    ".opdownload",
    ".aria2",
    "~",
)


def list_files(target: Path) -> Listing:
    """Return the files below the folder ``target``, or ``target`` itself if it is a file; empty if it does not exist.

    Raises OSError if the folder cannot be read, for example because a network share does not answer.
    """
    if target.is_file():
        return dict(_describe([(target.name, target)]))
    if not target.exists():
        return {}
    return dict(_describe(_walk(target)))


def is_temporary(name: str) -> bool:
    """Return True for names that programs give to hidden and to incomplete files."""
    return name.startswith((".", "~$")) or name.lower().endswith(_TEMPORARY)


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not is_temporary(name))
        for name in sorted(names):
            path = Path(parent, name)
            yield str(path.relative_to(folder)), path


def _raise(error: OSError) -> None:
    raise error


def _describe(files: Iterator[tuple[str, Path]] | list[tuple[str, Path]]) -> Iterator[tuple[str, tuple[int, int]]]:
    for name, path in files:
        if is_temporary(path.name):
            continue
        try:
            status = path.stat()
        except FileNotFoundError:  # removed or renamed since it was listed, or a dangling symlink
            continue
        yield name, (status.st_size, status.st_mtime_ns)


@dataclass
class Quiet:
    """Decides when a folder has been quiet for ``seconds``: nothing arrived, changed or disappeared."""

    seconds: float
    _listing: Listing | None = field(default=None, init=False)
    _since: float = field(default=0.0, init=False)

    def is_quiet(self, listing: Listing, now: float) -> bool:
        """Return True if all listings of the last ``seconds`` were equal to ``listing``, which is that of ``now``."""
        if listing != self._listing:
            self._listing, self._since = listing, now
        return now - self._since >= self.seconds

    def reset(self) -> None:
        """Forget all listings: the folder could not be read."""
        self._listing = None


def find_new(listing: Listing, handled: Listing) -> list[str]:
    """Return the files of ``listing`` that are not in ``handled``, or were different there."""
    return [name for name, seen in listing.items() if handled.get(name) != seen]


@dataclass(frozen=True)
class Handled:
    """The listing for which a run was last started, and the key of that run; empty before the first one."""

    key: str = ""
    listing: Listing = field(default_factory=dict)


def compute_key(deployment: str, listing: Listing, last: str) -> str:
    """Return the key of the run for ``listing`` after the run with the key ``last``: the server creates one per key.

    Keys form a chain, so that a file that is replaced by an earlier version has a new key.
    """
    content = json.dumps([deployment, last, sorted(listing.items())])
    return f"headrace-inbox-{hashlib.sha256(content.encode()).hexdigest()}"


class State:
    """File with the last run of each deployment. It is replaced atomically, after the run was created.

    If it is lost, a folder's files are handled once more; the flow finds them done.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handled = _read_state(path)

    def get(self, deployment: str) -> Handled:
        """Return the last run of ``deployment``."""
        return self._handled.get(deployment, Handled())

    def set(self, deployment: str, handled: Handled) -> None:
        """Store the last run of ``deployment``. Raises OSError."""
        self._handled[deployment] = handled
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump({key: {"key": row.key, "files": row.listing} for key, row in self._handled.items()}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(self._path)


def _read_state(path: Path) -> dict[str, Handled]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): Handled(str(row["key"]), _read_listing(row["files"])) for name, row in content.items()}
    except (OSError, ValueError, TypeError, AttributeError, KeyError):  # missing or damaged
        return {}


def _read_listing(files: Mapping[str, tuple[int, int]]) -> Listing:
    return {name: (int(size), int(mtime)) for name, (size, mtime) in files.items()}
