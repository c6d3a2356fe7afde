"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def count(number: float) -> str:
    """``12,345``."""
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """``12 ms``, ``3.2 s``, ``2 min 05 s`` or ``1 h 02 min``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{count(hours)} h {minutes:02d} min"


def memory(size_bytes: float) -> str:
    """``512 MiB`` or ``1.5 GiB``."""
    if size_bytes < 2**30:
        return f"{size_bytes / 2**20:.0f} MiB"
    return f"{size_bytes / 2**30:.1f} GiB"


def rate(items_per_second: float) -> str:
    """Items a second, or a minute or an hour where that reads better."""
    if items_per_second >= 1 or items_per_second == 0:
        return f"{items_per_second:,.3g} / s"
    if items_per_second * 60 >= 1:
        return f"{items_per_second * 60:.3g} / min"
    return f"{items_per_second * 3600:.3g} / h"


def moment(text: object) -> str:
    """ISO 8601 as ``2026-01-02 03:04:05 UTC``; anything else as it is."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return str(text)


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as dotted names with their values, in their own order."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", "–" if value is None else str(value)))
    return rows
