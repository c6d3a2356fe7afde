"""Where what was downloaded is kept, and which addresses a variable may name."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tasks.engine.contract.errors import Problem


def default_cache(environment: Mapping[str, str], name: str) -> Path:
    """``$HEADRACE_CACHE/<name>``, else ``$XDG_CACHE_HOME/headrace/<name>``, else ``~/.cache/headrace/<name>``."""
    if own := environment.get("HEADRACE_CACHE"):
        return Path(own).expanduser().absolute() / name
    base = environment.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path in it is to be ignored.
    parent = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return parent / "headrace" / name


def cache_problems(folder: Path) -> list[Problem]:
    """A problem where ``folder`` cannot be made on this host, or takes no files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return []
    except OSError as error:
        given = f"the cache {folder} takes no files ({error.strerror or error})"
        return [Problem("HEADRACE_CACHE", given, "a folder that can be written to", "set it to one")]


def read_url(name: str, environment: Mapping[str, str], default: str, problems: list[Problem]) -> str:
    """The base URL that the variable ``name`` gives, ``default`` where it is empty; what is no URL is a problem."""
    given = environment.get(name) or default
    parts = urlsplit(given)
    if given and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username):
        allowed = "a URL that begins with https:// or http://, without a query or a user"
        problems.append(Problem(name, repr(given), allowed, "correct the variable or unset it"))
    return given.rstrip("/")
