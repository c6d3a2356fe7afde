"""Errors of stores. All of them end the run in one line, unless the caller handles them."""

from __future__ import annotations

from tasks.engine.contract.errors import RunError


class StoreError(RunError):
    """The store refuses a request, or cannot be used."""


class StoreUnavailable(StoreError):
    """The store did not answer, also after retries."""


class ObjectMissing(StoreError):
    """There is no such object."""


class ObjectExists(StoreError):
    """An object that must be new exists."""


class ObjectChanged(StoreError):
    """The object is another one than before."""


class Transient(Exception):
    """A failure of one request that a retry may solve. ``seconds``: the time that the store asks to wait."""

    def __init__(self, reason: str, seconds: float = 0.0) -> None:
        self.seconds = seconds
        super().__init__(reason)
