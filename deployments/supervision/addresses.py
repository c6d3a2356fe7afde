"""Addresses and ports: where the upload service and the Prefect server listen, and how they are reached."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address

from tasks.engine.contract.errors import InvalidInput, Problem

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Api:
    """The API of a Prefect server; ``password`` is ``USER:PASSWORD``."""

    url: str
    password: str = field(repr=False)

    @property
    def auth(self) -> tuple[str, str]:
        """User and password."""
        user, _, secret = self.password.partition(":")
        return user, secret


@dataclass(frozen=True)
class Address:
    """A listening address."""

    host: str
    port: int

    @property
    def local_url(self) -> str:
        """The URL for processes of this machine."""
        return self._format(_get_loopback(self.host) if _is_wildcard(self.host) else self.host)

    @property
    def public_url(self) -> str:
        """The URL for browsers, also on other machines if the service listens there."""
        return self._format(socket.gethostname() if _is_wildcard(self.host) else self.host)

    def _format(self, host: str) -> str:
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def choose_address(host: str, port: int | None, default: int, option: str, taken: int = 0) -> Address:
    """Return a free address on ``host``: ``port`` if given, else ``default`` or, if that is in use, any free port.

    Raises InvalidInput if the given port is not free, or the host is none of this machine.
    """
    if port is not None:
        if port == taken or not _is_free(host, port):
            raise InvalidInput([Problem(f"{option} {port}", "is in use", "a free port", f"leave out {option}")])
        return Address(host, port)
    if default != taken and _is_free(host, default):
        return Address(host, default)
    while (free := _find_free_port(host)) == taken:
        pass
    return Address(host, free)


def _is_free(host: str, port: int) -> bool:
    try:
        _bind(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise _refuse(host, port, error) from None
    return True


def _find_free_port(host: str) -> int:
    try:
        return _bind(host, 0)
    except OSError as error:
        raise _refuse(host, 0, error) from None


def _bind(host: str, port: int) -> int:
    """Listen for a moment; return the port. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        number: int = listener.getsockname()[1]
        return number


def _refuse(host: str, port: int, error: OSError) -> InvalidInput:
    given = f"port {port} cannot be opened: {error.strerror}"
    return InvalidInput([Problem(f"--host {host}", given, "an address of this machine", f"for example {LOOPBACK}")])


def _get_loopback(host: str) -> str:
    return "::1" if ":" in host else LOOPBACK


def _is_wildcard(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:  # a name
        return False
