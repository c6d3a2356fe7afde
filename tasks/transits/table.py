"""The table of all stars: ``features.parquet`` and ``bls_tls_features.csv``, one row a target and planet candidate.

Each star leaves a file with its rows, and the table is one item that joins these files. Its payload lists their
digests in the order of the targets, so it is made again exactly when a row changes, and its bytes depend neither on the
number of workers nor on who was done first.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace, get_published_file
from tasks.transits.columns import COLUMNS, SEPARATOR, Column, build_arrow_schema

PARQUET = "features.parquet"
CSV = "bls_tls_features.csv"

_ADVICE = "run again with --verify digest, which makes it anew"
_ROWS_AT_A_TIME = 4096  # joined into one piece of the table, and one row group
_PREFIX = "target_list_"  # of an extra column that bears the name of a declared one
_OWN = {column.name: column for column in COLUMNS}
_HELD: Mapping[str, tuple[type, ...]] = {"string": (str,), "int64": (int,), "float64": (float, int), "bool": (bool,)}
_INTEGERS = range(-(2**63), 2**63)
_CRLF = "\r\n"
_EXACT = 2**53  # whole numbers up to this are doubles without loss
# What a spreadsheet would run when the CSV is opened in it: a formula with a call, another program or another file.
# A leading minus or plus alone is a number, a declination or a dash, and stays.
_FORMULA = re.compile(r"\s*(?:[=@]|[+-].*[(|!#\[])", re.DOTALL)

Kind: TypeAlias = Literal["null", "bool", "int64", "float64", "string"]


class TableParams(BaseModel):
    """Nothing but the rows decides the table's bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class StarFile:
    """The published rows of a star, and what the target list says of it that no search depends on.

    path    in the output folder, with the digest ``sha256`` of what was published there
    label   stands in the column ``label``
    fields  the target list's other columns, as JSON values
    files   paths of its light curves, as the user knows them

    A changed label or field makes the table anew, and no star.
    """

    id: str
    path: str
    sha256: str
    label: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[str] = ()


class FeaturesStage(Stage):
    """Joins the rows of all stars. Reads the files that the star stage has published."""

    name = "features"
    version = 1
    memory_bytes = 512 * 2**20
    timeout_seconds = 3600.0
    packages = ("pyarrow",)

    def __init__(self, params: BaseModel | None = None) -> None:
        super().__init__(params or TableParams())

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Write both files. Raises BadInput where a star's file is gone, altered or not what a star leaves."""
        stars = [StarFile(**star) for star in item.payload["stars"]]
        table = joined(_documents(stars, work.output_dir))
        pq.write_table(table, work.output(PARQUET), compression="zstd", version="2.6", row_group_size=_ROWS_AT_A_TIME)
        with work.output(CSV).open("w", encoding="utf-8", newline="") as file:
            write_csv(table, file)
        found = table.num_rows - table.column("candidate_number").null_count
        return StageResult(values={"stars": len(stars), "rows": table.num_rows, "candidates": found})


def table_items(stars: Iterable[StarFile]) -> list[Item]:
    """The one item of the table, for ``stars`` in the order of the targets; none where there is no star."""
    listed = [{**asdict(star), "files": list(star.files)} for star in stars]
    return [Item(id="features", payload={"stars": listed}, cost=float(len(listed)), name=PARQUET)] if listed else []


