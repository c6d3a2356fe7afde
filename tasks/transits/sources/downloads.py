"""Downloads files of the archive into the cache: verified and complete, or not at all."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import requests

from tasks.downloads.cache import Pace, SharedCache, read_json, write_json
from tasks.downloads.partial import Partial, compute_file_digest
from tasks.downloads.transfer import FileRequest, MissingFile, Transfers
from tasks.engine.contract.errors import BadInput
from tasks.transits.sources.products import Product, get_bucket_key
from tasks.transits.sources.settings import MastSettings
from tasks.transits.sources.verify import find_damage

MAX_FILE_BYTES = 64 * 2**20  # the largest files, sectors at 20 s, have 15 MiB
_ORPHAN_SECONDS = 86_400.0  # without locks, a partial file of this age is an orphan


@dataclass(frozen=True)
class CachedFile:
    """A complete file in the cache: its path, size, sha256 and URL, and True if it was there before."""

    path: Path
    size_bytes: int
    sha256: str
    url: str
    from_cache: bool


class Downloads:
    """Fetches light curve files through the cache."""

    def __init__(self, settings: MastSettings, cache: SharedCache, session: requests.Session, pace: Pace) -> None:
        self._settings = settings
        self._cache = cache
        self._transfers = Transfers(cache, session, pace, settings.tries)
        self._pace = pace

    def fetch(self, product: Product) -> CachedFile:
        """Return the product's file, downloading it if the cache has no intact copy.

        Raises BadInput if the archive has no intact file, TransientError if the archive is unreachable, OSError if the
        disk cannot be written to.
        """
        path = self._cache.get_path("files", product.uri, product.file)
        with self._cache.lock(product.uri) as is_locked:
            if cached := _find_intact(path):
                return cached
            _sweep(path, math.inf if is_locked else read_folder_clock(path.parent) - _ORPHAN_SECONDS)
            return self._download(product, path)

    def _download(self, product: Product, path: Path) -> CachedFile:
        partial = Partial(path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial"))
        try:
            url = self._transfer(product, partial)
            defect = _find_defect(product, partial)
            if defect is not None:
                earlier_sha256 = partial.compute_sha256()
                partial.discard()
                url = self._transfer(product, partial)
                defect = _find_defect(product, partial, earlier_sha256)
            if defect is not None:
                raise BadInput(
                    f"{product.file}: {defect}, in two downloads from {url}; tell the archive, or leave it out"
                )
            return _keep(partial, path, url)
        finally:
            partial.remove()

    def _transfer(self, product: Product, partial: Partial) -> str:
        """Fill ``partial`` from the mirror or else from MAST, and return the URL."""
        for url in self._list_urls(product):
            try:
                self._transfers.fill(url, _make_request(product), partial)
            except MissingFile:
                partial.discard()
                continue
            return url
        raise BadInput(f"{product.file}: the archive lists it but does not have it ({url}); leave its segment out")

    def _list_urls(self, product: Product) -> Iterator[str]:
        key = get_bucket_key(product)
        if self._settings.mirror and key:
            yield f"{self._settings.mirror}/{quote(key)}"
        yield f"{self._settings.server}/api/v0.1/Download/file?uri={quote(product.uri, safe=':/')}"


def _make_request(product: Product) -> FileRequest:
    variables = "HEADRACE_MAST_SERVER and HEADRACE_MAST_MIRROR"
    return FileRequest(product.file, MAX_FILE_BYTES, "a light curve may have", variables)


def _find_defect(product: Product, partial: Partial, earlier_sha256: str | None = None) -> str | None:
    """Describe the defect of a complete download; None if it is intact.

    The archive's list of sizes may be outdated: an intact file of another size is accepted if it arrives twice.
    """
    if (damage := find_damage(partial.path)) is not None:
        return damage
    if product.listed_bytes in {None, partial.size_bytes} or partial.compute_sha256() == earlier_sha256:
        return None
    return f"it has {partial.size_bytes} bytes, but the archive lists {product.listed_bytes}"


def _keep(partial: Partial, path: Path, url: str) -> CachedFile:
    """Publish the verified file, with a note to detect later damage."""
    sha256 = partial.compute_sha256()
    partial.publish(path)
    write_json(_get_note_path(path), {"size_bytes": partial.size_bytes, "sha256": sha256, "url": url})
    return CachedFile(path, partial.size_bytes, sha256, url, from_cache=False)


def _find_intact(path: Path) -> CachedFile | None:
    """Return the file in the cache if it still matches its note, else None."""
    note = read_json(_get_note_path(path))
    try:
        if path.stat().st_size != note.get("size_bytes") or compute_file_digest(path) != note.get("sha256"):
            return None
    except FileNotFoundError:
        return None
    return CachedFile(path, note["size_bytes"], note["sha256"], str(note.get("url", "")), from_cache=True)


def _get_note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def read_folder_clock(folder: Path) -> float:
    """Return the time by the clock that gives the files of ``folder`` their mtimes: a file server has its own."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


def _sweep(path: Path, before: float) -> None:
    """Remove partial files that killed processes left; any that changed later than ``before`` may be in use."""
    for orphan in path.parent.glob(f".{path.name}.*"):
        with contextlib.suppress(FileNotFoundError):  # another process has removed it
            if orphan.stat().st_mtime < before:
                orphan.unlink()
