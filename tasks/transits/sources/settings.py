"""Where the archive is, how patient we are with it, and where what it gave is kept.

None of this changes what a light curve holds, so none of it enters a key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.downloads.folder import cache_problems, default_cache, read_url
from tasks.downloads.patience import Origin, origin
from tasks.engine.contract.errors import InvalidInput, Problem

SERVER = "https://mast.stsci.edu"
RESOLVER = "https://mastresolver.stsci.edu/Santa-war/query"
MAX_CONNECTIONS = 16
# Where MAST itself may send on to: its older archive server, and its public bucket.
_PUBLIC_COPIES = frozenset(
    ("https", host)
    for host in ("archive.stsci.edu", "stpubdata.s3.amazonaws.com", "stpubdata.s3.us-east-1.amazonaws.com")
)
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class MastSettings:
    """How MAST is asked.

    cache           the folder that runs share; None: as :func:`~tasks.downloads.folder.default_cache` has it
    server          base URL of MAST: searches and downloads
    resolver        URL of the name resolver; asked for names only, never for TIC, KIC and EPIC numbers
    mirror          base URL of a store with the layout of the public bucket ``stpubdata``, asked for files first;
                    empty: MAST alone
    connections     at most so many at a time, over all processes of this host that share the cache
    connect_seconds, stall_seconds
                    longest wait for a connection, and for the next byte
    tries           requests for one thing before it is given up
    query_seconds   how long a completed search is believed
    empty_seconds   the same for one that did not find all that was asked for
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
        """The cache's folder on this host."""
        return self.cache or default_cache(os.environ, "mast")

    @property
    def origins(self) -> frozenset[Origin]:
        """Scheme and host, with its port, of every address that may be asked."""
        configured = frozenset(origin(url) for url in (self.server, self.resolver, self.mirror) if url)
        return configured | _PUBLIC_COPIES if self.server == SERVER else configured


def settings_from(environment: Mapping[str, str], refresh: bool = False) -> MastSettings:
    """The settings that the variables ``HEADRACE_MAST_*`` make. Raises InvalidInput for values that cannot be.

    ``refresh``: completed searches are not believed.

    ``HEADRACE_MAST_SERVER``, ``HEADRACE_MAST_RESOLVER``, ``HEADRACE_MAST_MIRROR`` (URLs),
    ``HEADRACE_MAST_CONNECTIONS``. An empty one counts as none.
    """
    problems: list[Problem] = []
    settings = MastSettings(
        server=read_url("HEADRACE_MAST_SERVER", environment, SERVER, problems),
        resolver=read_url("HEADRACE_MAST_RESOLVER", environment, RESOLVER, problems),
        mirror=read_url("HEADRACE_MAST_MIRROR", environment, "", problems),
        connections=_connections(environment.get("HEADRACE_MAST_CONNECTIONS") or "4", problems),
    )
    if problems:
        raise InvalidInput(problems)
    return replace(settings, query_seconds=0.0, empty_seconds=0.0) if refresh else settings


def mast_problems(environment: Mapping[str, str]) -> list[Problem]:
    """What is wrong with the variables, or else with the cache."""
    try:
        return cache_problems(settings_from(environment).folder)
    except InvalidInput as error:
        return list(error.problems)


def _connections(given: str, problems: list[Problem]) -> int:
    if given.isdecimal() and 1 <= int(given) <= MAX_CONNECTIONS:
        return int(given)
    allowed = f"a whole number from 1 to {MAX_CONNECTIONS}"
    problems.append(Problem("HEADRACE_MAST_CONNECTIONS", repr(given), allowed, "correct the variable or unset it"))
    return 1
