"""Check the user's cache folder, and read base URLs from environment variables."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tasks.engine.contract.errors import Problem


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
