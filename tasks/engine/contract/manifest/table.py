"""The rows of a manifest, and the problems of those that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.manifest.values import check_json_name, convert_to_json, shorten
from tasks.engine.contract.text import showable

MAX_ALIKE = 20


@dataclass(frozen=True)
class Row:
    """One row of a manifest.

    where   its place for messages: ``train.json row 3`` (the first is row 1), or ``train.csv line 4``
    values  the cells by column; an empty CSV cell is None
    typed   False if every cell is text, as in CSV
    """

    where: str
    values: Mapping[str, Any]
    typed: bool = True

    def problem(self, column: str, given: str, allowed: str, advice: str = "") -> Problem:
        """Return a problem of this row's cell in ``column``."""
        return Problem(f"{self.where}, {showable(column)}", given, allowed, advice)


@dataclass(frozen=True)
class Table:
    """The readable rows, and the problems of the others. ``types``: Arrow's types of the columns of a Parquet file."""

    rows: tuple[Row, ...] = ()
    problems: tuple[Problem, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, in the order of their first appearance."""
        return tuple(dict.fromkeys(column for row in self.rows for column in row.values))


def cap_problems(problems: Iterable[Problem], limit: int = MAX_ALIKE) -> list[Problem]:
    """Return the first ``limit`` problems of each kind, and one line for the rest of that kind.

    Problems are of one kind if they allow the same and their places differ only in numbers.
    """
    kinds: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        kinds.setdefault((re.sub(r"\d+", "#", problem.where), problem.allowed), []).append(problem)
    return [problem for alike in kinds.values() for problem in _cap_alike(alike, limit)]


def find_missing_columns(table: Table, required: Sequence[str], name: str) -> list[Problem]:
    """Return a problem for each required column that is missing, and for each of its empty cells."""
    found = showable(", ".join(table.columns)) or "none"
    problems: list[Problem] = []
    for column in required:
        if column not in table.columns:
            advice = f"its columns are {found}; add {column!r} or rename the column that holds it"
            problems.append(Problem(name, f"no column {column!r}", f"the columns {', '.join(required)}", advice))
        else:
            problems.extend(_find_empty_cells(table.rows, column))
    return problems


def check_priority(execution: Execution, rows: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """Return a problem if ``--priority`` names a column that the manifest does not have."""
    columns = sorted({name for row in rows for name in row})
    if execution.priority is None or execution.priority in columns:
        return []
    given = f"no column {shorten(execution.priority)}"
    if not columns:
        allowed = "no value: the input has no table with extra columns"
        return [Problem("--priority", given, allowed, "remove --priority")]
    return [Problem("--priority", given, ", ".join(columns), "name a column of the manifest")]


def collect_extra_columns(row: Row, without: Collection[str]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the row's cells except ``without`` as JSON values, and a problem for each that JSON cannot hold."""
    fields: dict[str, Any] = {}
    problems: list[Problem] = []
    for column, value in row.values.items():
        if column in without:
            continue
        try:
            fields[check_json_name(column)] = convert_to_json(value)
        except ValueError as error:
            allowed = "text, numbers, true, false, null, dates, and lists and objects of these"
            problems.append(row.problem(column, str(error), allowed, "leave the column out or change its type"))
    return fields, problems


def _cap_alike(alike: list[Problem], limit: int) -> list[Problem]:
    if len(alike) <= limit + 1:  # one more problem needs no more space than a line that counts it
        return alike
    last = alike[-1]
    rest = Problem(f"and {len(alike) - limit} more like it", f"the last is {last.where}", last.allowed)
    return [*alike[:limit], rest]


def _find_empty_cells(rows: Iterable[Row], column: str) -> Iterator[Problem]:
    for row in rows:
        if row.values.get(column) in (None, ""):
            yield row.problem(column, "nothing", "a value in every row", "fill it in or remove the row")
