"""Which addresses may be connected to: judged after the name is resolved, for the address that is really used."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from tasks.downloads.public_addresses import EVERY_NETWORK, PrivateAddressError, Public, is_public
from tasks.downloads.sessions import ANY_HOST, Origin, RefusedAddress, open_session
from tests.landmarks.models.server import Handler, ModelServer, redirect_to

PRIVATE = [
    *("127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%lo", "fc00::1"),
    *("ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::10.0.0.1", "2001:db8::1"),
    *("fec0::1", "fec0::1%lo", "192.88.99.1", "192.88.99.254", "192.0.0.9", "192.0.0.170", "198.18.0.1", "198.19.9.9"),
    *("198.51.100.7", "203.0.113.7", "192.31.196.1", "192.52.193.1", "192.175.48.1", "100::1", "100:0:0:1::1"),
    *("2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff::1", "2620:4f:8000::1", "3fff::1", "5f00::1", "4000::1"),
    *("ff0e::1", "0.1.2.3", "::8.8.8.8", "::ffff:0:8.8.8.8", "::10.0.0.1", "64:ff9b:1::8.8.8.8", "64:ff9b:1::a00:1"),
    # metadata and host addresses of clouds, plain and embedded
    *("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "169.254.170.2"),
    *("::ffff:168.63.129.16", "64:ff9b::168.63.129.16", "2002:a83f:8110::1", "::ffff:100.100.100.200"),
    # several addresses in one, of which one is public: Teredo's server and client, 6to4 or NAT64 with ISATAP
    *("2001:0:808:808::f5ff:fffe", "2001:0:a00:1::f7f7:f7f7", "2002:808:808::5efe:a00:1", "2002:a00:1::5efe:808:808"),
    *("2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:192.168.0.1", "2606:4700::5efe:169.254.169.254"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    assert not Public().allows(address)
    assert Public(EVERY_NETWORK).allows(address)


@pytest.mark.parametrize(
    "address",
    [
        *("93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"),
        *("2001:0:808:808::f7f7:f7f7", "2002:808:808::5efe:808:404", "2606:4700::5efe:8.8.8.8", "2001:200::1"),
        *("168.63.129.17", "192.0.1.1", "100.128.0.1", "3ffe::1", "2a00:1450::5e"),
    ],
)
def test_addresses_that_are_public(address: str) -> None:
    assert Public().allows(address)


def test_networks_that_are_allowed_by_name() -> None:
    own = Public(("10.1.0.0/16", "fd00::/8"))
    assert own.allows("10.1.2.3")
    assert own.allows("::ffff:10.1.2.3")
    assert own.allows("fd00::7")
    assert not own.allows("10.2.0.1")


def test_one_allowed_address_does_not_allow_the_others_that_are_embedded_beside_it() -> None:
    own = Public(("10.1.0.0/16",))
    assert own.allows("2001:0:a01:203::f5fe:fdfc")  # Teredo: server 10.1.2.3, client 10.1.2.3
    assert not own.allows("2001:0:a01:203::f5fd:fdfc")  # client 10.2.2.3
    assert not own.allows("2001:0:a02:203::f5fe:fdfc")  # server 10.2.2.3
    assert own.allows("2002:a01:203::5efe:a01:1")
    assert not own.allows("2002:a01:203::5efe:a02:1")


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost", "[::1]"])
def test_other_ways_to_write_this_machine(host: str) -> None:
    with pytest.raises(PrivateAddressError, match="not a public address"):
        Public().get_addresses(host, 80)


@dataclass(frozen=True)
class Anywhere:
    """Any host, and limits."""

    origins: frozenset[Origin] = frozenset({("http", ANY_HOST), ("https", ANY_HOST)})
    connect_seconds: float = 5.0
    stall_seconds: float = 5.0


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


Start = Callable[..., ModelServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers of files on addresses of this machine."""
    with ExitStack() as stack:

        def started(host: str, files: dict[str, bytes], port: int = 0) -> ModelServer:
            own = ModelServer(files)
            server = ThreadingHTTPServer((host, port), type("Handler", (Handler,), {"models": own}))
            server.daemon_threads = True
            own.url = f"http://{host}:{server.server_address[1]}"
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            return own

        yield started


