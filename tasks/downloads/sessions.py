"""HTTP sessions that are limited to allowed addresses, redirects included, with timeouts."""

from __future__ import annotations

import ipaddress
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy

from tasks.downloads.public_addresses import PrivateAddressError, Public

_MAX_REDIRECTS = 5

Origin = tuple[str, str]  # scheme and host with port; see get_origin()
ANY_HOST = "*"  # as an origin's host


class RefusedAddress(requests.RequestException):
    """A request or redirect to an address that is not allowed or not public."""


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
