"""Items: the units of work, and the rule for their ids."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_ID_LENGTH = 120
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Item:
    """One unit of work.

    id       safe as a file name (see :func:`is_safe_id`), unique within its stage
    payload  what the stage needs to know; JSON values only; enters the key
    inputs   absolute paths of the files that the stage reads; their identity enters the key, their paths do not
    cost     predicted work in any unit that is the same for all items of a stage; enters no key
    fields   columns of the manifest, for ``--priority``; enter no key
    """

    id: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    cost: float = 1.0
    fields: Mapping[str, Any] = field(default_factory=dict)


def is_safe_id(text: str) -> bool:
    """Whether ``text`` can be a file name everywhere: letters, digits, ``._-``, no leading dot, at most 120 long."""
    return len(text) <= MAX_ID_LENGTH and _SAFE_ID.fullmatch(text) is not None


def safe_id(text: str) -> str:
    """``text`` itself where it is safe, else a readable form of it with a short digest that keeps it unique."""
    if is_safe_id(text):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    readable = _UNSAFE.sub("-", text).strip("-._")[: MAX_ID_LENGTH - 9]
    return f"{readable}-{digest}" if readable else digest


def input_root(items: Iterable[Item]) -> Path | None:
    """The folder that all inputs of ``items`` lie under; None where there are no inputs or no such folder."""
    folders = {os.path.dirname(path) for item in items for path in item.inputs}
    try:
        return Path(os.path.commonpath(folders)) if folders else None
    except ValueError:  # on different drives
        return None
