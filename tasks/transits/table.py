"""The table of all stars: ``features.parquet`` and ``bls_tls_features.csv``, one row per target and planet candidate.

Each star publishes a file with its rows; the table is a single item that joins these files. Its payload lists their
digests in the order of the targets, so it runs again exactly when a row changes, and its bytes depend neither on the
number of workers nor on the order in which stars finish.
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
from tasks.transits.columns import (
    COLUMNS,
    FEATURES,
    SEPARATOR,
    Column,
    Origin,
    Reason,
    build_arrow_schema,
    choose_free_names,
    format_masks,
)

PARQUET = "features.parquet"
CSV = "bls_tls_features.csv"

_ADVICE = "run again with --verify digest to recreate it"
_ROWS_AT_A_TIME = 4096  # rows per batch and per row group
_OWN = {column.name: column for column in COLUMNS}
_HELD: Mapping[str, tuple[type, ...]] = {"string": (str,), "int64": (int,), "float64": (float, int), "bool": (bool,)}
_INTEGERS = range(-(2**63), 2**63)
_CRLF = "\r\n"
_EXACT = 2**53  # whole numbers up to this are exact as doubles
# Text that a spreadsheet would run as a formula: with a call, another program or another file.
# A leading minus or plus alone is a number, a declination or a dash, and is kept.
_FORMULA = re.compile(r"\s*(?:[=@]|[+-].*[(|!#\[])", re.DOTALL)

Kind: TypeAlias = Literal["null", "bool", "int64", "float64", "string"]


class TableParams(BaseModel):
    """Empty parameters: only the rows determine the table's bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class GivenRow:
    """The target list's label and other columns, as JSON values, for one given candidate."""

    label: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StarFile:
    """The published rows of a star, and those of its target's values that do not affect its search.

    path     in the output folder, with the digest ``sha256`` of the published content; empty for a failed star
    label    for the column ``label``
    fields   the target list's other columns, as JSON values
    files    paths of its light curves, for the user
    given    one for each given candidate, in their order
    failure  kind and message of a failed star, whose rows have only its ``name`` and ``mission``

    A changed label or field updates the table without running the star again.
    """

    id: str
    path: str = ""
    sha256: str = ""
    label: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[str] = ()
    given: Sequence[GivenRow] = ()
    failure: str = ""
    name: str = ""
    mission: str = ""


class FeaturesStage(Stage):
    """Joins the rows of all stars, from the files that the star stage published."""

    name = "features"
    version = 2
    memory_bytes = 512 * 2**20
    timeout_seconds = 3600.0
    packages = ("pyarrow",)

    def __init__(self, params: BaseModel | None = None) -> None:
        super().__init__(params or TableParams())

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Write both files. Raises BadInput if a star's file is missing, modified or invalid."""
        stars = [_build_star_file(star) for star in item.payload["stars"]]
        table = join_documents(_read_documents(stars, work.output_dir), item.payload.get("types", {}))
        pq.write_table(table, work.output(PARQUET), compression="zstd", version="2.6", row_group_size=_ROWS_AT_A_TIME)
        with work.output(CSV).open("w", encoding="utf-8", newline="") as file:
            write_csv(table, file)
        numbered = table.filter(pc.is_valid(table.column("candidate_number")))
        counts = {origin: pc.sum(pc.equal(numbered.column("origin"), origin)).as_py() or 0 for origin in Origin}
        values = {"stars": len(stars), "rows": table.num_rows, "candidates": counts[Origin.SEARCH]}
        failed = sum(1 for star in stars if star.failure)
        return StageResult(values={**values, "given_candidates": counts[Origin.GIVEN], "failed_stars": failed})


def _build_star_file(payload: Mapping[str, Any]) -> StarFile:
    return StarFile(**{**payload, "given": [GivenRow(**row) for row in payload["given"]]})


def make_table_items(stars: Iterable[StarFile], types: Mapping[str, str] | None = None) -> list[Item]:
    """Make the single item of the table, for ``stars`` in the order of the targets; empty without stars.

    ``types``: Arrow's types of columns of the target list, if it has types.
    """
    listed = [{**asdict(star), "files": list(star.files), "given": list(map(asdict, star.given))} for star in stars]
    payload = {"stars": listed, **({"types": dict(types)} if types else {})}
    return [Item(id="features", payload=payload, cost=float(len(listed)), name=PARQUET)] if listed else []


