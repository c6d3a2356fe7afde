"""The content of the report page."""

from __future__ import annotations

import base64
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """One item on the time line: its slot, its stage, and its start and end in seconds since the run's start."""

    slot: str
    start_seconds: float
    end_seconds: float
    name: str
    outcome: str
    stage: str = ""


@dataclass(frozen=True)
class Picture:
    """An encoded image of an item's result, for example a contact sheet."""

    title: str
    caption: str
    data: bytes
    media_type: str = "image/jpeg"

    @property
    def address(self) -> str:
        """The image as a ``data:`` URL."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True)
class Failure:
    """A failed item. ``log`` is the path of its log, or the last lines; ``path`` is None if it has no input."""

    id: str
    stage: str
    failure_kind: str
    message: str
    attempts: int
    log: str
    name: str = ""
    path: str | None = None
