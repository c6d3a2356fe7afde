"""Candidates that the table of targets gives: one per row, several per star."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest import Row
from tasks.transits.target_columns import Measured, TargetColumns, read_epoch, read_number

_PERIOD_DAYS = (0.01, 100_000.0)
_DURATION_DAYS = (0.001, 20.0)
_DEPTH = (1e-7, 1.0)


@dataclass(frozen=True)
class Ephemeris:
    """Given values of a candidate; None if unknown.

    epoch_bjd  a mid-transit time as a full Julian date
    depth      as a fraction
    """

    period_days: float | None = None
    epoch_bjd: float | None = None
    duration_days: float | None = None
    depth: float | None = None


@dataclass(frozen=True)
class GivenCandidate:
    """One row of the table of targets, about one candidate of a star.

    label   the row's ``label`` as text
    fields  the row's other columns, as JSON values
    where   the row for messages
    """

    ephemeris: Ephemeris
    label: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    where: str = field(default="", compare=False)


def read_ephemeris(row: Row, columns: TargetColumns) -> tuple[Ephemeris, list[Problem]]:
    """Return the row's ephemeris, and the problems of its cells."""
    epoch = read_epoch(row, columns.epoch) if columns.epoch else None
    values = {
        "period_days": _read(row, columns.period, _PERIOD_DAYS, "days"),
        "epoch_bjd": epoch,
        "duration_days": _read(row, columns.duration, _DURATION_DAYS, "the unit of the column's name"),
        "depth": _read(row, columns.depth, _DEPTH, "the unit of the column's name"),
    }
    problems = [value for value in values.values() if isinstance(value, Problem)]
    if problems:
        return Ephemeris(), problems
    ephemeris = Ephemeris(**values)  # type: ignore[arg-type]  # no value is a problem
    if columns.duration and _is_too_long(ephemeris):
        given = f"{ephemeris.duration_days:g} days in transit with a period of {ephemeris.period_days:g} days"
        return ephemeris, [row.problem(columns.duration.column, given, "less than the period", "check its unit")]
    return ephemeris, []


def collect_common_fields(candidates: Sequence[GivenCandidate]) -> dict[str, Any]:
    """Return the columns that have the same value in all rows of a star."""
    first, *others = (candidate.fields for candidate in candidates)
    return {name: value for name, value in first.items() if all(_is_same(value, other.get(name)) for other in others)}


def _is_same(value: object, other: object) -> bool:
    return type(value) is type(other) and value == other


def _read(row: Row, column: Measured | None, limits: tuple[float, float], unit: str) -> float | Problem | None:
    return read_number(row, column.column, limits, unit, column.unit) if column else None


def _is_too_long(ephemeris: Ephemeris) -> bool:
    period, duration = ephemeris.period_days, ephemeris.duration_days
    return period is not None and duration is not None and duration >= period
