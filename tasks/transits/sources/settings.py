"""Settings for the archive: addresses, timeouts, retries, and the cache.

They do not affect the content of a light curve, so they are not part of a key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.downloads.folder import find_cache_problems, read_url
from tasks.downloads.sessions import Origin, get_origin
from tasks.engine.contract.cache_folder import get_default_cache
from tasks.engine.contract.errors import InvalidInput, Problem

SERVER = "https://mast.stsci.edu"
RESOLVER = "https://mastresolver.stsci.edu/Santa-war/query"
MAX_CONNECTIONS = 16
# Targets of MAST's redirects: its older archive server, and its public bucket.
_PUBLIC_COPIES = frozenset(
    ("https", host)
    for host in ("archive.stsci.edu", "stpubdata.s3.amazonaws.com", "stpubdata.s3.us-east-1.amazonaws.com")
)
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class MastSettings:
    """Settings for requests to MAST.

    cache           the folder that runs share; None for that of :func:`get_default_cache`
    server          base URL of MAST: searches and downloads
    resolver        URL of the name resolver; for names only, not for TIC, KIC and EPIC numbers
    mirror          base URL of a store with the layout of the public bucket ``stpubdata``, tried first for files; empty
                    for MAST only
    connections     maximum connections, over all processes of this host that share the cache
    connect_seconds, stall_seconds
                    timeouts for a connection, and for the next byte
    tries           attempts per request
    query_seconds   lifetime of a completed search
    empty_seconds   lifetime of a search that lacks a requested segment
    """

    cache: Path | None = None
    server: str = SERVER
    resolver: str = RESOLVER
    mirror: str = ""
    connections: int = 4
    connect_seconds: float = 15.0
    stall_seconds: float = 60.0
    tries: int = 6
    query_seconds: float = 7 * _DAY_SECONDS
    empty_seconds: float = _DAY_SECONDS / 24

    @property
    def folder(self) -> Path:
        """Return the cache's folder on this host."""
        return self.cache or get_default_cache(os.environ, "mast")

    @property
    def origins(self) -> frozenset[Origin]:
        """Return scheme and host, with its port, of all allowed addresses."""
        configured = frozenset(get_origin(url) for url in (self.server, self.resolver, self.mirror) if url)
        return configured | _PUBLIC_COPIES if self.server == SERVER else configured


def read_settings(environment: Mapping[str, str], refresh: bool = False) -> MastSettings:
    """Read the settings from the variables ``HEADRACE_MAST_*``. Raises InvalidInput for invalid values.

    ``HEADRACE_MAST_SERVER``, ``HEADRACE_MAST_RESOLVER``, ``HEADRACE_MAST_MIRROR`` (URLs),
    ``HEADRACE_MAST_CONNECTIONS``. Empty variables count as unset. ``refresh`` ignores completed searches.
    """
    problems: list[Problem] = []
    settings = MastSettings(
        server=read_url("HEADRACE_MAST_SERVER", environment, SERVER, problems),
        resolver=read_url("HEADRACE_MAST_RESOLVER", environment, RESOLVER, problems),
        mirror=read_url("HEADRACE_MAST_MIRROR", environment, "", problems),
        connections=_read_connections(environment.get("HEADRACE_MAST_CONNECTIONS") or "4", problems),
    )
    if problems:
        raise InvalidInput(problems)
    return replace(settings, query_seconds=0.0, empty_seconds=0.0) if refresh else settings


def find_mast_problems(environment: Mapping[str, str]) -> list[Problem]:
    """Return the problems of the variables, or else of the cache."""
    try:
        return find_cache_problems(read_settings(environment).folder)
    except InvalidInput as error:
        return list(error.problems)


def _read_connections(given: str, problems: list[Problem]) -> int:
    if given.isdecimal() and 1 <= int(given) <= MAX_CONNECTIONS:
        return int(given)
    allowed = f"a whole number from 1 to {MAX_CONNECTIONS}"
    problems.append(Problem("HEADRACE_MAST_CONNECTIONS", repr(given), allowed, "correct the variable or unset it"))
    return 1