def encode_rows(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Encode the rows of a star, each a mapping of column to value. A missing declared column is empty.

    Raises ValueError for an undeclared column, for a value that is not of its column's type, and for NaN and
    infinities: a feature without a value is None and has a reason.
    """
    ordered = [_check_row(row) for row in rows]
    text = json.dumps({"rows": ordered}, ensure_ascii=False, allow_nan=False, indent=1)
    return text.encode() + b"\n"


def _check_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete row in the order of the columns."""
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
    """A star's rows with all declared columns, and for each row the values of the other columns."""

    rows: Sequence[Mapping[str, Any]]
    fields: Sequence[Mapping[str, Any]]


def _read_documents(stars: Iterable[StarFile], output_dir: Path) -> Iterator[Document]:
    return (read_document(star, output_dir) for star in stars)


def read_document(star: StarFile, output_dir: Path) -> Document:
    """Return the rows that ``star`` published, with its label and fields.

    Raises BadInput if the file is missing, modified or invalid.
    """
    rows = _make_failed_rows(star) if star.failure else _read_rows(star, output_dir)
    extra: dict[str, Any] = {"files": len(star.files), "path": SEPARATOR.join(star.files)} if star.files else {}
    own = [_find_given_row(star, row) for row in rows]
    labels: list[dict[str, Any]] = [{} if given.label is None else {"label": given.label} for given in own]
    told = [{**row, **extra, **label} for row, label in zip(rows, labels, strict=True)]
    return Document(told, [given.fields for given in own])


def _read_rows(star: StarFile, output_dir: Path) -> list[dict[str, Any]]:
    try:
        content = get_published_file(output_dir, star.path).read_bytes()
    except OSError as error:
        raise BadInput(f"{star.path} cannot be read ({error.strerror}); {_ADVICE}") from error
    if hashlib.sha256(content).hexdigest() != star.sha256:
        raise BadInput(f"{star.path} was modified after it was published; {_ADVICE}")
    try:
        document = json.loads(content, parse_constant=_reject_constant)
        return [_check_row(row) for row in document["rows"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"{star.path} does not hold a star's rows: {error}") from error


def _make_failed_rows(star: StarFile) -> list[dict[str, Any]]:
    """Return the rows of a failed star: one for each given candidate, or one without a number."""
    masks = format_masks(dict.fromkeys(FEATURES, Reason.FAILED))
    numbers = range(1, len(star.given) + 1) if star.given else (None,)
    origin = Origin.GIVEN if star.given else Origin.SEARCH
    known = {"target_id": star.name, "mission": star.mission or None, "origin": str(origin), "failure": star.failure}
    return [_check_row({**known, "candidate_number": number, "mask_reasons": masks}) for number in numbers]


def _find_given_row(star: StarFile, row: Mapping[str, Any]) -> GivenRow:
    """Return the label and the fields of a row: of its given candidate, else those of the star."""
    number = row["candidate_number"] if row["origin"] == Origin.GIVEN else row["match"]
    if star.given and number is not None:
        given: GivenRow = star.given[number - 1]
        return given
    return GivenRow(None if star.given else star.label, star.fields)


def _reject_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")


# Joining


def join_documents(documents: Iterable[Document], types: Mapping[str, str] | None = None) -> pa.Table:
    """Join all rows in the order of ``documents``: declared columns, then the others in the order of first appearance.

    ``types``: Arrow's types of labels and other columns, used if all values have them.

    Declared columns are converted to Arrow batch by batch, so that 10,000 stars need little memory. The others wait
    until all their values are known, which determine their type.
    """
    own = _build_own_schema()
    batches: list[pa.RecordBatch] = []
    waiting: list[Mapping[str, Any]] = []
    extra: dict[str, list[Any]] = {}
    count = 0
    for document in documents:
        for row, fields in zip(document.rows, document.fields, strict=True):
            _collect(extra, fields, count)
            waiting.append(row)
            count += 1
        if len(waiting) >= _ROWS_AT_A_TIME:
            batches.append(pa.RecordBatch.from_pylist(waiting, schema=own))
            waiting = []
    batches.append(pa.RecordBatch.from_pylist(waiting, schema=own))
    table = _convert_labels(pa.Table.from_batches(batches, own), types or {})
    return _record_text_lengths(_append_extra(table, extra, types or {}))


def _build_own_schema() -> pa.Schema:
    """Return the schema of the declared columns with their metadata."""
    schema = build_arrow_schema()
    return pa.schema([schema.field(name).with_metadata(_describe_column(column)) for name, column in _OWN.items()])


def _describe_column(column: Column) -> dict[str, str]:
    return {"unit": column.unit, "description": column.description, "source": column.source}


def _collect(extra: dict[str, list[Any]], fields: Mapping[str, Any], count: int) -> None:
    """Add the other columns of a row that follows ``count`` rows; a new column is empty in those."""
    for name, value in fields.items():
        values = extra.setdefault(name, [])
        values.extend([None] * (count - len(values)))
        values.append(value)


def _convert_labels(table: pa.Table, types: Mapping[str, str]) -> pa.Table:
    """Return the table with labels of the target list's type, if that is a number or a truth value."""
    labels = table.column("label")
    converted = _cast(labels, types.get("label", "string"))
    if converted.type == labels.type:
        return table
    place = table.column_names.index("label")
    return table.set_column(place, table.schema.field("label").with_type(converted.type), converted)


def _cast(column: Any, kind: str) -> Any:
    """Return the column (an array or its chunks) as Arrow's type ``kind``; unchanged if a value cannot be converted."""
    try:
        return column.cast(pa.type_for_alias(kind))
    except (pa.ArrowException, ValueError):
        return column


def _append_extra(table: pa.Table, extra: Mapping[str, list[Any]], types: Mapping[str, str]) -> pa.Table:
    for name, free in zip(extra, choose_free_names(extra), strict=True):
        values = [*extra[name], *[None] * (table.num_rows - len(extra[name]))]
        text = f"The target list's column {json.dumps(name)}"
        metadata = {"unit": "", "description": text, "source": "the target list"}
        column = build_extra_column(values)
        column = _cast(column, types[name]) if name in types else column
        table = table.append_column(pa.field(free, column.type, metadata=metadata), column)
    return table


def _record_text_lengths(table: pa.Table) -> pa.Table:
    """Record the maximum length of each text column, as astropy does; it cannot read nulls without these."""
    texts = [name for name in table.column_names if pa.types.is_string(table.schema.field(name).type)]
    lengths = {name: pc.max(pc.utf8_length(table.column(name))).as_py() for name in texts}
    return table.replace_schema_metadata({f"table::len::{name}": str(length or 1) for name, length in lengths.items()})


def build_extra_column(values: Sequence[Any]) -> pa.Array:
    """Convert JSON values to a column of their common type, or to text if there is none.

    Whole numbers among fractions become fractions if that is exact. Text is kept; any other value among text is written
    as JSON, as are lists, objects and whole numbers beyond 64 bits.
    """
    kinds = {get_kind(value) for value in values} - {"null"}
    if kinds == {"int64", "float64"} and all(_is_exact(value) for value in values):
        return pa.array(values, pa.float64())
    if len(kinds) <= 1 and kinds <= {"bool", "int64", "float64"}:
        return pa.array(values, pa.type_for_alias(next(iter(kinds), "string")))
    return pa.array([_convert_to_text(value) for value in values], pa.string())


def get_kind(value: Any) -> Kind:
    """Return the column type for a JSON value; text for values that only JSON can represent."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64" if value in _INTEGERS else "string"
    return "float64" if isinstance(value, float) else "string"


def _is_exact(value: Any) -> bool:
    return not isinstance(value, int) or abs(value) <= _EXACT


def _convert_to_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


# CSV


def write_csv(table: pa.Table, file: io.TextIOBase) -> None:
    """Write ``table`` as CSV: shortest numbers that read back exactly, empty cells for nulls, ``\n`` line ends.

    A cell that a spreadsheet would run as a formula gets a leading apostrophe, which marks text in spreadsheets; the
    Parquet file keeps the original.
    """
    writer = csv.writer(_LineFeedWriter(file), lineterminator=_CRLF)
    writer.writerow([_escape_formula(name) for name in table.column_names])
    for batch in table.to_batches(max_chunksize=_ROWS_AT_A_TIME):
        writer.writerows(zip(*(_convert_cells(column) for column in batch.columns), strict=True))


class _LineFeedWriter:
    """A file for ``csv`` that ends lines with LF. ``csv`` quotes a lone CR only if its own line ends contain one."""

    def __init__(self, file: io.TextIOBase) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.removesuffix(_CRLF) + "\n")


def _convert_cells(column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if not pa.types.is_string(column.type):
        return values  # csv writes floats with repr, and None as an empty cell
    return [None if value is None else _escape_formula(value) for value in values]


def _escape_formula(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text
