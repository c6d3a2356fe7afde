"""The per-user cache folder, and base URLs from environment variables."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tasks.engine.contract.errors import Problem


def get_default_cache(environment: Mapping[str, str], name: str) -> Path:
    """Return ``$HEADRACE_CACHE/<name>``, ``$XDG_CACHE_HOME/headrace/<name>``, else ``~/.cache/headrace/<name>``."""
    if own := environment.get("HEADRACE_CACHE"):
        return Path(own).expanduser().absolute() / name
    base = environment.get("XDG_CACHE_HOME", "")
    # The XDG specification requires that a relative path is ignored.
    parent = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return parent / "headrace" / name


def find_cache_problems(folder: Path) -> list[Problem]:
    """Return a problem if ``folder`` cannot be created or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return []
    except OSError as error:
        given = f"the cache {folder} cannot be written to ({error.strerror or error})"
        return [Problem("HEADRACE_CACHE", given, "a writable folder", "set it to one")]


def read_url(name: str, environment: Mapping[str, str], default: str, problems: list[Problem]) -> str:
    """Return the base URL in the variable ``name``, or ``default`` if it is empty. An invalid URL is a problem."""
    given = environment.get(name) or default
    parts = urlsplit(given)
    if given and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username):
        allowed = "a URL that begins with https:// or http://, without a query or a user"
        problems.append(Problem(name, repr(given), allowed, "correct the variable or unset it"))
    return given.rstrip("/")
