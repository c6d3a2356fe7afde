"""A file while it comes in."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


class Partial:
    """The part of a file that has come so far, under a name that nobody takes for the whole.

    size_bytes   how much has come
    total_bytes  how much the server says there is; None where it does not say

    ``pinned_bytes``: the size of a file whose digest is known beforehand. Its rest is asked for without a proof that
    the server still has the same file, even after another process began it, since the digest will tell.
    """

    def __init__(self, path: Path, pinned_bytes: int | None = None) -> None:
        self.path = path
        self.size_bytes = 0
        self.total_bytes = pinned_bytes
        self._pinned = pinned_bytes is not None
        self._version: str | None = None
        if self._pinned and path.exists():
            self.size_bytes = path.stat().st_size

    def wish(self) -> dict[str, str]:
        """Headers that ask for the rest, if the file is still the same one; none where it cannot be told."""
        if not self.size_bytes or self.total_bytes is None or (self._version is None and not self._pinned):
            return {}
        same = {} if self._version is None else {"If-Range": self._version}
        return {"Range": f"bytes={self.size_bytes}-", **same}

    def begin(self, total_bytes: int | None, version: str | None) -> None:
        """Start over with a file of ``total_bytes``; ``version`` is its ETag, of which a weak one tells nothing."""
        self.discard()
        self.total_bytes = total_bytes
        self._version = version if version and not version.startswith("W/") else None

    def add(self, count: int) -> int:
        """Note that so many more bytes are written; gives back how many there are."""
        self.size_bytes += count
        return self.size_bytes

    def discard(self) -> None:
        """Forget what has come."""
        self.path.write_bytes(b"")
        self.size_bytes, self.total_bytes, self._version = 0, None, None

    def sha256(self) -> str:
        """Of what has come."""
        return file_digest(self.path)

    def publish(self, path: Path) -> None:
        """Give the file its name, once it is on the disk.

        It may be read only: outputs are links to it, and a change of one would change them all.
        """
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.path.chmod(0o444)
        self.path.replace(path)

    def remove(self) -> None:
        """Leave nothing under the private name."""
        self.path.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """sha256 of the content of ``path``, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
