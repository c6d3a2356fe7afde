"""Reads the rows of a table of targets, and joins the rows of each star."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest import (
    InputFolder,
    Row,
    Table,
    collect_extra_columns,
    find_missing_columns,
    shorten,
)
from tasks.engine.contract.text import showable
from tasks.transits.columns import choose_free_names
from tasks.transits.folder import CATALOGUES, ListedFile, make_star_key, parse_catalogue_name
from tasks.transits.given import GivenCandidate, collect_common_fields, read_ephemeris
from tasks.transits.light_curve import Star
from tasks.transits.listing import Listing, add_files
from tasks.transits.target import Target
from tasks.transits.target_columns import (
    LABEL,
    STAR,
    TargetColumns,
    get_cell,
    is_filler,
    parse_number,
    read_number,
)

MISSIONS = {"tess": "TESS", "kepler": "Kepler", "k2": "K2"}
_CATALOGUE_OF = {mission: catalogue for catalogue, mission in CATALOGUES.items()}
_PARTS = {
    "sector": "TESS", "sectors": "TESS", "quarter": "Kepler", "quarters": "Kepler", "campaign": "K2", "campaigns": "K2",
}  # fmt: skip
_MAX_PART = 999
_PART_LIST = f"numbers from 0 to {_MAX_PART}, such as 1, 1;2 or 1-3"


def describe_copies(table: Table, columns: TargetColumns, name: str, reserved: Collection[str]) -> list[str]:
    """Return a note about copied columns that share a name with those of the results."""
    known = _list_known(columns)
    copied = [column for column in table.columns if column not in known]
    pairs = zip(copied, choose_free_names(copied), strict=True)
    renamed = [f"{column!r} to {free!r}" for column, free in pairs if column in reserved]
    return [f"{name}: renamed {', '.join(renamed)}: the results have columns of these names"] if renamed else []


def _find_number_columns(table: Table) -> dict[str, type[int | float]]:
    """Return the columns of text, as in CSV, whose cells are all numbers that do not change when written again.

    So ``007`` and ``1.10`` stay text: they may be names.
    """
    columns = {column: [row.values.get(column) for row in table.rows] for column in table.columns}
    if any(row.typed for row in table.rows):
        return {}
    return {column: kind for column, cells in columns.items() if (kind := _find_number_type(cells))}


def _find_number_type(cells: Sequence[object]) -> type[int | float] | None:
    texts = [cell for cell in cells if isinstance(cell, str)]
    kinds: tuple[type[int | float], ...] = (int, float)
    return next((kind for kind in kinds if texts and all(_is_exact(text, kind) for text in texts)), None)


def _is_exact(text: str, kind: type[int | float]) -> bool:
    try:
        number = kind(text)
    except ValueError:
        return False
    is_plain = kind is float and text.lstrip("-").isdecimal() and str(int(text)) == text  # a whole number among others
    return math.isfinite(number) and (str(number) == text or is_plain)


def _convert_number(value: Any, kind: type[int | float] | None) -> Any:
    return kind(value) if kind is not None and isinstance(value, str) else value


def _list_known(columns: TargetColumns) -> frozenset[str]:
    """Return the columns whose values are in columns of the results, so they are not copied as well."""
    return columns.list_own() | {"mission", "path", *_PARTS}


@dataclass(frozen=True)
class _RowTarget:
    """The star of one row, with the row's candidate."""

    target: Target
    candidate: GivenCandidate


