"""Placeholders: local files that stand for objects of a store until something reads their content.

They have the size and the time of their objects. Code that reads the content of an input at planning calls
:func:`fill_placeholder` first; an item gets copies of its inputs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

_fillers: dict[str, Callable[[str], None]] = {}


def register_filler(root: Path, fill: Callable[[str], None]) -> None:
    """Let ``fill`` write the content of files below ``root``; it gets their relative paths."""
    _fillers[f"{root}{os.sep}"] = fill


def forget_filler(root: Path) -> None:
    """Forget the placeholders below ``root``."""
    _fillers.pop(f"{root}{os.sep}", None)


def fill_placeholder(path: str | Path) -> None:
    """Write the content of the file at ``path`` if it is a placeholder. Raises RunError if it cannot be read."""
    for root, fill in _fillers.items():
        if str(path).startswith(root):
            fill(str(path).removeprefix(root))
