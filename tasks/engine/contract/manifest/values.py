"""Values of a manifest: what JSON can hold, and how messages show them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any

MAX_DEPTH = 50  # lists and objects within each other in one cell: no data has more, and recursion ends somewhere
_GIVEN_LENGTH = 80
# A scheme of two letters at least, for C:/ is a drive, and one slash at least, for pathlib takes the second one away.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def shorten(value: object) -> str:
    """``value`` as it would stand in JSON or Python, cut to a length that fits one line of a message."""
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
    """False for lone surrogates: a file name that is not UTF-8, or half a character out of JSON."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def json_value(value: Any, depth: int = 0) -> Any:
    """``value`` as JSON can hold it: dates and times in ISO 8601, NaN (which tables use for "missing") as None.

    Raises ValueError for what has no such form: infinities, bytes, decimals and the like, and for what is nested deeper
    than MAX_DEPTH, counted from ``depth``.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"lists and objects nested more than {MAX_DEPTH} deep")
    if isinstance(value, str) and not is_utf8(value):
        raise ValueError("text with half a character (a lone surrogate)")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _json_float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {json_name(str(name)): json_value(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [json_value(inner, depth + 1) for inner in value]
    raise ValueError(f"a value of type {type(value).__name__}")


def json_name(name: str) -> str:
    """``name`` itself. Raises ValueError where JSON cannot hold it."""
    if not is_utf8(name):
        raise ValueError("a name with half a character (a lone surrogate)")
    return name


def _json_float(value: float) -> float | None:
    if math.isinf(value):
        raise ValueError("an infinite number")
    return None if math.isnan(value) else value