class TableReader:
    """Reads the rows of a table of targets, and joins those of one star."""

    def __init__(
        self, columns: TargetColumns, name: str, folder: InputFolder | None, listing: Listing, notes: list[str]
    ) -> None:
        self.columns = columns
        self.known = _list_known(columns)
        self.name = name
        self.notes = notes
        self.folder = folder
        self.listing = listing
        self.claimed: set[str] = set()
        self.types: dict[str, str] = {}
        self.numbers: Mapping[str, type[int | float]] = {}
        self._unknown: Counter[str] = Counter()

    def read(self, table: Table) -> tuple[list[Target], list[Problem]]:
        """Return the stars in the order of their first rows, and the problems of the others."""
        problems = find_missing_columns(table, (self.columns.target,), self.name)
        self.types = {name: kind for name, kind in table.types.items() if name not in self.known}
        label = table.types.get(self.columns.label or "")
        self.types |= {LABEL: label} if label else {}
        self.numbers = _find_number_columns(table)
        stars_named = (self._read_row_name(row) for row in table.rows)
        self.claimed = {star for star in stars_named if isinstance(star, str) and star in self.listing.by_star}
        stars: dict[str, list[_RowTarget]] = {}
        for row in table.rows:
            self._count_unknown_values(row)
            read, bad_cells = self._read_row(row)
            problems += bad_cells
            if read is None:
                continue
            rows = stars.setdefault(self._get_star_key(read.target), [])
            conflict = self._find_conflict(row, read, rows)
            problems += [conflict] if conflict else []
            rows += [] if conflict else [read]
        different = [rows for rows in stars.values() if any(len(_list_values(rows, word)) > 1 for word in STAR)]
        if different:
            names = ", ".join(rows[0].target.name for rows in different[:3])
            more = f" and {len(different) - 3} more" if len(different) > 3 else ""
            given = f"{self.name}: stellar parameters differ between the rows of {showable(names)}{more}"
            self.notes.append(f"{given}; the first value of each is used")
        self._note_unknown_values()
        return [_join_rows(rows) for rows in stars.values()], problems

    def _note_unknown_values(self) -> None:
        if self._unknown:
            listed = ", ".join(f"{column!r} {count} times" for column, count in sorted(self._unknown.items()))
            self.notes.append(f"{self.name}: read nan, -1 and 0 as unknown: {listed}")

    def _count_unknown_values(self, row: Row) -> None:
        measured = [use.column for use in (self.columns.period, self.columns.epoch) if use]
        measured += [use.column for use in (self.columns.duration, self.columns.depth) if use]
        for column in (*measured, *(name for names in self.columns.star.values() for name in names)):
            value = row.values.get(column)
            is_word = isinstance(value, str) and value.strip() != "" and get_cell(row, column) is None
            if is_word or is_filler(parse_number(value)):
                self._unknown[column] += 1

    def _read_row_name(self, row: Row) -> str | Problem | None:
        mission = _read_mission(row)
        return _read_name(row, self.columns, mission if isinstance(mission, str) else "")

    def _get_star_key(self, target: Target) -> str:
        """Return the same key for two rows that may be of the same star, unless both name their files exactly."""
        return target.name if target.name in self.claimed else f"like {make_star_key(target.name)}"

    def _find_conflict(self, row: Row, read: _RowTarget, earlier: Sequence[_RowTarget]) -> Problem | None:
        """Return a problem if the row repeats an earlier one of its star, or contradicts it."""
        if not earlier:
            return None
        first = earlier[0].target
        if not self.columns.has_candidates:
            given = f"{shorten(read.target.name)} again, as in {first.where}"
            advice = "put its sectors into one row, or remove one of the two"
            return row.problem(self.columns.target, given, "each target once", advice)
        for other in earlier:
            if (other.candidate.label, other.candidate.ephemeris) == (read.candidate.label, read.candidate.ephemeris):
                given = f"the same candidate of {shorten(read.target.name)} as in {other.candidate.where}"
                return row.problem(self.columns.target, given, "each candidate once", "remove one of the two")
        for word in ("mission", "segments", "files"):
            if getattr(first, word) != getattr(read.target, word):
                given = f"another {_WORDS[word]} of {shorten(read.target.name)} than in {first.where}"
                return row.problem(self.columns.target, given, "the same in all rows of a star", "correct one of them")
        return None

    def _read_row(self, row: Row) -> tuple[_RowTarget | None, list[Problem]]:
        fields, problems = collect_extra_columns(row, self.known)
        fields = {name: _convert_number(value, self.numbers.get(name)) for name, value in fields.items()}
        mission = _read_mission(row)
        name = self._read_row_name(row)
        star, bad_values = _read_star(row, self.columns)
        ephemeris, bad_numbers = read_ephemeris(row, self.columns)
        bad_values += bad_numbers
        parts = _read_segments(row, mission if isinstance(mission, str) else "", name if isinstance(name, str) else "")
        path = _find_path_files(row, self.folder, self.listing) if self.folder else ()
        problems += [cell for cell in (mission, name, parts, path) if isinstance(cell, Problem)] + bad_values
        if isinstance(mission, Problem) or isinstance(parts, Problem) or isinstance(path, Problem):
            return None, problems
        if not isinstance(name, str) or bad_values:
            return None, problems
        mission = mission or parts.mission or CATALOGUES.get(name.partition(" ")[0], "")
        own = self._find_files(row, name) if path is None else path
        if isinstance(own, Problem):
            return None, [*problems, own]
        target = Target("", name, mission, parts.numbers, star, where=row.where, types=self.types)
        label = _get_cell(row, self.columns.label) if self.columns.label else None
        candidate = GivenCandidate(ephemeris, None if label is None else str(label), fields, row.where)
        return _RowTarget(add_files(target, _select_parts(own, parts.numbers), self.listing), candidate), problems

    def _find_files(self, row: Row, name: str) -> Sequence[ListedFile] | Problem:
        """Return the files named like the star; a problem if they may be of several stars."""
        try:
            return self.listing.find_star(name, self.claimed)
        except ValueError as error:
            given = f"{shorten(name)} may be any of {showable(str(error))}"
            advice = "name its file or folder in the column 'path'"
            return row.problem(self.columns.target, given, "files of one star", advice)


