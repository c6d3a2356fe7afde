"""The folder of the user's caches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def get_default_cache(environment: Mapping[str, str], name: str) -> Path:
    """Return ``$HEADRACE_CACHE/<name>``, ``$XDG_CACHE_HOME/headrace/<name>``, else ``~/.cache/headrace/<name>``."""
    if own := environment.get("HEADRACE_CACHE"):
        return Path(own).expanduser().absolute() / name
    base = environment.get("XDG_CACHE_HOME", "")
    # The XDG specification requires that a relative path is ignored.
    parent = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return parent / "headrace" / name
