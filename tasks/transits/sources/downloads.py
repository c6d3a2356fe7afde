"""Files of the archive: into the cache whole and verified, or not at all."""

from __future__ import annotations

import contextlib
import math
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import requests

from tasks.engine.errors import BadInput
from tasks.transits.sources.cache import Pace, SharedCache, read_json, write_json
from tasks.transits.sources.partial import Partial, file_digest
from tasks.transits.sources.patience import BUSY_STATUSES, Passing, RefusedAddress, patiently, retry_after_seconds
from tasks.transits.sources.products import Product, bucket_key
from tasks.transits.sources.settings import MastSettings
from tasks.transits.sources.verify import damage_of

MAX_FILE_BYTES = 64 * 2**20  # a sector at 20 s, the largest of all, has 15 MiB
_CHUNK_BYTES = 1 << 16
_STRAY_SECONDS = 86_400.0  # where there are no locks, a part that nobody has touched for so long is nobody's
_GONE = frozenset({403, 404, 410})  # the bucket says 403 for what it does not have
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True)
class CachedFile:
    """A whole file in the cache: its path, size and sha256, where it was fetched, and whether it was there before."""

    path: Path
    size_bytes: int
    sha256: str
    url: str
    from_cache: bool


class _Gone(Exception):
    """The server has no such file."""


class Downloads:
    """Light curve files, through the cache."""

    def __init__(self, settings: MastSettings, cache: SharedCache, session: requests.Session, pace: Pace) -> None:
        self._settings = settings
        self._cache = cache
        self._session = session
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
            _sweep(path, math.inf if alone else self._pace.now() - _STRAY_SECONDS)
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
                self._patiently_fill(url, product, partial)
            except _Gone:
                partial.discard()
                continue
            return url
        raise BadInput(f"{product.file}: the archive lists it and does not have it ({url}); leave its segment out")

    def _urls(self, product: Product) -> Iterator[str]:
        key = bucket_key(product)
        if self._settings.mirror and key:
            yield f"{self._settings.mirror}/{quote(key)}"
        yield f"{self._settings.server}/api/v0.1/Download/file?uri={quote(product.uri, safe=':/')}"

    def _patiently_fill(self, url: str, product: Product, partial: Partial) -> None:
        patiently(lambda: self._fill(url, partial), f"download of {product.file}", self._settings.tries, self._pace)

    def _fill(self, url: str, partial: Partial) -> None:
        """One request for what ``partial`` lacks. Raises Passing, _Gone or BadInput."""
        host = urlsplit(url).netloc
        try:
            with self._cache.connection(host), self._answer(url, partial) as answer:
                self._refuse_failure(answer, host)
                _begin(answer, partial)
                with partial.path.open("ab") as stream:
                    for chunk in answer.iter_content(_CHUNK_BYTES):
                        stream.write(chunk)
                        _refuse_size(partial.add(len(chunk)), url)
        except RefusedAddress as error:
            raise BadInput(f"the download was {error}") from error
        except requests.RequestException as error:
            raise Passing(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
        if partial.total_bytes not in {None, partial.size_bytes}:
            raise Passing(f"{partial.size_bytes} of {partial.total_bytes} bytes came")

    @contextmanager
    def _answer(self, url: str, partial: Partial) -> Iterator[requests.Response]:
        headers = {"Accept-Encoding": "identity", **partial.wish()}  # so that lengths are those of the file
        with self._session.get(url, headers=headers, stream=True) as answer:
            yield answer

    def _refuse_failure(self, answer: requests.Response, host: str) -> None:
        status = answer.status_code
        if status in BUSY_STATUSES:
            wait = retry_after_seconds(answer.headers.get("Retry-After"), self._pace.now())
            if wait:
                self._cache.quieten(host, wait)
            raise Passing(f"HTTP {status}", wait)
        if status in _GONE:
            raise _Gone
        if "html" in answer.headers.get("Content-Type", ""):
            raise Passing("a web page came instead of the file, as when the archive is under maintenance")
        if status not in {200, 206, 416}:
            raise BadInput(f"HTTP {status} from {answer.url}; check HEADRACE_MAST_SERVER and HEADRACE_MAST_MIRROR")


def _begin(answer: requests.Response, partial: Partial) -> None:
    """Take note of what is coming. Raises Passing where it does not go on where ``partial`` ends."""
    length = answer.headers.get("Content-Length", "")
    plain = answer.headers.get("Content-Encoding", "identity") == "identity"  # else it is the length of something else
    coming = int(length) if plain and length.isascii() and length.isdecimal() else None
    if answer.status_code == 200:
        partial.begin(coming, answer.headers.get("ETag"))
        _refuse_size(coming or 0, answer.url)
        return
    span = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if (
        answer.status_code == 416
        or span is None
        or int(span[1]) != partial.size_bytes
        or span[2] != str(partial.total_bytes)
    ):
        partial.discard()
        raise Passing("the file changed while it was downloaded")


def _refuse_size(size: int, url: str) -> None:
    if size > MAX_FILE_BYTES:
        raise BadInput(f"{url}: more than the {MAX_FILE_BYTES} bytes that a light curve may have")


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


def _sweep(path: Path, before: float) -> None:
    """Remove what killed processes left of this file; any that changed later than ``before`` may be in use."""
    for stray in path.parent.glob(f".{path.name}.*"):
        with contextlib.suppress(FileNotFoundError):  # another has swept it
            if stray.stat().st_mtime < before:
                stray.unlink()