_WORDS = {"mission": "mission", "segments": "choice of segments", "files": "files"}


def _join_rows(rows: Sequence[_RowTarget]) -> Target:
    """Return the star of ``rows``. A single row without a period is about the star, not about a candidate."""
    target, candidates = rows[0].target, tuple(row.candidate for row in rows)
    if len(rows) == 1 and candidates[0].ephemeris.period_days is None:
        return replace(target, label=candidates[0].label, fields=candidates[0].fields)
    star = Star(**{word: next(iter(_list_values(rows, word)), None) for word in STAR})
    return replace(target, star=star, fields=collect_common_fields(candidates), candidates=candidates)


def _list_values(rows: Iterable[_RowTarget], word: str) -> list[float]:
    """Return the distinct known values of a stellar parameter in the rows of a star."""
    values = (getattr(row.target.star, word) for row in rows)
    return list(dict.fromkeys(value for value in values if value is not None))


def _get_cell(row: Row, column: str) -> Any:
    """Return the row's cell; None if it is empty or NaN, which numeric tables use for empty cells."""
    value = row.values.get(column)
    return None if value == "" or (isinstance(value, float) and math.isnan(value)) else value


def _read_mission(row: Row) -> str | Problem:
    given = get_cell(row, "mission")
    if given is None:
        return ""
    mission = MISSIONS.get(given.strip().casefold()) if isinstance(given, str) else None
    allowed = f"{', '.join(MISSIONS.values())}, or empty"
    return mission or row.problem("mission", shorten(given), allowed, "correct it, or leave it empty")


def _read_name(row: Row, columns: TargetColumns, mission: str) -> str | Problem | None:
    """Return the star's name in its normal spelling; None if it is missing, which is already reported."""
    given = _get_cell(row, columns.target)
    if given is None:
        return None
    text = _convert_to_text(given)
    if text is None or not text.strip() or showable(text) != text or len(text) > 100:
        return row.problem(columns.target, shorten(given), "TIC 25155310, KIC 6850504, EPIC 206103150 or a star's name")
    text = " ".join(text.split())
    whole = re.sub(r"(?<=[0-9])\.0+$", "", text)  # pandas writes numbers as fractions if one of them is missing
    if not re.fullmatch(r"[0-9]+", whole):
        return parse_catalogue_name(whole) or text
    catalogue = columns.catalogue or _CATALOGUE_OF.get(mission, "")
    if not catalogue:
        allowed = "a number with a mission (TESS, Kepler, K2), or TIC, KIC or EPIC before it"
        return row.problem(columns.target, f"the bare number {shorten(text)}", allowed, "fill in the column 'mission'")
    return f"{catalogue} {int(whole)}"


