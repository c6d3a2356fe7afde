"""What became of an item: its record where it is done, its failure where it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from tasks.engine.stage import Value

FailureKind = Literal["bad_input", "timeout", "crash", "out_of_memory", "error"]
OutcomeName = Literal["done", "cached", "failed", "remaining"]
OUTCOMES: tuple[OutcomeName, ...] = ("done", "cached", "failed", "remaining")


@dataclass(frozen=True)
class Output:
    """One published file: ``path`` relative to the output folder, ``size_bytes`` and ``sha256`` of its content."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Usage:
    """What one try of an item took. ``started_at`` is in seconds since the epoch."""

    started_at: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    slot: str = ""


@dataclass(frozen=True)
class Try:
    """One earlier try of an item, for its history."""

    run_id: str
    outcome: OutcomeName
    usage: Usage
    message: str = ""

    def line(self) -> str:
        """The try in one line."""
        when = datetime.fromtimestamp(self.usage.started_at, UTC).isoformat(timespec="seconds")
        why = f"  {self.message}" if self.message else ""
        return f"{when}  {self.outcome}  {self.usage.seconds:.2f} s  run {self.run_id}{why}"


@dataclass(frozen=True)
class Record:
    """The proof that an item is done. Written last, after its outputs are in place."""

    id: str
    stage: str
    version: int
    key: str
    outputs: tuple[Output, ...]
    values: Mapping[str, Value]
    detail: Mapping[str, Any]
    usage: Usage
    attempts: int
    run_id: str
    history: tuple[Try, ...] = ()

    def as_try(self) -> Try:
        """This success as a part of the item's history."""
        return Try(self.run_id, "done", self.usage)


@dataclass(frozen=True)
class Failure:
    """Why an item is not done. ``log`` is relative to the output folder, empty where there is none."""

    id: str
    stage: str
    key: str
    kind: FailureKind
    message: str
    attempts: int
    usage: Usage
    run_id: str
    transient: bool = False
    log: str = ""
    history: tuple[Try, ...] = ()

    def as_try(self) -> Try:
        """This failure as a part of the item's history."""
        return Try(self.run_id, "failed", self.usage, f"{self.kind}: {self.message}")


@dataclass(frozen=True)
class Outcome:
    """What a run has to say of one item."""

    id: str
    stage: str
    outcome: OutcomeName
    record: Record | None = None
    failure: Failure | None = None

    @property
    def usage(self) -> Usage:
        """What the last try took; zeros for an item that was not attempted."""
        source = self.record or self.failure
        return source.usage if source else Usage()

    @property
    def run_id(self) -> str:
        """The run that made the item or failed at it; empty for an item that was not attempted."""
        source = self.record or self.failure
        return source.run_id if source else ""


@dataclass(frozen=True)
class Counts:
    """Items by outcome."""

    done: int = 0
    cached: int = 0
    failed: int = 0
    remaining: int = 0

    @property
    def total(self) -> int:
        """All items."""
        return self.done + self.cached + self.failed + self.remaining

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.done + other.done,
            self.cached + other.cached,
            self.failed + other.failed,
            self.remaining + other.remaining,
        )

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Counts:
        """Count ``outcomes``."""
        tally = Counter(outcome.outcome for outcome in outcomes)
        return cls(**{name: tally[name] for name in OUTCOMES})
