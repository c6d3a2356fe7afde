"""The rows of a manifest, and the problems of those that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.manifest.values import json_name, json_value, shorten
from tasks.engine.contract.text import showable

MAX_ALIKE = 20


@dataclass(frozen=True)
class Row:
    """One row of a manifest.

    where   how a user finds it: ``train.json row 3`` (the first is row 1), or ``train.csv line 4`` in files of lines
    values  the cells by column; a cell that is empty in CSV is None
    typed   False where every cell is text, as in CSV
    """

    where: str
    values: Mapping[str, Any]
    typed: bool = True

    def problem(self, column: str, given: str, allowed: str, advice: str = "") -> Problem:
        """A problem with this row's cell in ``column``."""
        return Problem(f"{self.where}, {showable(column)}", given, allowed, advice)


@dataclass(frozen=True)
class Table:
    """The rows that could be read, and the problems of those that could not."""

    rows: tuple[Row, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of any row, in the order of first appearance."""
        return tuple(dict.fromkeys(column for row in self.rows for column in row.values))


def cap_problems(problems: Iterable[Problem], limit: int = MAX_ALIKE) -> list[Problem]:
    """The first ``limit`` problems of each kind, and one line for the rest of that kind.

    Two problems are of one kind when the same is allowed and their places differ in numbers only.
    """
    kinds: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        kinds.setdefault((re.sub(r"\d+", "#", problem.where), problem.allowed), []).append(problem)
    return [problem for alike in kinds.values() for problem in _capped(alike, limit)]


def missing_columns(table: Table, required: Sequence[str], name: str) -> list[Problem]:
    """A problem for each column of ``required`` that no row has, or else for each row that leaves it empty."""
    found = showable(", ".join(table.columns)) or "none"
    problems: list[Problem] = []
    for column in required:
        if column not in table.columns:
            advice = f"its columns are {found}; add {column!r} or rename the column that holds it"
            problems.append(Problem(name, f"no column {column!r}", f"the columns {', '.join(required)}", advice))
        else:
            problems.extend(_empty_cells(table.rows, column))
    return problems


def unknown_priority(execution: Execution, rows: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """A problem where ``--priority`` names a column that no row of the manifest has."""
    columns = sorted({name for row in rows for name in row})
    if execution.priority is None or execution.priority in columns:
        return []
    allowed = ", ".join(columns) or "no column: the manifest has none of its own"
    return [Problem("--priority", f"no column {shorten(execution.priority)}", allowed, "name a column of the manifest")]


def carried(row: Row, without: Collection[str]) -> tuple[dict[str, Any], list[Problem]]:
    """The row's cells but those in ``without``, as JSON values, and a problem for each that has no such value."""
    fields: dict[str, Any] = {}
    problems: list[Problem] = []
    for column, value in row.values.items():
        if column in without:
            continue
        try:
            fields[json_name(column)] = json_value(value)
        except ValueError as error:
            allowed = "text, numbers, true, false, null, dates, and lists and objects of these"
            problems.append(row.problem(column, str(error), allowed, "leave the column out or change its type"))
    return fields, problems


def _capped(alike: list[Problem], limit: int) -> list[Problem]:
    if len(alike) <= limit + 1:  # the line that would stand for one more is no shorter than that one
        return alike
    last = alike[-1]
    rest = Problem(f"and {len(alike) - limit} more like it", f"the last is {last.where}", last.allowed)
    return [*alike[:limit], rest]


def _empty_cells(rows: Iterable[Row], column: str) -> Iterator[Problem]:
    for row in rows:
        if row.values.get(column) in (None, ""):
            yield row.problem(column, "nothing", "a value in every row", "fill it in or remove the row")
