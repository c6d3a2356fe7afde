"""Reading and checking manifests: the half that every flow shares.

A manifest is a table in JSON (a list of objects, or ``{"data": [...]}``), JSON Lines, CSV, TSV or Parquet. Nothing here
raises over what the user wrote: every function gives back what it could read and the problems that it found, so that
all of them can be shown at once.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from tasks.engine.errors import Problem
from tasks.engine.execution import Execution
from tasks.engine.parquet import read_rows
from tasks.engine.text import UNSHOWABLE, showable

MAX_ALIKE = 20
MAX_DEPTH = 50  # lists and objects within each other in one cell: no data has more, and recursion ends somewhere
_GIVEN_LENGTH = 80
# A scheme of two letters at least, for C:/ is a drive, and one slash at least, for pathlib takes the second one away.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
# Signs that change the direction of text or have no width: ids with them look like others.
_MISLEADING = re.compile("[\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
MAX_NAME_LENGTH = 4096
_IDS = f"a whole number, or text without control characters and '..', of at most {MAX_NAME_LENGTH} characters"


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


def read_table(path: Path) -> Table:
    """Read the manifest at ``path``; its format is told by its suffix.

    A file that is missing, unreadable, undecodable, empty or of an unknown kind is a problem of the returned table.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        return _refused(path, f"a manifest ending in {path.suffix!r}", f"a file ending in {', '.join(_READERS)}")
    try:
        content = path.read_bytes()
    except OSError as error:
        return _refused(path, f"cannot be read ({error.strerror})", "a readable file", "check --manifest")
    if not content.strip():
        return _refused(path, "the file is empty", "at least one row", "check --manifest")
    table = read(path, content)
    if not table.rows and not table.problems:
        return _refused(path, "no rows", "at least one row", "check --manifest")
    return table


def shorten(value: object) -> str:
    """``value`` as it would stand in JSON or Python, cut to a length that fits one line of a message."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except RecursionError:
        return f"a {type(value).__name__} nested too deep to show"
    text = text if len(text) <= _GIVEN_LENGTH else f"{text[: _GIVEN_LENGTH - 3]}..."
    return repr(text) if isinstance(value, str) else text


def is_url(text: str) -> bool:
    """Return True if ``text`` begins like a URL: ``s3://``, ``https:/``."""
    return _URL.match(text) is not None


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


def read_ids(rows: Iterable[Row], column: str = "id") -> tuple[list[str | None], list[Problem]]:
    """Return the id of each row as text, in order; None, and a problem, if it is unusable or was used before.

    An id may be any text, or a whole number: :func:`tasks.engine.items.distinct_ids` makes file names of ids. A row
    without an id gives None and no problem: :func:`missing_columns` reports it.
    """
    ids: list[str | None] = []
    problems: list[Problem] = []
    first: dict[str, str] = {}
    for row in rows:
        found = _read_id(row, column, first)
        ids.append(found if isinstance(found, str) else None)
        problems.extend([found] if isinstance(found, Problem) else [])
    return ids, problems


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


