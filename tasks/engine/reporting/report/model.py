"""What the page is made of."""

from __future__ import annotations

import base64
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """One item on the time line: where and when it ran, in seconds since the run's start."""

    slot: str
    start_seconds: float
    end_seconds: float
    name: str
    outcome: str


@dataclass(frozen=True)
class Picture:
    """An encoded image that shows what an item gave, such as a contact sheet."""

    title: str
    caption: str
    data: bytes
    media_type: str = "image/jpeg"

    @property
    def address(self) -> str:
        """The image itself as a ``data:`` address."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True)
class Failure:
    """An item that failed. ``log`` is its log's path, or the log's last lines; ``path`` is None without an input."""

    id: str
    stage: str
    failure_kind: str
    message: str
    attempts: int
    log: str
    name: str = ""
    path: str | None = None
