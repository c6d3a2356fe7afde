"""Files of the archive: into the cache whole and verified, or not at all."""

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
from tasks.downloads.partial import Partial, file_digest
from tasks.downloads.transfer import Gone, Transfers, Wanted
from tasks.engine.contract.errors import BadInput
from tasks.transits.sources.products import Product, bucket_key
from tasks.transits.sources.settings import MastSettings
from tasks.transits.sources.verify import damage_of

MAX_FILE_BYTES = 64 * 2**20  # a sector at 20 s, the largest of all, has 15 MiB
_STRAY_SECONDS = 86_400.0  # where there are no locks, a part that nobody has touched for so long is nobody's


@dataclass(frozen=True)
class CachedFile:
    """A whole file in the cache: its path, size and sha256, where it was fetched, and whether it was there before."""

    path: Path
    size_bytes: int
    sha256: str
    url: str
    from_cache: bool


class Downloads:
    """Light curve files, through the cache."""

    def __init__(self, settings: MastSettings, cache: SharedCache, session: requests.Session, pace: Pace) -> None:
        self._settings = settings
        self._cache = cache
        self._transfers = Transfers(cache, session, pace, settings.tries)
        self._pace = pace

    def fetch(self, product: Product) -> CachedFile:
        """The product's file, downloaded where the cache does not have it undamaged.

        Raises BadInput where the archive does not have it or has a damaged one, TransientError where the archive cannot
        be reached, OSError where the disk takes nothing.
        """
        path = self._cache.place("files", product.uri, product.file)
        with self._cache.locked(product.uri) as alone:
            if cached := _intact(path):
                return cached
            _sweep(path, math.inf if alone else read_folder_clock(path.parent) - _STRAY_SECONDS)
            return self._download(product, path)

    def _download(self, product: Product, path: Path) -> CachedFile:
        partial = Partial(path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial"))
        try:
            url = self._transfer(product, partial)
            wrong = _wrong(product, partial)
            if wrong is not None:
                once = partial.sha256()
                partial.discard()
                url = self._transfer(product, partial)
                wrong = _wrong(product, partial, once)
            if wrong is not None:
                raise BadInput(
                    f"{product.file}: {wrong}, in two downloads from {url}; tell the archive, or leave it out"
                )
            return _keep(partial, path, url)
        finally:
            partial.remove()

    def _transfer(self, product: Product, partial: Partial) -> str:
        """Fill ``partial`` from the mirror or else from MAST, and say from where."""
        for url in self._urls(product):
            try:
                self._transfers.fill(url, _wanted(product), partial)
            except Gone:
                partial.discard()
                continue
            return url
        raise BadInput(f"{product.file}: the archive lists it and does not have it ({url}); leave its segment out")

    def _urls(self, product: Product) -> Iterator[str]:
        key = bucket_key(product)
        if self._settings.mirror and key:
            yield f"{self._settings.mirror}/{quote(key)}"
        yield f"{self._settings.server}/api/v0.1/Download/file?uri={quote(product.uri, safe=':/')}"


def _wanted(product: Product) -> Wanted:
    variables = "HEADRACE_MAST_SERVER and HEADRACE_MAST_MIRROR"
    return Wanted(product.file, MAX_FILE_BYTES, "a light curve may have", variables)


def _wrong(product: Product, partial: Partial, earlier_sha256: str | None = None) -> str | None:
    """What is wrong with a complete download, in words.

    The archive's list of sizes may be out of date: a sound file of another size is believed when it comes twice.
    """
    if (damage := damage_of(partial.path)) is not None:
        return damage
    if product.listed_bytes in {None, partial.size_bytes} or partial.sha256() == earlier_sha256:
        return None
    return f"it has {partial.size_bytes} bytes and the archive lists {product.listed_bytes}"


def _keep(partial: Partial, path: Path, url: str) -> CachedFile:
    """Put the verified file in its place, and beside it what shows later damage."""
    sha256 = partial.sha256()
    partial.publish(path)
    write_json(_note(path), {"size_bytes": partial.size_bytes, "sha256": sha256, "url": url})
    return CachedFile(path, partial.size_bytes, sha256, url, from_cache=False)


def _intact(path: Path) -> CachedFile | None:
    """The file in the cache, where it is still what was verified."""
    note = read_json(_note(path))
    try:
        if path.stat().st_size != note.get("size_bytes") or file_digest(path) != note.get("sha256"):
            return None
    except FileNotFoundError:
        return None
    return CachedFile(path, note["size_bytes"], note["sha256"], str(note.get("url", "")), from_cache=True)


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def read_folder_clock(folder: Path) -> float:
    """Return the time by the clock that gives the files of ``folder`` their mtimes: a file server has its own."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


def _sweep(path: Path, before: float) -> None:
    """Remove what killed processes left of this file; any that changed later than ``before`` may be in use."""
    for stray in path.parent.glob(f".{path.name}.*"):
        with contextlib.suppress(FileNotFoundError):  # another has swept it
            if stray.stat().st_mtime < before:
                stray.unlink()
