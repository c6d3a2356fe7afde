"""The messages between a slot, its child process and the template that forks the child."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import StageResult
from tasks.engine.store.outcomes import FailureKind, Output, Usage


@dataclass(frozen=True)
class Request:
    """Run this item in this private folder.

    local   folder to copy its inputs to first; None for no copies
    staged  copies of inputs that were made before, by their paths
    """

    item: Item
    private: Path
    output_dir: Path
    local: Path | None = None
    staged: Mapping[str, str] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the paths as texts, which takes a quarter of the time: pickle splits them into parts."""
        local = self.local and str(self.local)
        return _make_request, (self.item, str(self.private), str(self.output_dir), local, dict(self.staged))


def _make_request(item: Item, private: str, output_dir: str, local: str | None, staged: dict[str, str]) -> Request:
    return Request(item, Path(private), Path(output_dir), Path(local) if local else None, staged)


@dataclass(frozen=True)
class Imported:
    """The template has imported its stage. ``refusal``: why it cannot fork children."""

    refusal: str = ""


@dataclass(frozen=True)
class ForkRequest:
    """Fork a child with these environment variables. The descriptors of its pipe and its log follow."""

    variables: dict[str, str]


@dataclass(frozen=True)
class Rest:
    """The template has no child. End soon."""


@dataclass(frozen=True)
class Forked:
    """A template has forked a child, which has this process id."""

    pid: int


@dataclass(frozen=True)
class Ready:
    """The child has opened its stage."""


@dataclass(frozen=True)
class Finished:
    """The item has finished."""

    result: StageResult
    outputs: tuple[Output, ...]
    usage: Usage


@dataclass(frozen=True)
class Failed:
    """The item failed: the stage raised an error, or the child was lost."""

    kind: FailureKind
    message: str
    usage: Usage
    transient: bool = False
    no_room: str = ""  # why no more files can be written, if that is the cause: it would affect all other items too


Reply = Finished | Failed


def send_message(pipe: Connection, message: Request | Reply) -> None:
    """Send a message, which is received with ``recv``."""
    pipe.send(message)
