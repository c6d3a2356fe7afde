"""The outcome of an item: its record if it is done, its failure if not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, overload

from pydantic import AfterValidator, Field
from pydantic_core import from_json, to_json

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Value
from tasks.engine.store.layout import is_output_path
from tasks.engine.store.tree import is_plain_path

# ``upstream``: an item that this one needs failed. It is never retried, and no record of it is kept.
FailureKind = Literal["bad_input", "timeout", "crash", "out_of_memory", "error", "upstream"]
OutcomeName = Literal["done", "cached", "failed", "remaining"]

# Columns that all rows of items.parquet have; a stage's values must use other names.
COLUMNS = frozenset(
    {"id", "name", "path", "stage", "outcome", "failure_kind", "message", "attempts", "seconds", "cpu_seconds"}
    | {"peak_memory_bytes", "started_at", "slot", "outputs"}
)


# Output folders may come from anywhere. A record outside these bounds was not written by a run.
MAX_RECORD_BYTES = 128 * 2**20
_MAX_INTEGER = 2**63 - 1
_MAX_SECONDS = 253_402_300_799.0  # the end of the year 9999, the last that Python's dates know
_MAX_TEXT = 100_000


def _check_output_path(path: str) -> str:
    if not is_output_path(path):
        raise ValueError("not the path of an output")
    return path


def _check_values(values: Mapping[str, Value]) -> Mapping[str, Value]:
    if COLUMNS & values.keys():
        raise ValueError("values with the names of common columns")
    return values


def _check_log(path: str) -> str:
    if path and not (path.startswith(".headrace/logs/") and is_plain_path(path)):
        raise ValueError("not the path of a log")
    return path


OutputPath = Annotated[str, AfterValidator(_check_output_path)]
Text = Annotated[str, Field(max_length=_MAX_TEXT)]
Number = Annotated[int, Field(ge=0, le=_MAX_INTEGER)]
Seconds = Annotated[float, Field(ge=-_MAX_SECONDS, le=_MAX_SECONDS, allow_inf_nan=False)]
Attempts = Annotated[int, Field(ge=0, le=2**31 - 1)]
Values = Annotated[Mapping[str, Value], Field(max_length=1000), AfterValidator(_check_values)]


@dataclass(frozen=True)
class Output:
    """One published file: ``path`` relative to the output folder, and ``size_bytes`` and ``sha256`` of its content."""

    path: OutputPath
    size_bytes: Number
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources that one attempt of an item used. ``started_at`` is in seconds since the epoch."""

    started_at: Annotated[float, Field(ge=0, le=_MAX_SECONDS, allow_inf_nan=False)] = 0.0
    seconds: Seconds = 0.0
    cpu_seconds: Seconds = 0.0
    peak_memory_bytes: Number = 0
    slot: Text = ""


@dataclass(frozen=True)
class Try:
    """One earlier attempt of an item, for its history."""

    run_id: Text
    outcome: OutcomeName
    usage: Usage
    message: Text = ""

    def line(self) -> str:
        """Return the attempt as one line of text."""
        when = datetime.fromtimestamp(self.usage.started_at, UTC).isoformat(timespec="seconds")
        why = f"  {self.message}" if self.message else ""
        return f"{when}  {self.outcome}  {self.usage.seconds:.2f} s  run {self.run_id}{why}"


@dataclass(frozen=True)
class Record:
    """The proof that an item is done. Written last, after its outputs are in place.

    ``dropped``: its outputs were removed once the items made from them were done. ``basis``: the parts of its
    key as JSON (see :mod:`tasks.engine.planning.basis`), read only if they differ; empty in records of older versions.
    """

    id: Text
    stage: Text
    version: Number
    key: Text
    outputs: tuple[Output, ...]
    values: Values
    detail: Mapping[str, Any]
    usage: Usage
    attempts: Attempts
    run_id: Text
    history: Annotated[tuple[Try, ...], Field(max_length=100)] = ()
    dropped: bool = False
    basis: Text = ""

    def to_attempt(self) -> Try:
        """Return this success as an entry of the item's history."""
        return Try(self.run_id, "done", self.usage)