def star_document(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """What a star publishes: its rows, each a mapping of column to value. A declared column that is not there is empty.

    Raises ValueError for a column that is not declared, a value that is not of its column's type, and for NaN and
    infinities, which are no values: a feature without a value is None and has a reason.
    """
    ordered = [_checked(row) for row in rows]
    text = json.dumps({"rows": ordered}, ensure_ascii=False, allow_nan=False, indent=1)
    return text.encode() + b"\n"


def _checked(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row in the order of the columns, with all of them."""
    unknown = sorted(set(row) - set(_OWN))
    if unknown:
        raise ValueError(f"no such column: {', '.join(unknown)}; columns are declared in tasks/transits/columns.py")
    for name, value in row.items():
        _check_type(_OWN[name], value)
    return {column.name: row.get(column.name) for column in COLUMNS}


def _check_type(column: Column, value: Any) -> None:
    if value is not None and type(value) not in _HELD[column.type]:
        raise ValueError(f"{column.name}: {value!r} is not a {column.type}")


# Reading


@dataclass(frozen=True)
class Document:
    """A star's rows, each with all declared columns, and what stands in the other columns of each."""

    rows: Sequence[Mapping[str, Any]]
    fields: Mapping[str, Any]


def _documents(stars: Iterable[StarFile], output_dir: Path) -> Iterator[Document]:
    return (read_document(star, output_dir) for star in stars)


def read_document(star: StarFile, output_dir: Path) -> Document:
    """What ``star`` published, with its label and fields.

    Raises BadInput where it is gone, altered, or nothing that a star publishes.
    """
    try:
        content = get_published_file(output_dir, star.path).read_bytes()
    except OSError as error:
        raise BadInput(f"{star.path} cannot be read ({error.strerror}); {_ADVICE}") from error
    if hashlib.sha256(content).hexdigest() != star.sha256:
        raise BadInput(f"{star.path} was altered since it was made; {_ADVICE}")
    try:
        found = json.loads(content, parse_constant=_refuse)
        rows = [_checked(row) for row in found["rows"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"{star.path} does not hold a star's rows: {error}") from error
    known: dict[str, Any] = {"files": len(star.files), "path": SEPARATOR.join(star.files)} if star.files else {}
    known |= {} if star.label is None else {"label": star.label}
    return Document([{**row, **known} for row in rows] if known else rows, star.fields)


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


# Joining


def joined(documents: Iterable[Document]) -> pa.Table:
    """All rows in the order of ``documents``: declared columns, then the others in the order in which they are met.

    Declared columns go into Arrow a batch at a time, so that 10,000 stars need little memory; the others wait as
    they are until the type that holds all of a column's values is known.
    """
    own = _own_schema()
    batches: list[pa.RecordBatch] = []
    waiting: list[Mapping[str, Any]] = []
    extra: dict[str, list[Any]] = {}
    count = 0
    for document in documents:
        for row in document.rows:
            _collect(extra, document.fields, count)
            waiting.append(row)
            count += 1
        if len(waiting) >= _ROWS_AT_A_TIME:
            batches.append(pa.RecordBatch.from_pylist(waiting, schema=own))
            waiting = []
    batches.append(pa.RecordBatch.from_pylist(waiting, schema=own))
    return _with_lengths(_with_extra(pa.Table.from_batches(batches, own), extra))


def _own_schema() -> pa.Schema:
    """The declared columns, each with what is known of it."""
    schema = build_arrow_schema()
    return pa.schema([schema.field(name).with_metadata(_metadata(column)) for name, column in _OWN.items()])


def _metadata(column: Column) -> dict[str, str]:
    return {"unit": column.unit, "description": column.description, "source": column.source}


def _collect(extra: dict[str, list[Any]], fields: Mapping[str, Any], count: int) -> None:
    """Add a row's other columns, where ``count`` rows came before it; a column that begins here was empty in those."""
    for name, value in fields.items():
        values = extra.setdefault(name, [])
        values.extend([None] * (count - len(values)))
        values.append(value)


def _with_extra(table: pa.Table, extra: Mapping[str, list[Any]]) -> pa.Table:
    for name, free in zip(extra, free_names(extra), strict=True):
        values = [*extra[name], *[None] * (table.num_rows - len(extra[name]))]
        told = {"unit": "", "description": f"The target list's column {json.dumps(name)}", "source": "the target list"}
        column = extra_column(values)
        table = table.append_column(pa.field(free, column.type, metadata=told), column)
    return table


def _with_lengths(table: pa.Table) -> pa.Table:
    """The table with the length of its longest text by column, as astropy writes it; it cannot read nulls without."""
    texts = [name for name in table.column_names if pa.types.is_string(table.schema.field(name).type)]
    longest = {name: pc.max(pc.utf8_length(table.column(name))).as_py() for name in texts}
    return table.replace_schema_metadata({f"table::len::{name}": str(length or 1) for name, length in longest.items()})


def free_names(names: Iterable[str]) -> list[str]:
    """Each name, or where a declared column has it already, the name with a prefix that no other column has."""
    given = list(names)
    taken = {*_OWN, *given}
    found = []
    for name in given:
        free = name
        while free in _OWN or (free != name and free in taken):
            free = f"{_PREFIX}{free}"
        taken.add(free)
        found.append(free)
    return found


def extra_column(values: Sequence[Any]) -> pa.Array:
    """JSON values as one column: of their common type, or as text where there is none.

    Whole numbers among fractions become fractions, as long as none is lost. Text stays as it is; anything else among
    text is written as JSON, and so are lists, objects and whole numbers beyond 64 bits.
    """
    kinds = {kind_of(value) for value in values} - {"null"}
    if kinds == {"int64", "float64"} and all(_is_exact(value) for value in values):
        return pa.array(values, pa.float64())
    if len(kinds) <= 1 and kinds <= {"bool", "int64", "float64"}:
        return pa.array(values, pa.type_for_alias(next(iter(kinds), "string")))
    return pa.array([_text(value) for value in values], pa.string())


def kind_of(value: Any) -> Kind:
    """The type of column that holds a JSON value; text for what only its JSON can stand for."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64" if value in _INTEGERS else "string"
    return "float64" if isinstance(value, float) else "string"


def _is_exact(value: Any) -> bool:
    return not isinstance(value, int) or abs(value) <= _EXACT


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


# CSV


def write_csv(table: pa.Table, file: io.TextIOBase) -> None:
    """``table`` as CSV: numbers as short as they can be read back without loss, empty cells for nulls, ``\\n`` ends.

    A cell that a spreadsheet would take for a formula gets an apostrophe before it, as spreadsheets do themselves to
    say that a cell is text; the Parquet file has it as it was given.
    """
    writer = csv.writer(_PlainEnds(file), lineterminator=_CRLF)
    writer.writerow([_harmless(name) for name in table.column_names])
    for batch in table.to_batches(max_chunksize=_ROWS_AT_A_TIME):
        writer.writerows(zip(*(_cells(column) for column in batch.columns), strict=True))


class _PlainEnds:
    """A file for ``csv``, which quotes a lone carriage return only where it ends lines with one itself."""

    def __init__(self, file: io.TextIOBase) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.removesuffix(_CRLF) + "\n")


def _cells(column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if not pa.types.is_string(column.type):
        return values  # csv writes a float as repr does, and None as nothing
    return [None if value is None else _harmless(value) for value in values]


def _harmless(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text
