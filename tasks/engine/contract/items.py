"""Items: the units of work, and the rule for their ids."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_ID_LENGTH = 120
_DIGEST_LENGTH = 16  # 64 bits: among a million names, two share a digest with a probability of 3e-8
_SAFE_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
# Windows reserves these names, with any suffix too.
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Item:
    """One unit of work.

    id       safe as a file name (see :func:`is_safe_id`), unique within its stage
    payload  the stage's data for this item; JSON values only; part of the key
    inputs   absolute paths of the files that the stage reads; their identity is part of the key, their paths are not
    cost     predicted work, in the same unit for all items of a stage; not part of the key
    fields   columns of the manifest, for ``--priority``; not part of the key
    name     the user's name for the item, any text; empty if it equals the id; not part of the key
    path     its input, relative to the input folder; empty if it has none; not part of the key
    refusal  why the input cannot be used, if this is clear before the item runs: it fails as ``bad_input`` with this
             message, and the stage never sees it
    memory_bytes  expected memory, if this item needs more than the stage's default; not part of the key
    """

    id: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    cost: float = 1.0
    fields: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    path: str = ""
    refusal: str = ""
    memory_bytes: int = 0

    @property
    def title(self) -> str:
        """The user's name for the item."""
        return self.name or self.id


def is_safe_id(text: str) -> bool:
    """Return True if ``text`` can be a file name on every file system.

    That is: ASCII letters, digits and ``._-``, no dot or sign at the start and no dot at the end, at most
    MAX_ID_LENGTH characters, and no name that Windows reserves.
    """
    return len(text) <= MAX_ID_LENGTH and _SAFE_ID.fullmatch(text) is not None and not _RESERVED.fullmatch(text)


def make_safe_id(text: str) -> str:
    """Return ``text`` if it is a safe id; otherwise a readable form of it with a digest.

    Ids of two different texts may differ only in case, or be made equal on purpose: see :func:`make_distinct_ids`.
    """
    return text if is_safe_id(text) else _append_digest(text)


def make_distinct_ids(names: Sequence[str], *preferred: Sequence[str]) -> list[str]:
    """Return a safe id for each name, unique even on a file system that ignores case.

    ``preferred`` holds candidate texts for each name, the best first; the name is the last candidate. A candidate that
    two names share is given to neither, so ids do not depend on the order. If a name shares all its candidates, its id
    is the name with a digest. Equal names get equal ids: check for duplicates first.
    """
    forms = [
        [*map(make_safe_id, (*wanted, name)), _append_digest(name)]
        for name, *wanted in zip(names, *preferred, strict=True)
    ]
    taken = Counter(folded for own in forms for folded in {form.lower() for form in own})
    return [next((form for form in own if taken[form.lower()] == 1), own[-1]) for own in forms]


def _append_digest(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    readable = _UNSAFE.sub("-", _strip_accents(text)).strip("-._")[: MAX_ID_LENGTH - _DIGEST_LENGTH - 1]
    if _RESERVED.fullmatch(readable):
        readable = readable.replace(".", "-")  # Windows looks at the part before the first dot
    return f"{readable}-{digest}" if readable else digest


def _strip_accents(text: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))


def find_input_root(items: Iterable[Item]) -> Path | None:
    """Return the common parent folder of all inputs; None if there are no inputs or no common folder."""
    folders = {os.path.dirname(path) for item in items for path in item.inputs}
    try:
        return Path(os.path.commonpath(folders)) if folders else None
    except ValueError:  # on different drives
        return None
