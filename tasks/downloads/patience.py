"""Requests to servers that may be busy: allowed addresses, retryable errors, and waiting times."""

from __future__ import annotations

import email.utils
import ipaddress
import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy

from tasks.downloads.cache import MAX_QUIET_SECONDS, Pace
from tasks.downloads.public import PrivateAddressError, Public
from tasks.engine.contract.errors import TransientError

BUSY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_WAIT_SECONDS = 1.0
_MAX_WAIT_SECONDS = 60.0
_MAX_REDIRECTS = 5

Origin = tuple[str, str]  # scheme and host with port; see get_origin()
ANY_HOST = "*"  # as an origin's host

T = TypeVar("T")


class TransientFailure(Exception):
    """A transient failure: worth a retry, after ``wait_seconds`` if the server stated a time."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(message)


class RefusedAddress(requests.RequestException):
    """A request or redirect to an address that is not allowed or not public."""


def retry(action: Callable[[], T], what: str, tries: int, pace: Pace) -> T:
    """Return the result of ``action``, with up to ``tries`` attempts while it raises a transient failure.

    Waits are random between 0 and a bound that doubles each time ("full jitter"), in addition to the time that the
    server requested. Raises TransientError, which names ``what``, after the last attempt.
    """
    for number in range(1, tries + 1):
        try:
            return action()
        except TransientFailure as error:
            if number == tries:
                raise TransientError(f"{what}: {error}; tried {tries} times; run the same command later") from error
            pace.sleep(compute_backoff_seconds(number, error.wait_seconds, pace.chance()))
    raise ValueError(f"tries must be at least 1, not {tries}")


def compute_backoff_seconds(number: int, requested_seconds: float | None, chance: float) -> float:
    """Return the wait after attempt ``number`` (from 1): jitter in addition to the time that the server requested."""
    bound = min(_MAX_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** (number - 1))
    return min(requested_seconds or 0.0, MAX_QUIET_SECONDS) + chance * bound


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Parse a Retry-After header (RFC 9110, 10.2.3): seconds, or the time until a date; None without one."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text[:9])
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_QUIET_SECONDS) if math.isfinite(seconds) else None


class Reach(Protocol):
    """Allowed addresses, and timeouts for a connection and for the next byte."""

    @property
    def origins(self) -> frozenset[Origin]: ...
    @property
    def connect_seconds(self) -> float: ...
    @property
    def stall_seconds(self) -> float: ...


def open_session(reach: Reach, public: Public | None = None) -> requests.Session:
    """Open a session that is limited to the configured addresses, redirects included, with timeouts.

    ``public`` limits connections to public addresses.
    """
    session = requests.Session()
    session.max_redirects = _MAX_REDIRECTS
    session.headers["Connection"] = "close"  # a kept idle connection would count towards the limit
    session.headers["User-Agent"] = f"headrace {session.headers['User-Agent']}"
    for prefix in ("https://", "http://"):
        session.mount(prefix, _Bounded(reach, public))
    return session


def get_origin(url: str) -> Origin:
    """Return scheme and host, with its port if any, in lower case."""
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.rpartition("@")[2].lower()


class _Bounded(HTTPAdapter):
    """Sends to the configured addresses only, with the configured timeouts regardless of the caller."""

    def __init__(self, reach: Reach, public: Public | None) -> None:
        super().__init__()
        self._public = public
        if public is not None:
            self.poolmanager.pool_classes_by_scheme = public.make_pools()
        self._origins = reach.origins
        self._timeout = (reach.connect_seconds, reach.stall_seconds)

    def send(self, request: requests.PreparedRequest, *_args: Any, **options: Any) -> requests.Response:
        """Send the request. Raises RefusedAddress; each redirect passes here as a separate request."""
        scheme, host = get_origin(request.url or "")
        if not {(scheme, host), (scheme, ANY_HOST)} & self._origins:
            allowed = ", ".join(sorted(f"{scheme}://{host}" for scheme, host in self._origins))
            raise RefusedAddress(
                f"redirected to {request.url}, which is not allowed; allowed: {allowed}", request=request
            )
        if _is_this_machine(request.url or ""):  # which proxies cannot reach
            options["proxies"] = {}
        self.close()  # the server may have silently closed an earlier connection, so never reuse one
        try:
            if self._public is not None and select_proxy(request.url or "", options.get("proxies")):
                self._public.check_proxied(request.url or "")
            return super().send(request, **{**options, "timeout": self._timeout})
        except PrivateAddressError as error:
            raise RefusedAddress(f"sent to {request.url}, which is not allowed: {error}", request=request) from error


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
