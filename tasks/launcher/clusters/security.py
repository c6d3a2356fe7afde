"""TLS for clusters: the certificates of a client, and warnings about connections without encryption."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from distributed import Security

from tasks.launcher.clusters.certificates import CA_FILE, ROLES, Role, check_certificates, get_files

_LOCAL_NAMES = {"localhost", "localhost.localdomain", "ip6-localhost"}


def load_security(folder: str | None, roles: Sequence[Role] = ROLES) -> Security | None:
    """Return the certificates of ``roles`` in ``folder``; None for plain TCP.

    Raises RunError if one is missing or invalid.
    """
    if folder is None:
        return None
    place = Path(folder)
    check_certificates(place, roles)
    pairs = {role: get_files(place, role) for role in roles}
    files = {f"tls_{role}_{kind}": str(path) for role, pair in pairs.items() for kind, path in pair.items()}
    return Security(tls_ca_file=str(place / CA_FILE), require_encryption=True, **files)


def is_exposed(address: str) -> bool:
    """Return True if an address is plain TCP and not on the loopback interface."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme != "tcp" or host in _LOCAL_NAMES:
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def warn_about_plain_text(address: str, say: Callable[[str], None]) -> None:
    """Say that a scheduler has neither encryption nor a password."""
    if is_exposed(address):
        advice = "use tls://: see docs/clusters.md"
        say(f"{address} is neither encrypted nor protected: whoever reaches it can run programs as you; {advice}")
