"""Errors that a user sees: an HTTP status and one clear sentence."""

from __future__ import annotations

from tasks.engine.contract.text import one_line


class WebError(Exception):
    """A refused request. ``sentence`` says what happened and what to do."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.sentence = one_line(sentence)
        self.headers = headers or {}
        super().__init__(self.sentence)


class PrefectUnavailable(WebError):
    """The Prefect server does not answer, or refuses."""

    def __init__(self, why: str) -> None:
        sentence = f"The Prefect server {why}. Nothing is lost: try again when it is back."
        super().__init__(503, sentence, {"Retry-After": "10"})


def make_not_found() -> WebError:
    """Return the error for an upload that does not exist, or that belongs to someone else."""
    return WebError(404, "There is no such upload. It may have been deleted, or it has expired.")


def make_full_disk() -> WebError:
    """Return the error for a full disk."""
    return WebError(507, "The disk of the server is full. What was uploaded is kept: try again later.")