def _convert_to_text(given: object) -> str | None:
    """Return an id as text. Parquet stores ids as numbers, and as floats if one is missing."""
    if isinstance(given, float) and given.is_integer():
        return str(int(given))
    return str(given) if isinstance(given, int | str) and not isinstance(given, bool) else None


def _read_star(row: Row, columns: TargetColumns) -> tuple[Star, list[Problem]]:
    values: dict[str, float | None] = {}
    problems: list[Problem] = []
    for word, (_, low, high, unit) in STAR.items():
        read = {column: read_number(row, column, (low, high), unit) for column in columns.star.get(word, ())}
        filled = [column for column, value in read.items() if value is not None]
        bad = [value for value in read.values() if isinstance(value, Problem)]
        if len(filled) > 1:
            given = f"given together with {filled[0]!r}"
            bad = [row.problem(filled[1], given, "one of the two", "leave one empty")]
        problems += bad
        value = read[filled[0]] if filled else None
        values[word] = None if isinstance(value, Problem) else value
    return Star(**values), problems


@dataclass(frozen=True)
class _Parts:
    """The segments that a row requests, and the mission that the column's name implies."""

    numbers: tuple[int, ...] = ()
    mission: str = ""


def _read_segments(row: Row, mission: str, name: str) -> _Parts | Problem:
    """Read the row's sectors, quarters or campaigns: at most one of the columns may be filled, that of the mission."""
    filled = [column for column in _PARTS if get_cell(row, column) is not None]
    if not filled:
        return _Parts()
    column = filled[0]
    if len(filled) > 1:
        return row.problem(filled[1], f"given together with {column!r}", "one of the two", "leave one empty")
    mission = mission or CATALOGUES.get(name.partition(" ")[0], "")
    if mission and mission != _PARTS[column]:
        right = next(name for name, owner in _PARTS.items() if owner == mission)
        return row.problem(column, f"given for a target of {mission}", f"the column {right!r}", "move it there")
    numbers = _parse_numbers(row.values[column])
    if numbers is None:
        return row.problem(column, shorten(row.values[column]), _PART_LIST, "correct it, or leave it empty")
    return _Parts(numbers, _PARTS[column])


def _parse_numbers(given: object) -> tuple[int, ...] | None:
    """Return the sorted distinct numbers; None if the value is not whole numbers in range."""
    if isinstance(given, list):
        parts = [_parse_numbers(value) for value in given]
        return None if None in parts else tuple(sorted({number for part in parts if part for number in part}))
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int | str):
        return None
    numbers: set[int] = set()
    for part in re.split(r"[;,\s]+", re.sub(r"\s*-\s*", "-", str(given).strip(" ;,[]"))):
        span = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part, re.ASCII)
        if span is None or (span[2] and int(span[2]) < int(span[1])):
            return None
        numbers.update(range(int(span[1]), int(span[2] or span[1]) + 1))
    return tuple(sorted(numbers))


def _find_path_files(row: Row, folder: InputFolder, listing: Listing) -> Sequence[ListedFile] | Problem | None:
    """Return the files that the row's ``path`` names: one, or those of a folder; None for an empty cell."""
    given = _get_cell(row, "path")
    if given is None:
        return None
    if isinstance(given, str) and ".." not in PurePosixPath(given).parts:
        below = f"{PurePosixPath(given)}/"
        inside = [file for file in listing.files if file.path.startswith(below)]
        if inside:
            return inside
    relative = folder.relative(given, f"{row.where}, path")
    return relative if isinstance(relative, Problem) else [ListedFile(relative, "")]


def _select_parts(files: Sequence[ListedFile], numbers: Collection[int]) -> list[ListedFile]:
    """Drop files whose names state another segment; files without a segment in their name are read to find out."""
    return [file for file in files if not numbers or file.part is None or file.part in numbers]
