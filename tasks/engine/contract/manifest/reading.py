"""Read a manifest in JSON, JSON Lines, CSV, TSV or Parquet."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.engine.contract.bounded import read_at_most
from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest.table import Row, Table
from tasks.engine.contract.manifest.values import shorten
from tasks.engine.contract.parquet import read_rows, read_types
from tasks.engine.contract.text import showable

MAX_MANIFEST_BYTES = 256 << 20  # a million rows with 250 characters each


def read_table(path: Path, comments: str = "") -> Table:
    """Read the manifest at ``path``; the suffix gives its format.

    Lines of CSV and TSV that begin with ``comments`` are skipped. A file that is missing, unreadable, undecodable,
    empty or of an unknown kind is a problem of the returned table.
    """
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        return _refuse(path, f"a manifest ending in {path.suffix!r}", f"a file ending in {', '.join(_READERS)}")
    try:
        content = read_at_most(path, MAX_MANIFEST_BYTES)
    except OSError as error:
        return _refuse(path, f"cannot be read ({error.strerror})", "a readable file", "check --manifest")
    except ValueError as error:
        limit = f"a plain file of at most {MAX_MANIFEST_BYTES >> 20} MiB"
        return _refuse(path, f"the file is {error}", limit, "split the manifest")
    if not content.strip():
        return _refuse(path, "the file is empty", "at least one row", "check --manifest")
    table = _READERS[suffix](path, content, comments)
    if not table.rows and not table.problems:
        return _refuse(path, "no rows", "at least one row", "check --manifest")
    return table


def _refuse(path: Path, given: str, allowed: str, advice: str = "") -> Table:
    return Table(problems=(Problem(str(path), given, allowed, advice),))


def _decode(path: Path, content: bytes) -> str | Table:
    """Decode the file as UTF-8, without a byte order mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _refuse(path, "UTF-16 text", "UTF-8 text", "save the file again as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _refuse(path, f"a byte that is not UTF-8 in line {line}", "UTF-8 text", "save the file again as UTF-8")


def _read_json(path: Path, content: bytes, _: str) -> Table:
    text = _decode(path, content)
    if isinstance(text, Table):
        return text
    try:
        found = _parse_json(text)
    except (ValueError, RecursionError) as error:
        return _refuse(path, f"broken JSON: {error}", "a list of objects, or {'data': [...]}", "correct the file")
    rows = found.get("data") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        given = f"an object with the keys {shorten(sorted(found))}" if isinstance(found, dict) else shorten(found)
        return _refuse(path, given, "a list of objects, or {'data': [...]}", "put the rows into a list")
    return _read_objects((f"{path.name} row {number}", row) for number, row in enumerate(rows, start=1))


def _parse_json(text: str) -> Any:
    """Parse JSON; duplicate keys are an error. Raises ValueError or RecursionError."""
    return json.loads(text, object_pairs_hook=_build_object)


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the key {shorten(twice)} twice in one object")
    return found


def _read_objects(places: Iterable[tuple[str, object]]) -> Table:
    rows: list[Row] = []
    problems: list[Problem] = []
    for where, value in places:
        if isinstance(value, dict):
            rows.append(Row(where, value))
        else:
            problems.append(Problem(where, shorten(value), "an object with a value for each column", "correct the row"))
    return Table(tuple(rows), tuple(problems))


def _read_jsonl(path: Path, content: bytes, _: str) -> Table:
    text = _decode(path, content)
    if isinstance(text, Table):
        return text
    places: list[tuple[str, object]] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: JSON may hold U+2028
        where = f"{path.name} line {number}"
        try:
            places.extend([(where, _parse_json(line))] if line.strip() else [])
        except (ValueError, RecursionError) as error:
            problems.append(Problem(where, f"broken JSON: {error}", "one JSON object a line", "correct the line"))
    table = _read_objects(places)
    return Table(table.rows, (*problems, *table.problems))


def _read_csv(path: Path, content: bytes, comments: str) -> Table:
    return _read_separated(path, content, ",", comments)


def _read_tsv(path: Path, content: bytes, comments: str) -> Table:
    return _read_separated(path, content, "\t", comments)


def _read_separated(path: Path, content: bytes, delimiter: str, comments: str) -> Table:
    text = _decode(path, content)
    if isinstance(text, Table):
        return text
    text = _blank_leading_comments(text, comments) if comments else text
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    problems: list[Problem] = []
    try:
        header = [name.strip() for name in next((cells for cells in reader if cells or not comments), [])]
        problems += _check_header(path, header)
        for line, cells in _number_records(reader):
            if comments and cells[0].startswith(comments):
                continue
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


def _blank_leading_comments(text: str, comments: str) -> str:
    """Return the text with empty lines instead of the comments above its header, so that line numbers stay the same."""
    lines = text.split("\n")
    first = next((place for place, line in enumerate(lines) if line.strip() and not line.startswith(comments)), 0)
    return "\n".join([""] * first + lines[first:])


def _number_records(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield each non-blank record with the number of its first line; a quoted cell may span lines."""
    line = reader.line_num + 1
    for cells in reader:
        if cells:
            yield line, cells
        line = reader.line_num + 1


def _check_header(path: Path, header: list[str]) -> list[Problem]:
    twice = sorted({name for name in header if header.count(name) > 1 or not name})
    if not twice:
        return []
    given = f"columns without a name of their own: {shorten(twice)}"
    return [Problem(f"{path.name} line 1", given, "a name for each column, each once", "rename the columns")]


def _read_parquet(path: Path, content: bytes, _: str) -> Table:
    try:
        found = read_rows(content)
    except ValueError as error:
        return _refuse(path, f"broken Parquet: {showable(str(error))}", "a Parquet file", "write the file again")
    table = _read_objects((f"{path.name} row {number}", row) for number, row in enumerate(found, start=1))
    return replace(table, types=read_types(content))


_READERS: dict[str, Callable[[Path, bytes, str], Table]] = {
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
}
