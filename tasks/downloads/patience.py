"""Asking a server that may be busy: who may be asked, what is worth another try, and how long to wait for it."""

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
_LONGEST_WAIT_SECONDS = 60.0
_MAX_REDIRECTS = 5

Origin = tuple[str, str]  # scheme and host, with its port; see origin()
ANY_HOST = "*"  # as an origin's host

T = TypeVar("T")


class Passing(Exception):
    """Something that may pass when the server is asked again, after ``wait_seconds`` where it said so."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(message)


class RefusedAddress(requests.RequestException):
    """A request, or a redirect of one, to an address that is none of the configured ones, or that is not public."""


def patiently(action: Callable[[], T], what: str, tries: int, pace: Pace) -> T:
    """The result of ``action``, tried up to ``tries`` times while it raises Passing.

    Waits are drawn evenly from 0 up to a bound that doubles each time ("full jitter"), and follow what the server asked
    for. Raises TransientError, which names ``what``, after the last try.
    """
    for number in range(1, tries + 1):
        try:
            return action()
        except Passing as error:
            if number == tries:
                raise TransientError(f"{what}: {error}; tried {tries} times; run the same command later") from error
            pace.sleep(backoff_seconds(number, error.wait_seconds, pace.chance()))
    raise ValueError(f"tries must be at least 1, not {tries}")


def backoff_seconds(number: int, asked_seconds: float | None, chance: float) -> float:
    """How long to wait after try ``number`` (from 1): jittered, and after the time that the server asked for."""
    bound = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** (number - 1))
    return min(asked_seconds or 0.0, MAX_QUIET_SECONDS) + chance * bound


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """What a Retry-After header (RFC 9110, 10.2.3) asks for: seconds, or the time until a date; None without one."""
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
    """Which addresses may be asked, and the longest waits for a connection and for the next byte."""

    @property
    def origins(self) -> frozenset[Origin]: ...
    @property
    def connect_seconds(self) -> float: ...
    @property
    def stall_seconds(self) -> float: ...


def open_session(reach: Reach, public: Public | None = None) -> requests.Session:
    """A session that asks the configured addresses only, redirects included, and waits for none of them for ever.

    ``public``: of these addresses, it connects to those only.
    """
    session = requests.Session()
    session.max_redirects = _MAX_REDIRECTS
    session.headers["Connection"] = "close"  # an idle connection that is kept for later is one of the few, too
    session.headers["User-Agent"] = f"headrace {session.headers['User-Agent']}"
    for prefix in ("https://", "http://"):
        session.mount(prefix, _Bounded(reach, public))
    return session


def origin(url: str) -> Origin:
    """Scheme and host, with its port where it has one, as they are compared."""
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.rpartition("@")[2].lower()


class _Bounded(HTTPAdapter):
    """Sends to the configured addresses, with the configured time limits whatever the caller says."""

    def __init__(self, reach: Reach, public: Public | None) -> None:
        super().__init__()
        self._public = public
        if public is not None:
            self.poolmanager.pool_classes_by_scheme = public.pools()
        self._origins = reach.origins
        self._timeout = (reach.connect_seconds, reach.stall_seconds)

    def send(self, request: requests.PreparedRequest, *_args: Any, **options: Any) -> requests.Response:
        """As the parent's. Raises RefusedAddress; it sees each redirect as a request of its own."""
        scheme, host = origin(request.url or "")
        if not {(scheme, host), (scheme, ANY_HOST)} & self._origins:
            allowed = ", ".join(sorted(f"{scheme}://{host}" for scheme, host in self._origins))
            raise RefusedAddress(f"sent on to {request.url}, which is refused; allowed: {allowed}", request=request)
        if _is_this_machine(request.url or ""):  # where no proxy leads
            options["proxies"] = {}
        self.close()  # a connection of before is closed by the other side, perhaps without a word: none is used again
        try:
            if self._public is not None and select_proxy(request.url or "", options.get("proxies")):
                self._public.check_proxied(request.url or "")
            return super().send(request, **{**options, "timeout": self._timeout})
        except PrivateAddressError as error:
            raise RefusedAddress(f"sent to {request.url}, which is refused: {error}", request=request) from error


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
