"""A file during its download."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


class Partial:
    """The downloaded part of a file, under a private name.

    size_bytes   bytes so far
    total_bytes  size according to the server; None if unknown

    ``pinned_bytes``: the size of a file with a known digest. Its rest is requested without a proof that the server's
    file is unchanged, even if another process began it, since the digest is verified in the end.
    """

    def __init__(self, path: Path, pinned_bytes: int | None = None) -> None:
        self.path = path
        self.size_bytes = 0
        self.total_bytes = pinned_bytes
        self._pinned = pinned_bytes is not None
        self._version: str | None = None
        if self._pinned and path.exists():
            self.size_bytes = path.stat().st_size

    def get_range_headers(self) -> dict[str, str]:
        """Return the headers that request the rest if the file is unchanged; empty if that is unknown."""
        if not self.size_bytes or self.total_bytes is None or (self._version is None and not self._pinned):
            return {}
        same = {} if self._version is None else {"If-Range": self._version}
        return {"Range": f"bytes={self.size_bytes}-", **same}

    def begin(self, total_bytes: int | None, version: str | None) -> None:
        """Start over with a file of ``total_bytes``; ``version`` is its ETag (weak ones are ignored)."""
        self.discard()
        self.total_bytes = total_bytes
        self._version = version if version and not version.startswith("W/") else None

    def add(self, count: int) -> int:
        """Count additional bytes, and return the total."""
        self.size_bytes += count
        return self.size_bytes

    def discard(self) -> None:
        """Delete the downloaded part."""
        self.path.write_bytes(b"")
        self.size_bytes, self.total_bytes, self._version = 0, None, None

    def compute_sha256(self) -> str:
        """Return the digest of the downloaded part."""
        return compute_file_digest(self.path)

    def publish(self, path: Path) -> None:
        """Move the file to ``path``, once it is on the disk.

        The file becomes read-only: outputs are links to it, and a change of one would change them all.
        """
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.path.chmod(0o444)
        self.path.replace(path)

    def remove(self) -> None:
        """Remove the private file."""
        self.path.unlink(missing_ok=True)


def compute_file_digest(path: Path) -> str:
    """Return the sha256 of the content of ``path``, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