@dataclass(frozen=True)
class Failure:
    """The reason why an item is not done. ``log`` is relative to the output folder; empty if there is none."""

    id: Text
    stage: Text
    key: Text
    kind: FailureKind
    message: Text
    attempts: Attempts
    usage: Usage
    run_id: Text
    transient: bool = False
    log: Annotated[str, AfterValidator(_check_log)] = ""
    history: Annotated[tuple[Try, ...], Field(max_length=100)] = ()

    def to_attempt(self) -> Try:
        """Return this failure as an entry of the item's history."""
        return Try(self.run_id, "failed", self.usage, f"{self.kind}: {self.message}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one item in a run: its row in ``items.parquet`` and ``failures.json``.

    Records and failures stay in their files, because those of all items would fill the memory. ``name`` and ``path``
    come from the item and not from its record, so items of older versions have them too.
    """

    id: str
    stage: str
    outcome: OutcomeName
    attempts: int = 0
    usage: Usage = Usage()  # of the last try; zeros for an item that was not attempted
    run_id: str = ""  # the run that made the item or failed at it; empty for an item that was not attempted
    outputs: tuple[str, ...] = ()
    values: Mapping[str, Value] = field(default_factory=dict)
    failure_kind: FailureKind | None = None
    message: str = ""
    log: str = ""
    transient: bool = False
    name: str = ""
    path: str = ""
    # Of an item that has just been done; not kept in :class:`Outcomes`.
    output_bytes: int = field(default=0, compare=False, repr=False)

    def named(self, item: Item) -> Outcome:
        """Return the same outcome with the name and the path of ``item``."""
        return replace(self, name=item.name, path=item.path)

    @property
    def title(self) -> str:
        """The user's name for the item."""
        return self.name or self.id

    @property
    def counted_as(self) -> str:
        """The name of the count that the item belongs to."""
        return "upstream" if self.failure_kind == "upstream" else self.outcome

    @classmethod
    def of_record(
        cls, record: Record, outcome: Literal["done", "cached"] = "done", item: Item | None = None
    ) -> Outcome:
        """Return the outcome of an item that this run (``done``) or an earlier one (``cached``) has done.

        With ``item``, it has the name and the path of that item.
        """
        name, path = (item.name, item.path) if item else ("", "")
        paths = tuple([output.path for output in record.outputs])
        return cls(
            record.id,
            record.stage,
            outcome,
            record.attempts,
            record.usage,
            record.run_id,
            paths,
            record.values,
            name=name,
            path=path,
            output_bytes=sum([output.size_bytes for output in record.outputs]) if outcome == "done" else 0,
        )

    @classmethod
    def of_failure(cls, failure: Failure) -> Outcome:
        """Return the outcome of a failed item."""
        return cls(
            failure.id,
            failure.stage,
            "failed",
            failure.attempts,
            failure.usage,
            failure.run_id,
            failure_kind=failure.kind,
            message=failure.message,
            log=failure.log,
            transient=failure.transient,
        )


class Outcomes(Sequence[Outcome]):
    """A sequence of outcomes in a fifth of the memory: each is stored packed, and unpacked on access.

    Of items of ``stage`` that wait, only the item is stored, which exists anyway.
    """

    def __init__(self, outcomes: Iterable[Outcome] = (), stage: str = "") -> None:
        self._packed: list[bytes | Item] = [_pack(outcome) for outcome in outcomes]
        self._stage = stage

    def __len__(self) -> int:
        """Return the number of outcomes."""
        return len(self._packed)

    @overload
    def __getitem__(self, place: int) -> Outcome: ...

    @overload
    def __getitem__(self, place: slice) -> Outcomes: ...

    def __getitem__(self, place: int | slice) -> Outcome | Outcomes:
        """Return the outcome at ``place``."""
        if isinstance(place, slice):
            part = Outcomes(stage=self._stage)
            part._packed = self._packed[place]
            return part
        return self._read(self._packed[place])

    def __setitem__(self, place: int, outcome: Outcome) -> None:
        """Replace the outcome at ``place``."""
        self._packed[place] = _pack(outcome)

    def __iter__(self) -> Iterator[Outcome]:
        """Yield the outcomes in order."""
        return map(self._read, self._packed)

    def _read(self, stored: bytes | Item) -> Outcome:
        if isinstance(stored, bytes):
            return _unpack(stored)
        return Outcome(stored.id, self._stage, "remaining").named(stored)

    def failed(self) -> Iterator[Outcome]:
        """Yield the failed outcomes without unpacking the others."""
        made = (_unpack(packed) for packed in self._packed if isinstance(packed, bytes) and b'"failed"' in packed)
        return (outcome for outcome in made if outcome.outcome == "failed")

    def append(self, outcome: Outcome) -> None:
        """Add ``outcome`` at the end."""
        self._packed.append(_pack(outcome))

    def append_waiting(self, item: Item) -> None:
        """Add the outcome ``remaining`` of an item of the stage."""
        self._packed.append(item)

    def extend(self, others: Outcomes) -> None:
        """Add ``others`` at the end."""
        same = others._stage == self._stage
        self._packed += others._packed if same else map(others._pack, others._packed)

    def _pack(self, stored: bytes | Item) -> bytes:
        return stored if isinstance(stored, bytes) else _pack(self._read(stored))

    def picked(self, places: Iterable[int]) -> Outcomes:
        """Return the outcomes at ``places``, in that order."""
        part = Outcomes(stage=self._stage)
        part._packed = [self._packed[place] for place in places]
        return part

    def tally(self) -> Counts:
        """Count the outcomes."""
        waiting = sum(not isinstance(stored, bytes) for stored in self._packed)
        settled = (_unpack(stored) for stored in self._packed if isinstance(stored, bytes))
        return Counts.of(settled) + Counts(remaining=waiting)


def _pack(outcome: Outcome) -> bytes:
    usage = outcome.usage
    told = (usage.started_at, usage.seconds, usage.cpu_seconds, usage.peak_memory_bytes, usage.slot)
    fields = (outcome.id, outcome.stage, outcome.outcome, outcome.attempts, told, outcome.run_id, outcome.outputs)
    rest = (outcome.values, outcome.failure_kind, outcome.message, outcome.log, outcome.transient)
    names = (_replace_surrogates(outcome.name), _replace_surrogates(outcome.path))
    return to_json((*fields, *rest, *names))


def _replace_surrogates(text: str) -> str:
    """Return ``text`` with surrogates, as in file names that are not UTF-8, escaped as in Python."""
    return text.encode("utf-8", "backslashreplace").decode()


def _unpack(packed: bytes) -> Outcome:
    first, stage, outcome, attempts, told, run_id, outputs, *rest = from_json(packed)
    return Outcome(first, stage, outcome, attempts, Usage(*told), run_id, tuple(outputs), *rest)


@dataclass(frozen=True)
class Counts:
    """The numbers of items by outcome.

    ``upstream`` items failed because an item that they need failed; ``failed`` does not include them.
    """

    done: int = 0
    cached: int = 0
    failed: int = 0
    remaining: int = 0
    upstream: int = 0

    @property
    def total(self) -> int:
        """The number of all items."""
        return self.done + self.cached + self.failed + self.remaining + self.upstream

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.done + other.done,
            self.cached + other.cached,
            self.failed + other.failed,
            self.remaining + other.remaining,
            self.upstream + other.upstream,
        )

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Counts:
        """Count ``outcomes``."""
        return cls(**Counter(outcome.counted_as for outcome in outcomes))
