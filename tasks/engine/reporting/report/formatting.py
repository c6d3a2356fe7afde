"""Format numbers, durations and times for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def format_count(number: float) -> str:
    """Format a count: ``12,345``."""
    return f"{number:,.0f}"


def format_duration(seconds: float) -> str:
    """Format a duration: ``12 ms``, ``3.2 s``, ``2 min 05 s`` or ``1 h 02 min``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{format_count(hours)} h {minutes:02d} min"


def format_memory(size_bytes: float) -> str:
    """Format a size: ``512 MiB`` or ``1.5 GiB``."""
    if size_bytes < 2**30:
        return f"{size_bytes / 2**20:.0f} MiB"
    return f"{size_bytes / 2**30:.1f} GiB"


def format_rate(items_per_second: float) -> str:
    """Format a rate per second, or per minute or per hour if it is low."""
    if items_per_second >= 1 or items_per_second == 0:
        return f"{items_per_second:,.3g} / s"
    if items_per_second * 60 >= 1:
        return f"{items_per_second * 60:.3g} / min"
    return f"{items_per_second * 3600:.3g} / h"


def format_time(text: object) -> str:
    """Format an ISO 8601 time as ``2026-01-02 03:04:05 UTC``; return any other text unchanged."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return str(text)


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested mappings to dotted names and values, in order."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", "–" if value is None else str(value)))
    return rows
