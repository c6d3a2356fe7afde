"""Ids in a manifest: unique, and without characters that mislead."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest.table import Row
from tasks.engine.contract.manifest.values import shorten
from tasks.engine.contract.text import UNSHOWABLE

MAX_NAME_LENGTH = 4096
_IDS = f"a whole number, or text without control or hidden characters and '..', of at most {MAX_NAME_LENGTH} characters"


def read_ids(rows: Iterable[Row], column: str = "id") -> tuple[list[str | None], list[Problem]]:
    """Return the id of each row as text, in order; None, and a problem, if it is unusable or was used before.

    An id may be any text, or a whole number; :func:`tasks.engine.contract.items.make_distinct_ids` derives file names.
    A row without an id gives None and no problem: :func:`find_missing_columns` reports it.
    """
    ids: list[str | None] = []
    problems: list[Problem] = []
    first: dict[str, str] = {}
    for row in rows:
        found = _read_id(row, column, first)
        ids.append(found if isinstance(found, str) else None)
        problems.extend([found] if isinstance(found, Problem) else [])
    return ids, problems


def _read_id(row: Row, column: str, first: dict[str, str]) -> str | Problem | None:
    value = row.values.get(column)
    if value in (None, ""):
        return None
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not _is_usable_name(text):
        return row.problem(column, shorten(value), _IDS, "rename it")
    if text in first:
        given = f"{shorten(text)} again, as in {first[text]}"
        return row.problem(column, given, "each id once", "rename or remove one of the two")
    first[text] = row.where
    return text


def _is_usable_name(text: str) -> bool:
    is_plain = not UNSHOWABLE.search(text)
    is_path_upwards = bool({".", ".."} & set(re.split(r"[/\\]", text)))
    return bool(text.strip()) and len(text) <= MAX_NAME_LENGTH and is_plain and not is_path_upwards
