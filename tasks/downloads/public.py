"""Connections to public addresses only, so that a URL from elsewhere does not reach into the network around this host.

What counts is the address that is connected to: a name is resolved once, each of its addresses is judged, and the
connection goes to one that was, so that a second answer of the name's server changes nothing. Redirects are requests
like others. Where the user's settings say that a proxy leads there, the proxy resolves the name; what it resolves to
here is judged, too.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
EVERY_NETWORK = ("0.0.0.0/0", "::/0")
# Addresses of IPv4 as a gateway writes them in IPv6 (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddressError(Exception):
    """A name or address that leads to a private, loopback, link-local or reserved address, or to none."""


@dataclass(frozen=True)
class Public:
    """Which addresses may be connected to: all that are public, and those of the networks in ``others``."""

    others: tuple[str, ...] = ()

    def allows(self, address: str) -> bool:
        """Whether ``address``, as the resolver writes it, may be connected to."""
        found = ipaddress.ip_address(address)
        return is_public(found) or any(_within(inner, self.others) for inner in (found, *_embedded(found)))

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of ``host`` that may be connected to. Raises PrivateAddressError where all lead elsewhere.

        Raises OSError (socket.gaierror) where the name is not known.
        """
        host = host.strip("[]")
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        allowed = [address for address in dict.fromkeys(found) if self.allows(address)]
        if not allowed:
            raise PrivateAddressError(f"{host} is {', '.join(dict.fromkeys(found))}, which is no public address")
        return allowed

    def check_proxied(self, url: str) -> None:
        """Raises PrivateAddressError where the host of ``url`` is known here, and to be at such an address only."""
        parts = urlsplit(url)
        try:
            self.addresses(parts.hostname or "", parts.port or 80)
        except OSError:  # the proxy knows names that this host does not
            return

    def pools(self) -> dict[str, type[HTTPConnectionPool]]:
        """urllib3's pools of connections that are so limited, by scheme."""
        http = type("PublicHttp", (_Public, HTTPConnection), {"public": self})
        https = type("PublicHttps", (_Public, HTTPSConnection), {"public": self})
        return {
            "http": type("PublicHttpPool", (HTTPConnectionPool,), {"ConnectionCls": http}),
            "https": type("PublicHttpsPool", (HTTPSConnectionPool,), {"ConnectionCls": https}),
        }


def is_public(address: Address) -> bool:
    """Whether ``address`` is one that anybody may reach, and so are all that it stands for."""
    inner = _embedded(address)
    if inner:
        return all(map(is_public, inner))
    return address.is_global and not address.is_multicast and not address.is_reserved


def _embedded(address: Address) -> Sequence[Address]:
    """The addresses of IPv4 that one of IPv6 stands for: mapped, 6to4, Teredo, NAT64."""
    if not isinstance(address, ipaddress.IPv6Address):
        return ()
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [inner for inner in found if inner is not None]


def _within(address: Address, networks: Sequence[str]) -> bool:
    return any(
        address in network for network in map(ipaddress.ip_network, networks) if network.version == address.version
    )


class _Public:
    """Of a connection of urllib3's: where it may go."""

    public: Public
    host: str
    port: int
    _dns_host: str

    def _new_conn(self) -> Any:
        """Connect to the first of the host's allowed addresses that answers; TLS still asks for the host by name."""
        name = self._dns_host
        *earlier, last = self.public.addresses(name, self.port)
        try:
            for address in earlier:
                self._dns_host = address
                try:
                    return super()._new_conn()  # type: ignore[misc]
                except HTTPError:  # nobody there, or no answer in time
                    continue
            self._dns_host = last
            return super()._new_conn()  # type: ignore[misc]
        finally:
            self._dns_host = name