def json_value(value: Any, depth: int = 0) -> Any:
    """``value`` as JSON can hold it: dates and times in ISO 8601, NaN (which tables use for "missing") as None.

    Raises ValueError for what has no such form: infinities, bytes, decimals and the like, and for what is nested deeper
    than MAX_DEPTH, counted from ``depth``.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"lists and objects nested more than {MAX_DEPTH} deep")
    if isinstance(value, str) and not is_utf8(value):
        raise ValueError("text with half a character (a lone surrogate)")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _json_float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {json_name(str(name)): json_value(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [json_value(inner, depth + 1) for inner in value]
    raise ValueError(f"a value of type {type(value).__name__}")


def json_name(name: str) -> str:
    """``name`` itself. Raises ValueError where JSON cannot hold it."""
    if not is_utf8(name):
        raise ValueError("a name with half a character (a lone surrogate)")
    return name


class InputFolder:
    """The folder that a manifest's relative paths start from, and what may be reached through it."""

    def __init__(self, root: Path, option: str) -> None:
        """``option`` is the parameter that named ``root``, for the messages."""
        self.root = root.absolute()
        self.option = option
        self._real = Path(os.path.realpath(self.root))
        self._real_parents: dict[Path, Path] = {}

    def problems(self) -> list[Problem]:
        """What is wrong with the folder itself."""
        if self.root.is_dir():
            return []
        given = "is not a folder" if self.root.exists() else "does not exist"
        return [Problem(f"{self.option} {self.root}", given, "a folder that exists", f"check {self.option}")]

    def relative(self, given: object, where: str) -> str | Problem:
        """``given`` as a normal relative path with forward slashes, or what is wrong with it.

        Refused: absolute paths, ``..``, links that lead out of the folder, what is missing, what is not a file, and
        names with control characters, which could tamper with a terminal or forge lines of a log.
        """
        where = showable(where)
        advice = f"give the path relative to {self.option} {self.root}"
        if not isinstance(given, str) or not given.strip() or "\0" in given or not is_utf8(given):
            return Problem(where, shorten(given), "a relative path in UTF-8", advice)
        if UNSHOWABLE.search(given):
            return Problem(where, shorten(given), "a name without control characters", "rename the file")
        if is_url(given) and not (self.root / given).exists():
            url_advice = f"download the file into {self.root}, and {advice}"
            return Problem(where, f"the URL {shorten(given)}", "a relative path", url_advice)
        path = PurePosixPath(given)
        if path.is_absolute() or PureWindowsPath(given).drive:
            return Problem(where, f"the absolute path {shorten(given)}", "a relative path", advice)
        if ".." in path.parts:
            return Problem(where, f"'..' in {shorten(given)}", "a path that stays in its folder", advice)
        return self._existing(path, where)

    def _existing(self, path: PurePosixPath, where: str) -> str | Problem:
        given, full = shorten(str(path)), self.root / path
        try:
            mode = full.stat().st_mode
        except OSError as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
            return Problem(where, f"{given} {reason}", f"a file in {self.root}", f"check it and {self.option}")
        if not self._leads_inside(full):
            advice = f"copy the file there, or point {self.option} at the folder that holds it"
            return Problem(where, f"{given} is a link that leads out", f"files inside {self.root}", advice)
        if not stat.S_ISREG(mode):
            return Problem(where, f"{given} is not a file", f"a file in {self.root}", f"check it and {self.option}")
        return str(path)

    def _leads_inside(self, full: Path) -> bool:
        """Whether ``full`` lies in the folder once every link is followed; folders are followed only once."""
        if full.is_symlink():
            return Path(os.path.realpath(full)).is_relative_to(self._real)
        parent = full.parent
        if parent not in self._real_parents:
            self._real_parents[parent] = Path(os.path.realpath(parent))
        return self._real_parents[parent].is_relative_to(self._real)


def _refused(path: Path, given: str, allowed: str, advice: str = "") -> Table:
    return Table(problems=(Problem(str(path), given, allowed, advice),))


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


def _read_id(row: Row, column: str, first: dict[str, str]) -> str | Problem | None:
    value = row.values.get(column)
    if value in (None, ""):
        return None
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not _is_usable_name(text):
        return row.problem(column, shorten(value), _IDS, "rename it")
    if text in first:
        given = f"{shorten(text)} again, as in {first[text]}"
        return row.problem(column, given, "each id once", "rename or remove one of the two")
    first[text] = row.where
    return text


def _is_usable_name(text: str) -> bool:
    is_plain = not UNSHOWABLE.search(text) and not _MISLEADING.search(text)
    is_path_upwards = bool({".", ".."} & set(re.split(r"[/\\]", text)))
    return bool(text.strip()) and len(text) <= MAX_NAME_LENGTH and is_plain and not is_path_upwards


def is_utf8(text: str) -> bool:
    """False for lone surrogates: a file name that is not UTF-8, or half a character out of JSON."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_float(value: float) -> float | None:
    if math.isinf(value):
        raise ValueError("an infinite number")
    return None if math.isnan(value) else value


def _decode(path: Path, content: bytes) -> str | Table:
    """The file's text, without a byte order mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _refused(path, "UTF-16 text", "UTF-8 text", "save the file again as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _refused(path, f"a byte that is not UTF-8 in line {line}", "UTF-8 text", "save the file again as UTF-8")


