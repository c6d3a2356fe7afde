"""Files of a web server: they can be read by name, and not be listed or written."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import requests

from tasks.stores.base import ObjectInfo, ObjectStore
from tasks.stores.errors import StoreError, Transient

_TIMEOUT_SECONDS = (15.0, 60.0)
_MISSING = frozenset({404, 410})
_DENIED = frozenset({401, 403, 407})
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class WebStore(ObjectStore):
    """Files below one address. Proxies and ``~/.netrc`` of the user apply."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the location itself if it is a file. Raises StoreError otherwise: servers do not list folders."""
        found = None if prefix else self.find("")
        if found is None:
            advice = "name one file, or copy the folder to a store that can be listed"
            raise StoreError(f"{self.location.child(prefix)}: folders of web servers cannot be listed; {advice}")
        yield found

    def find(self, key: str) -> ObjectInfo | None:
        """Return one file; None if there is none. Raises StoreError if the server does not tell its size."""
        answer = self._request(key, {"Range": "bytes=0-0"})
        if answer.status_code in _MISSING:
            return None
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        size = total if answer.status_code == 206 else answer.headers.get("Content-Length", "")
        if not size.isdecimal():
            raise StoreError(f"{self.location.child(key)}: the server does not tell its size; download it first")
        return ObjectInfo(key, int(size), _read_etag(answer), _read_time(answer))

    def read_range(self, key: str, etag: str, start: int, end: int) -> bytes:
        """Return a range of a file. The server must have ranges if the file is larger than one."""
        answer = self._request(key, {"Range": f"bytes={start}-{end - 1}"}, is_read=True)
        if answer.status_code in _MISSING:
            raise self.make_missing(key)
        if answer.status_code == 416:
            return b""
        if etag and _read_etag(answer) != etag:
            raise self.make_changed(key)
        content = answer.content
        if answer.status_code == 206:
            return content
        return content[start:end]

    def _request(self, key: str, headers: dict[str, str], is_read: bool = False) -> requests.Response:
        url = self.location.child(key).url if key else self.location.url

        def request() -> requests.Response:
            try:
                with requests.get(
                    url, headers={"Accept-Encoding": "identity", **headers}, timeout=_TIMEOUT_SECONDS, stream=True
                ) as answer:
                    if is_read and answer.status_code < 400:
                        _check_whole(answer)
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                raise Transient(f"no answer ({type(error).__name__})") from error
            except requests.RequestException as error:
                raise StoreError(f"{url}: {type(error).__name__}; check the URL") from error
            return self._judge(url, answer)

        return self.retry(request)

    def _judge(self, url: str, answer: requests.Response) -> requests.Response:
        status = answer.status_code
        if status in _BUSY:
            wait = answer.headers.get("Retry-After", "")
            raise Transient(f"HTTP {status}", min(float(wait), 60.0) if wait.isdecimal() else 0.0)
        if status in _DENIED:
            raise StoreError(f"{url}: access denied (HTTP {status}); download the file and give its path")
        if status not in {200, 206, 416, *_MISSING}:
            raise StoreError(f"{url}: HTTP {status}; check the URL")
        return answer


def _check_whole(answer: requests.Response) -> None:
    """Read the body. Raises Transient if the connection ended before it did."""
    length = answer.headers.get("Content-Length", "")
    content = answer.content
    if length.isdecimal() and len(content) != int(length):
        raise Transient(f"{len(content)} of {length} bytes arrived")


def _read_etag(answer: requests.Response) -> str:
    """Return the ETag; size and time if there is none or a weak one."""
    etag = answer.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag.strip('"')
    total = answer.headers.get("Content-Range", "").rpartition("/")[2] or answer.headers.get("Content-Length", "")
    return f"{total}-{answer.headers.get('Last-Modified', '')}"


def _read_time(answer: requests.Response) -> float:
    try:
        return parsedate_to_datetime(answer.headers.get("Last-Modified", "")).timestamp()
    except (TypeError, ValueError):
        return 0.0