FIRST_ONLY = Public(("127.0.0.1/32",))  # as if 127.0.0.1 were public and all else of this machine were not


def test_a_private_address_is_not_even_connected_to(start: Start) -> None:
    inside = start("127.0.0.2", {"/secret": b"secret"})
    with pytest.raises(RefusedAddress, match=r"127\.0\.0\.2, which is not a public address"):
        open_session(Anywhere(), FIRST_ONLY).get(f"{inside.url}/secret")
    assert inside.requests == []


def test_an_allowed_address_is_asked(start: Start) -> None:
    server = start("127.0.0.1", {"/a": b"content"})
    assert open_session(Anywhere(), FIRST_ONLY).get(f"{server.url}/a").content == b"content"


def test_a_redirect_to_a_private_address_is_refused(start: Start) -> None:
    inside, outside = start("127.0.0.2", {"/secret": b"secret"}), start("127.0.0.1", {})
    outside.faults.append(redirect_to(f"{inside.url}/secret"))
    with pytest.raises(RefusedAddress, match=r"127\.0\.0\.2"):
        open_session(Anywhere(), FIRST_ONLY).get(f"{outside.url}/a")
    assert inside.requests == []


def test_a_name_that_changes_its_address_is_connected_to_where_it_was_judged(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the second answer for the name is a private address, on the same port."""
    outside = start("127.0.0.1", {"/a": b"public"})
    port = int(outside.url.rpartition(":")[2])
    inside = start("127.0.0.2", {"/a": b"secret"}, port)
    answers = iter(["127.0.0.1", "127.0.0.2", "127.0.0.2"])
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        return real(next(answers) if host == "video.example" else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    session = open_session(Anywhere(), FIRST_ONLY)
    assert session.get(f"http://video.example:{port}/a").content == b"public"
    assert outside.requests[0][1]["Host"] == f"video.example:{port}"
    with pytest.raises(RefusedAddress, match=r"video\.example is 127\.0\.0\.2"):
        session.get(f"http://video.example:{port}/a")
    assert inside.requests == []


def test_of_several_addresses_the_private_ones_are_left_out_and_dead_ones_passed_over(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start("127.0.0.3", {"/a": b"third"})
    port = int(server.url.rpartition(":")[2])
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        if host != "video.example":
            return real(host, *rest, **options)
        return [entry for end in (2, 1, 3) for entry in real(f"127.0.0.{end}", *rest, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    public = Public(("127.0.0.1/32", "127.0.0.3/32"))  # nobody listens at 127.0.0.1
    assert public.get_addresses("video.example", port) == ["127.0.0.1", "127.0.0.3"]
    assert open_session(Anywhere(), public).get(f"http://video.example:{port}/a").content == b"third"


def test_what_a_proxy_would_fetch_is_judged_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = start("127.0.0.1", {"http://10.0.0.1/a": b"secret", "http://unknown.invalid/a": b"by proxy"})
    monkeypatch.setenv("http_proxy", proxy.url)
    session = open_session(Anywhere(), Public())
    with pytest.raises(RefusedAddress, match=r"10\.0\.0\.1"):
        session.get("http://10.0.0.1/a")
    assert proxy.requests == []


def test_a_proxy_is_not_asked_for_a_name_with_one_private_address(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = start("127.0.0.1", {})
    monkeypatch.setenv("http_proxy", proxy.url)
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        if host != "video.example":
            return real(host, *rest, **options)
        return [entry for address in ("8.8.8.8", "10.0.0.1") for entry in real(address, *rest, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(RefusedAddress, match=r"10\.0\.0\.1"):
        open_session(Anywhere(), Public()).get("http://video.example/a")
    assert proxy.requests == []
