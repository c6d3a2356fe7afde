"""Convert the values of a manifest to JSON, and shorten them for messages."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any

MAX_DEPTH = 50  # of nested lists and objects in one cell; real data stays far below, and recursion must end
_GIVEN_LENGTH = 80
# A scheme has at least two letters, since C:/ is a drive. One slash is enough, since pathlib removes the second.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def shorten(value: object) -> str:
    """Return ``value`` as in JSON or Python, shortened to fit into one line of a message."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except RecursionError:
        return f"a {type(value).__name__} nested too deep to show"
    text = text if len(text) <= _GIVEN_LENGTH else f"{text[: _GIVEN_LENGTH - 3]}..."
    return repr(text) if isinstance(value, str) else text


def is_url(text: str) -> bool:
    """Return True if ``text`` begins like a URL: ``s3://``, ``https:/``."""
    return _URL.match(text) is not None


def is_utf8(text: str) -> bool:
    """Return False for lone surrogates: a file name that is not UTF-8, or half a character from JSON."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def convert_to_json(value: Any, depth: int = 0) -> Any:
    """Convert ``value`` to JSON: dates and times to ISO 8601, NaN (which tables use for "missing") to None.

    Raises ValueError for values without a JSON form (infinities, bytes, decimals, ...), and for values nested deeper
    than MAX_DEPTH, counted from ``depth``.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"lists and objects nested more than {MAX_DEPTH} deep")
    if isinstance(value, str) and not is_utf8(value):
        raise ValueError("text with half a character (a lone surrogate)")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _convert_float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {check_json_name(str(name)): convert_to_json(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [convert_to_json(inner, depth + 1) for inner in value]
    raise ValueError(f"a value of type {type(value).__name__}")


def check_json_name(name: str) -> str:
    """Return ``name``. Raises ValueError if JSON cannot hold it."""
    if not is_utf8(name):
        raise ValueError("a name with half a character (a lone surrogate)")
    return name


def _convert_float(value: float) -> float | None:
    if math.isinf(value):
        raise ValueError("an infinite number")
    return None if math.isnan(value) else value
