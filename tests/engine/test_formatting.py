"""Test numbers, times and nested values as the report shows them, on both sides of each limit."""

from __future__ import annotations

import time

import pytest

from tasks.engine.reporting.report.formatting import (
    flatten,
    format_count,
    format_duration,
    format_memory,
    format_rate,
    format_time,
)


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (999, "999"), (12345, "12,345"), (1234567.4, "1,234,567")])
def test_count_groups_thousands(number: float, text: str) -> None:
    assert format_count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0124, "12 ms"),
        (0.9994, "999 ms"),
        (0.9995, "1.0 s"),
        (1.5, "1.5 s"),
        (59.94, "59.9 s"),
        (59.95, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (3725, "1 h 02 min"),
        (3_600_000, "1,000 h 00 min"),
    ],
)
def test_duration_changes_unit_at_its_limits(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 MiB"), (512 * 2**20, "512 MiB"), (2**30 - 2**20, "1023 MiB"), (2**30, "1.0 GiB"), (3 * 2**29, "1.5 GiB")],
)
def test_memory_changes_unit_at_one_gibibyte(size_bytes: float, text: str) -> None:
    assert format_memory(size_bytes) == text


@pytest.mark.parametrize(
    ("items_per_second", "text"),
    [
        (0, "0 / s"),
        (1, "1 / s"),
        (12.345, "12.3 / s"),
        (1.5, "1.5 / s"),
        (0.5, "30 / min"),
        (0.987654, "59.3 / min"),
        (1 / 60, "1 / min"),
        (0.99 / 60, "59.4 / h"),
        (0.01, "36 / h"),
        (0.0123456, "44.4 / h"),
    ],
)
def test_rate_changes_unit_at_its_limits(items_per_second: float, text: str) -> None:
    assert format_rate(items_per_second) == text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("2026-01-02T03:04:05+00:00", "2026-01-02 03:04:05 UTC"),
        ("2026-01-02T03:04:05.678+02:00", "2026-01-02 01:04:05 UTC"),
        ("yesterday", "yesterday"),
        (None, "None"),
    ],
)
def test_moment_is_utc_and_other_text_is_unchanged(given: object, text: str) -> None:
    assert format_time(given) == text


def test_moment_is_utc_on_a_machine_in_another_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    shown = format_time("2026-01-02T03:04:05+00:00")
    monkeypatch.undo()
    time.tzset()
    assert shown == "2026-01-02 03:04:05 UTC"


def test_flatten_joins_nested_names_in_order_and_shows_none_as_dash() -> None:
    values = {"b": 1, "a": {"x": None, "deep": {"y": "text"}}, "c": {}, "d": False}
    assert flatten(values) == [("b", "1"), ("a.x", "–"), ("a.deep.y", "text"), ("d", "False")]
