"""One file on its way from a server into a partial file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests

from tasks.downloads.cache import Pace, SharedCache
from tasks.downloads.partial import Partial
from tasks.downloads.patience import BUSY_STATUSES, Passing, RefusedAddress, patiently, retry_after_seconds
from tasks.engine.contract.errors import BadInput

_CHUNK_BYTES = 1 << 16
_GONE = frozenset({403, 404, 410})  # buckets say 403 for what they do not have
# Addresses, also of redirects, that no second try makes better.
_NEVER = (
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidURL,
)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Gone(Exception):
    """The server has no such file."""


@dataclass(frozen=True)
class Wanted:
    """What is fetched, for limits and messages.

    limit_reason  whose limit ``max_bytes`` is, as in "more than the 5 bytes that a light curve may have"
    settings      the variables that say from where
    page_advice   what to do where a web page comes instead; empty where it comes from a server under maintenance, and
                  may pass
    """

    name: str
    max_bytes: int
    limit_reason: str
    settings: str
    page_advice: str = ""


class Transfers:
    """Fills partial files from servers, ``tries`` times each."""

    def __init__(self, cache: SharedCache, session: requests.Session, pace: Pace, tries: int) -> None:
        self._cache = cache
        self._session = session
        self._pace = pace
        self._tries = tries

    def fill(self, url: str, wanted: Wanted, partial: Partial) -> None:
        """Have ``partial`` hold what is at ``url``, with the wait and the tries that a busy server needs.

        Raises Gone where the server does not have it, BadInput where what it says cannot be used, TransientError where
        it cannot be reached now.
        """
        patiently(lambda: self._fill(url, wanted, partial), f"download of {wanted.name}", self._tries, self._pace)

    def _fill(self, url: str, wanted: Wanted, partial: Partial) -> None:
        """One request for what ``partial`` lacks. Raises Passing, Gone or BadInput."""
        host = urlsplit(url).netloc
        try:
            with self._cache.connection(host), self._answer(url, partial) as answer:
                self._refuse_failure(answer, host, wanted)
                _begin(answer, wanted, partial)
                with partial.path.open("ab") as stream:
                    for chunk in answer.iter_content(_CHUNK_BYTES):
                        stream.write(chunk)
                        _refuse_size(partial.add(len(chunk)), url, wanted)
        except RefusedAddress as error:
            raise BadInput(f"the download was {error}") from error
        except _NEVER as error:
            raise BadInput(
                f"the download of {wanted.name} cannot work: {_told(error)}; check {wanted.settings}"
            ) from error
        except requests.RequestException as error:
            raise Passing(_told(error)) from error
        if partial.total_bytes not in {None, partial.size_bytes}:
            raise Passing(f"{partial.size_bytes} of {partial.total_bytes} bytes came")

    @contextmanager
    def _answer(self, url: str, partial: Partial) -> Iterator[requests.Response]:
        headers = {"Accept-Encoding": "identity", **partial.wish()}  # so that lengths are those of the file
        with self._session.get(url, headers=headers, stream=True) as answer:
            yield answer

    def _refuse_failure(self, answer: requests.Response, host: str, wanted: Wanted) -> None:
        status = answer.status_code
        if status in BUSY_STATUSES:
            wait = retry_after_seconds(answer.headers.get("Retry-After"), self._pace.now())
            if wait:
                self._cache.quieten(host, wait)
            raise Passing(f"HTTP {status}", wait)
        if status in _GONE:
            raise Gone
        is_page = "html" in answer.headers.get("Content-Type", "").lower()
        if is_page and wanted.page_advice:
            raise BadInput(f"a web page came from {answer.url}; {wanted.page_advice}")
        if is_page:
            raise Passing("a web page came instead of the file, as when a server is under maintenance")
        if status not in {200, 206, 416}:
            raise BadInput(f"HTTP {status} from {answer.url}; check {wanted.settings}")


def _told(error: requests.RequestException) -> str:
    """The error in one line: of requests' nested ones, what is at the bottom says what happened."""
    inner = error.args[0] if error.args else error
    reason = getattr(inner, "reason", None) or error  # urllib3's MaxRetryError has it
    return f"{type(error).__name__}: {' '.join(str(reason).split())[:200]}"


def _begin(answer: requests.Response, wanted: Wanted, partial: Partial) -> None:
    """Take note of what is coming. Raises Passing where it does not go on where ``partial`` ends."""
    length = answer.headers.get("Content-Length", "")
    plain = answer.headers.get("Content-Encoding", "identity") == "identity"  # else it is the length of something else
    coming = int(length) if plain and length.isascii() and length.isdecimal() else None
    if answer.status_code == 200:
        partial.begin(coming, answer.headers.get("ETag"))
        _refuse_size(coming or 0, answer.url, wanted)
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


def _refuse_size(size: int, url: str, wanted: Wanted) -> None:
    if size > wanted.max_bytes:
        raise BadInput(f"{url}: more than the {wanted.max_bytes} bytes that {wanted.limit_reason}")
