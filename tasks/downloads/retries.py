"""Retries of requests to servers that may be busy: retryable errors, and the waits between attempts."""

from __future__ import annotations

import email.utils
import math
from collections.abc import Callable
from typing import TypeVar

from tasks.downloads.cache import MAX_QUIET_SECONDS, Pace
from tasks.engine.contract.errors import TransientError

BUSY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_WAIT_SECONDS = 1.0
_MAX_WAIT_SECONDS = 60.0

T = TypeVar("T")


class TransientFailure(Exception):
    """A transient failure: worth a retry, after ``wait_seconds`` if the server stated a time."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(message)


def retry(action: Callable[[], T], what: str, tries: int, pace: Pace) -> T:
    """Return the result of ``action``, with up to ``tries`` attempts while it raises a transient failure.

    Waits are random between 0 and a bound that doubles each time ("full jitter"), in addition to the time that the
    server requested. Raises TransientError, which names ``what``, after the last attempt.
    """
    for number in range(1, tries + 1):
        try:
            return action()
        except TransientFailure as error:
            if number == tries:
                raise TransientError(f"{what}: {error}; tried {tries} times; run the same command later") from error
            pace.sleep(compute_backoff_seconds(number, error.wait_seconds, pace.chance()))
    raise ValueError(f"tries must be at least 1, not {tries}")


def compute_backoff_seconds(number: int, requested_seconds: float | None, chance: float) -> float:
    """Return the wait after attempt ``number`` (from 1): jitter in addition to the time that the server requested."""
    bound = min(_MAX_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** (number - 1))
    return min(requested_seconds or 0.0, MAX_QUIET_SECONDS) + chance * bound


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Parse a Retry-After header (RFC 9110, 10.2.3): seconds, or the time until a date; None without one."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text[:9])
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_QUIET_SECONDS) if math.isfinite(seconds) else None