def _read_json(path: Path, content: bytes) -> Table:
    text = _decode(path, content)
    if isinstance(text, Table):
        return text
    try:
        found = _loads(text)
    except (ValueError, RecursionError) as error:
        return _refused(path, f"broken JSON: {error}", "a list of objects, or {'data': [...]}", "correct the file")
    rows = found.get("data") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        given = f"an object with the keys {shorten(sorted(found))}" if isinstance(found, dict) else shorten(found)
        return _refused(path, given, "a list of objects, or {'data': [...]}", "put the rows into a list")
    return _object_rows((f"{path.name} row {number}", row) for number, row in enumerate(rows, start=1))


def _loads(text: str) -> Any:
    """JSON without the silent loss of a key that stands twice in an object. Raises ValueError or RecursionError."""
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the key {shorten(twice)} twice in one object")
    return found


def _object_rows(places: Iterable[tuple[str, object]]) -> Table:
    rows: list[Row] = []
    problems: list[Problem] = []
    for where, value in places:
        if isinstance(value, dict):
            rows.append(Row(where, value))
        else:
            problems.append(Problem(where, shorten(value), "an object with a value for each column", "correct the row"))
    return Table(tuple(rows), tuple(problems))


def _read_jsonl(path: Path, content: bytes) -> Table:
    text = _decode(path, content)
    if isinstance(text, Table):
        return text
    places: list[tuple[str, object]] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: JSON may hold U+2028
        where = f"{path.name} line {number}"
        try:
            places.extend([(where, _loads(line))] if line.strip() else [])
        except (ValueError, RecursionError) as error:
            problems.append(Problem(where, f"broken JSON: {error}", "one JSON object a line", "correct the line"))
    table = _object_rows(places)
    return Table(table.rows, (*problems, *table.problems))


def _read_csv(path: Path, content: bytes) -> Table:
    return _read_separated(path, content, ",")


def _read_tsv(path: Path, content: bytes) -> Table:
    return _read_separated(path, content, "\t")


def _read_separated(path: Path, content: bytes, delimiter: str) -> Table:
    text = _decode(path, content)
    if isinstance(text, Table):
        return text
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    problems: list[Problem] = []
    try:
        header = [name.strip() for name in next(reader)]
        problems += _header_problems(path, header)
        for line, cells in _numbered(reader):
            where = f"{path.name} line {line}"
            if len(cells) == len(header):
                values = {name: cell if cell != "" else None for name, cell in zip(header, cells, strict=True)}
                rows.append(Row(where, values, typed=False))
            else:
                given = f"{len(cells)} cells"
                problems.append(Problem(where, given, f"{len(header)} cells, as in the header", "correct the line"))
    except csv.Error as error:
        problems.append(Problem(f"{path.name} line {reader.line_num}", str(error), "CSV text", "correct the line"))
    return Table(tuple(rows), tuple(problems))


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank with the line that it starts in; a quoted cell may span lines."""
    line = reader.line_num + 1
    for cells in reader:
        if cells:
            yield line, cells
        line = reader.line_num + 1


def _header_problems(path: Path, header: list[str]) -> list[Problem]:
    twice = sorted({name for name in header if header.count(name) > 1 or not name})
    if not twice:
        return []
    given = f"columns without a name of their own: {shorten(twice)}"
    return [Problem(f"{path.name} line 1", given, "a name for each column, each once", "rename the columns")]


def _read_parquet(path: Path, content: bytes) -> Table:
    try:
        found = read_rows(content)
    except ValueError as error:
        return _refused(path, f"broken Parquet: {showable(str(error))}", "a Parquet file", "write the file again")
    return _object_rows((f"{path.name} row {number}", row) for number, row in enumerate(found, start=1))


_READERS: dict[str, Callable[[Path, bytes], Table]] = {
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
}
