"""What a slot and its child process say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import StageResult
from tasks.engine.store.outcomes import FailureKind, Output, Usage


@dataclass(frozen=True)
class Request:
    """Run this item in this private folder. ``local``: where to copy its inputs to first; None leaves them."""

    item: Item
    private: Path
    output_dir: Path
    local: Path | None = None


@dataclass(frozen=True)
class Ready:
    """The child has opened its stage."""


@dataclass(frozen=True)
class Finished:
    """The item ran to its end."""

    result: StageResult
    outputs: tuple[Output, ...]
    usage: Usage


@dataclass(frozen=True)
class Failed:
    """The item failed, whether the stage said so or the child was lost with it."""

    kind: FailureKind
    message: str
    usage: Usage
    transient: bool = False
    no_room: str = ""  # why nothing more can be written, if that is so: no other item will fare better


Reply = Finished | Failed
