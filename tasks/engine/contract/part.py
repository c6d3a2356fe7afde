"""The part of the items that one of several runs over the same manifest takes: ``--part K/N``."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

MAX_PARTS = 9999
ALLOWED = f"K/N, where K is the number of the part from 1 to N, and N at most {MAX_PARTS}; for example 2/4"
_OPTION = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")
_FOLDER = re.compile(r"part-([1-9][0-9]{0,3})-of-([1-9][0-9]{0,3})")


@dataclass(frozen=True)
class Part:
    """Part ``number`` of ``count``, from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def folder(self) -> str:
        """The name of the part's own output folder, in the output folder of all parts."""
        return f"part-{self.number}-of-{self.count}"

    def has(self, item_id: str) -> bool:
        """Return True if an item given as input belongs to this part.

        Depends on its id only: neither the order of the items nor further items move it to another part.
        """
        digest = hashlib.sha256(item_id.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


def parse_part(text: str) -> Part:
    """Return the part that ``K/N`` names. Raises ValueError for any other text."""
    part = _match(_OPTION, text)
    if part is None:
        raise ValueError(ALLOWED)
    return part


def check_part(text: str) -> str:
    """Return ``text`` if it names a part. Raises ValueError otherwise."""
    parse_part(text)
    return text


def find_part(folder: str) -> Part | None:
    """Return the part whose folder has the name ``folder``; None for any other name."""
    return _match(_FOLDER, folder)


def _match(pattern: re.Pattern[str], text: str) -> Part | None:
    matched = pattern.fullmatch(text)
    if matched is None:
        return None
    part = Part(int(matched[1]), int(matched[2]))
    return part if part.number <= part.count else None
