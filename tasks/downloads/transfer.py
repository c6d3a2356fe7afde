"""Transfers a file from a server into a partial file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests

from tasks.downloads.cache import Pace, SharedCache
from tasks.downloads.partial import Partial
from tasks.downloads.retries import BUSY_STATUSES, TransientFailure, parse_retry_after, retry
from tasks.downloads.sessions import RefusedAddress
from tasks.engine.contract.errors import BadInput

_CHUNK_BYTES = 1 << 16
_GONE = frozenset({403, 404, 410})  # buckets return 403 for missing files
# Errors of addresses (also of redirects), which a retry cannot fix.
_NEVER = (
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidURL,
)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class MissingFile(Exception):
    """The server has no such file."""


@dataclass(frozen=True)
class FileRequest:
    """The requested file, for limits and messages.

    limit_reason  owner of the limit ``max_bytes``, as in "more than the 5 bytes that a light curve may have"
    settings      the variables that configure the server
    page_advice   advice if a web page arrives instead; empty if a page means maintenance, which is transient
    """

    name: str
    max_bytes: int
    limit_reason: str
    settings: str
    page_advice: str = ""


class Transfers:
    """Fills partial files from servers, with ``tries`` attempts each."""

    def __init__(self, cache: SharedCache, session: requests.Session, pace: Pace, tries: int) -> None:
        self._cache = cache
        self._session = session
        self._pace = pace
        self._tries = tries

    def fill(self, url: str, wanted: FileRequest, partial: Partial) -> None:
        """Download the content of ``url`` into ``partial``, with the waits and retries that a busy server needs.

        Raises MissingFile if the server does not have it, BadInput if its answer is unusable, TransientError if it is
        unreachable.
        """
        retry(lambda: self._fill(url, wanted, partial), f"download of {wanted.name}", self._tries, self._pace)

    def _fill(self, url: str, wanted: FileRequest, partial: Partial) -> None:
        """Send one request for the missing rest of ``partial``. Raises TransientFailure, MissingFile or BadInput."""
        host = urlsplit(url).netloc
        try:
            with self._cache.hold_connection(host), self._open_answer(url, partial) as answer:
                self._check_status(answer, host, wanted)
                _begin_partial(answer, wanted, partial)
                with partial.path.open("ab") as stream:
                    for chunk in answer.iter_content(_CHUNK_BYTES):
                        stream.write(chunk)
                        _check_size(partial.add(len(chunk)), url, wanted)
        except RefusedAddress as error:
            raise BadInput(f"the download was {error}") from error
        except _NEVER as error:
            raise BadInput(
                f"the download of {wanted.name} cannot work: {_format_error(error)}; check {wanted.settings}"
            ) from error
        except requests.RequestException as error:
            raise TransientFailure(_format_error(error)) from error
        if partial.total_bytes not in {None, partial.size_bytes}:
            raise TransientFailure(f"{partial.size_bytes} of {partial.total_bytes} bytes arrived")

    @contextmanager
    def _open_answer(self, url: str, partial: Partial) -> Iterator[requests.Response]:
        headers = {
            "Accept-Encoding": "identity",
            **partial.get_range_headers(),
        }  # no compression, so lengths are those of the file
        with self._session.get(url, headers=headers, stream=True) as answer:
            yield answer

    def _check_status(self, answer: requests.Response, host: str, wanted: FileRequest) -> None:
        status = answer.status_code
        if status in BUSY_STATUSES:
            wait = parse_retry_after(answer.headers.get("Retry-After"), self._pace.now())
            if wait:
                self._cache.set_quiet(host, wait)
            raise TransientFailure(f"HTTP {status}", wait)
        if status in _GONE:
            raise MissingFile
        is_page = "html" in answer.headers.get("Content-Type", "").lower()
        if is_page and wanted.page_advice:
            raise BadInput(f"a web page arrived from {answer.url}; {wanted.page_advice}")
        if is_page:
            raise TransientFailure("a web page arrived instead of the file; the server may be under maintenance")
        if status not in {200, 206, 416}:
            raise BadInput(f"HTTP {status} from {answer.url}; check {wanted.settings}")


def _format_error(error: requests.RequestException) -> str:
    """Format the error on one line; the innermost of requests' nested errors states the cause."""
    inner = error.args[0] if error.args else error
    reason = getattr(inner, "reason", None) or error  # urllib3's MaxRetryError has it
    return f"{type(error).__name__}: {' '.join(str(reason).split())[:200]}"


def _begin_partial(answer: requests.Response, wanted: FileRequest, partial: Partial) -> None:
    """Record the announced file. Raises a transient failure if it does not continue where ``partial`` ends."""
    length = answer.headers.get("Content-Length", "")
    plain = (
        answer.headers.get("Content-Encoding", "identity") == "identity"
    )  # else the length is that of the compressed content
    announced = int(length) if plain and length.isascii() and length.isdecimal() else None
    if answer.status_code == 200:
        partial.begin(announced, answer.headers.get("ETag"))
        _check_size(announced or 0, answer.url, wanted)
        return
    span = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if (
        answer.status_code == 416
        or span is None
        or int(span[1]) != partial.size_bytes
        or span[2] != str(partial.total_bytes)
    ):
        partial.discard()
        raise TransientFailure("the file changed while it was downloaded")


def _check_size(size: int, url: str, wanted: FileRequest) -> None:
    if size > wanted.max_bytes:
        raise BadInput(f"{url}: more than the {wanted.max_bytes} bytes that {wanted.limit_reason}")
