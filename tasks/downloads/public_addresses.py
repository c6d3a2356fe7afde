"""Limits connections to public addresses, so that a URL from elsewhere cannot reach the network around this host.

The check applies to the address of the connection: a name is resolved once, each of its addresses is checked, and the
connection uses a checked one, so a later change of the DNS answer has no effect. Redirects are requests like others. If
the user's settings name a proxy for the URL, the proxy resolves the name; the addresses that this host resolves are
checked too.
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
# The blocks of IANA's IPv4 and IPv6 special-purpose address registries, multicast, and cloud metadata addresses that
# lie elsewhere. Also the globally reachable blocks of these registries: they are anycast relays, and nobody publishes
# files there. Python's ``is_global`` differs between patch releases and ignores clouds.
_SPECIAL = tuple(
    ipaddress.ip_network(block)
    for block in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's host; other clouds use blocks above, or private IPv6 addresses
        *("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20"),
    )
)
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # all allocated IPv6 addresses
# Blocks whose addresses embed IPv4 addresses, which decide alone: mapped, NAT64 (RFC 6052), 6to4, Teredo.
_MAPPED, _NAT64 = ipaddress.ip_network("::ffff:0:0/96"), ipaddress.ip_network("64:ff9b::/96")
_TRANSITIONAL = (_MAPPED, _NAT64, ipaddress.ip_network("2002::/16"), ipaddress.ip_network("2001::/32"))
_ISATAP = (0x5EFE, 0x02005EFE)  # the first half of an interface identifier whose second half is IPv4 (RFC 5214)


class PrivateAddressError(Exception):
    """A name or address that leads to a private, loopback, link-local or reserved address, or to none."""


@dataclass(frozen=True)
class Public:
    """The allowed addresses: all public ones, and those of the networks in ``others``."""

    others: tuple[str, ...] = ()

    def allows(self, address: str) -> bool:
        """Return True if ``address``, as the resolver writes it, may be connected to."""
        return self._allows(ipaddress.ip_address(address))

    def _allows(self, address: Address) -> bool:
        if _is_within(address, self.others):
            return True
        return _is_ordinary(address) and all(map(self._allows, _get_embedded(address)))

    def get_addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of ``host`` that may be connected to. Raises PrivateAddressError if there are none.

        Raises OSError (socket.gaierror) if the name is not known.
        """
        resolved = _resolve(host, port)
        allowed = [address for address in resolved if self.allows(address)]
        if not allowed:
            raise _make_private_error(host, resolved)
        return allowed

    def check_proxied(self, url: str) -> None:
        """Raise PrivateAddressError if this host knows an address of the URL's host that is not allowed.

        The proxy chooses among the addresses, so one that is not allowed is enough.
        """
        parts = urlsplit(url)
        try:
            resolved = _resolve(parts.hostname or "", parts.port or 80)
        except OSError:  # the proxy knows names that this host does not
            return
        if not all(map(self.allows, resolved)):
            raise _make_private_error(parts.hostname or "", resolved)

    def make_pools(self) -> dict[str, type[HTTPConnectionPool]]:
        """Return urllib3's connection pools with this limit, by scheme."""
        http = type("PublicHttp", (_Public, HTTPConnection), {"public": self})
        https = type("PublicHttps", (_Public, HTTPSConnection), {"public": self})
        return {
            "http": type("PublicHttpPool", (HTTPConnectionPool,), {"ConnectionCls": http}),
            "https": type("PublicHttpsPool", (HTTPSConnectionPool,), {"ConnectionCls": https}),
        }


def _resolve(host: str, port: int) -> list[str]:
    entries = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _make_private_error(host: str, resolved: Sequence[str]) -> PrivateAddressError:
    return PrivateAddressError(f"{host.strip('[]')} is {', '.join(resolved)}, which is not a public address")


def is_public(address: Address) -> bool:
    """Return True if anybody may reach ``address``, and all addresses that are embedded in it."""
    return Public().allows(str(address))


def _is_ordinary(address: Address) -> bool:
    """Return True if ``address`` lies in no special block. A transitional block is decided by what it embeds."""
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in block for block in _TRANSITIONAL):
            return True
        if address not in _GLOBAL_UNICAST:
            return False
    return not any(address in block for block in _SPECIAL)


def _get_embedded(address: Address) -> Sequence[Address]:
    """Return the IPv4 addresses in an IPv6 address: mapped, 6to4, Teredo (server and client), NAT64, ISATAP."""
    if not isinstance(address, ipaddress.IPv6Address):
        return ()
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64 or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        inner.append(last)
    return [each for each in inner if each is not None]


def _is_within(address: Address, networks: Sequence[str]) -> bool:
    return any(
        address in network for network in map(ipaddress.ip_network, networks) if network.version == address.version
    )


class _Public:
    """Limits a connection of urllib3."""

    public: Public
    host: str
    port: int
    _dns_host: str

    def _new_conn(self) -> Any:
        """Connect to the first of the host's allowed addresses that answers; TLS still verifies the host's name."""
        name = self._dns_host
        *earlier, last = self.public.get_addresses(name, self.port)
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
