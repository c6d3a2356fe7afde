"""Reads columns of binary FITS tables directly from the file's bytes.

astropy reads the headers only. Its column objects would cost ten times as much as reading three columns, and would
trust the header of a damaged file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

MAGIC = b"SIMPLE  ="
# FITS Standard 4.0, table 18: bytes per element, and NumPy's type for numbers.
_WIDTHS = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
_NUMBERS = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_FORMAT = re.compile(r"(\d{0,9})([A-Z])")
_MAX_COLUMNS = 999
_MAX_UNITS = 50


class FitsError(ValueError):
    """A defect of a file, described for its user."""


@dataclass(frozen=True)
class _Column:
    """The byte offset of a column in a row, and the type of its elements."""

    offset: int
    repeat: int
    code: str
    scale: float
    zero: float


@dataclass(frozen=True)
class FitsTable:
    """A complete binary table. Column names are in capitals."""

    header: Any
    content: bytes
    start: int
    row_bytes: int
    rows: int
    columns: Mapping[str, _Column]

    def read_numbers(self, name: str) -> NDArray[Any]:
        """Return the column (rows,). Raises FitsError if it holds no numbers, or several per row."""
        column = self.columns[name]
        if column.repeat != 1 or column.code not in _NUMBERS:
            content = f"{column.repeat} values per row" if column.code in _NUMBERS else "no numbers"
            raise FitsError(f"its column {name} holds {content}; allowed: one number per row")
        kind = np.dtype(_NUMBERS[column.code])
        place = self.start + column.offset
        raw = np.ndarray((self.rows,), kind, self.content, place, (self.row_bytes,)) if self.rows else np.empty(0, kind)
        plain = (column.scale, column.zero) == (1.0, 0.0)
        return raw if plain else raw * column.scale + column.zero

    def read_texts(self, name: str) -> NDArray[np.bytes_]:
        """Return a column of text (rows,). Raises FitsError if it holds something else."""
        column = self.columns[name]
        if column.code != "A" or column.repeat < 1:
            raise FitsError(f"its column {name} holds no text; allowed: words of at least one letter")
        kind = np.dtype(f"S{column.repeat}")
        place = self.start + column.offset
        return (
            np.ndarray((self.rows,), kind, self.content, place, (self.row_bytes,)) if self.rows else np.empty(0, kind)
        )

    def is_text(self, name: str) -> bool:
        """Return True if the column holds text."""
        return self.columns[name].code == "A"

    def get_unit(self, name: str) -> str:
        """Return the unit of a column as in the header, in lower case; empty if it is missing."""
        numbers = range(1, min(int(self.header["TFIELDS"]), _MAX_COLUMNS) + 1)
        number = next(number for number in numbers if self._get_title(number) == name)
        return str(self.header.get(f"TUNIT{number}") or "").strip().casefold()

    def _get_title(self, number: int) -> str:
        return str(self.header.get(f"TTYPE{number}", "")).strip().upper()

    def read_floats(self, name: str) -> NDArray[np.float64]:
        """Return the column (rows,) as floats; all NaN if it is missing."""
        if name not in self.columns:
            return np.full(self.rows, np.nan)
        return self.read_numbers(name).astype(np.float64)


def read_tables(content: bytes) -> tuple[Any, Iterator[FitsTable]]:
    """Return the primary header of a FITS file, and an iterator over its binary tables.

    Raises FitsError, or astropy's errors about a damaged header, during iteration too.
    """
    units = fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=True, ignore_missing_simple=False)
    return units[0].header, _iterate_tables(units, content)


def _iterate_tables(units: Any, content: bytes) -> Iterator[FitsTable]:
    for number, unit in enumerate(units):
        if number > _MAX_UNITS:
            raise FitsError(f"more than {_MAX_UNITS} extensions, too many for a light curve")
        if unit.header.get("XTENSION", "").strip() == "BINTABLE":
            yield _make_table(unit.header, content, unit.fileinfo()["datLoc"])


def _make_table(header: Any, content: bytes, start: int) -> FitsTable:
    row_bytes, rows = int(header["NAXIS1"]), int(header["NAXIS2"])
    if row_bytes < 0 or rows < 0:
        raise FitsError(f"a table of {rows} rows of {row_bytes} bytes")
    if start + row_bytes * rows > len(content):
        raise FitsError(f"truncated: its table needs {start + row_bytes * rows} bytes, the file has {len(content)}")
    columns = _parse_columns(header)
    return FitsTable(header, content, start, row_bytes, rows, columns)


def _parse_columns(header: Any) -> dict[str, _Column]:
    """Return the columns by name. Raises FitsError if they do not fill a row exactly."""
    columns: dict[str, _Column] = {}
    offset = 0
    for number in range(1, min(int(header["TFIELDS"]), _MAX_COLUMNS) + 1):
        repeat, code = _parse_format(str(header[f"TFORM{number}"]))
        scale, zero = float(header.get(f"TSCAL{number}", 1.0)), float(header.get(f"TZERO{number}", 0.0))
        name = str(header.get(f"TTYPE{number}", "")).strip().upper()
        columns.setdefault(name, _Column(offset, repeat, code, scale, zero))
        offset += (repeat + 7) // 8 if code == "X" else repeat * _WIDTHS[code]
    if offset != header["NAXIS1"]:
        raise FitsError(f"its columns take {offset} bytes per row, but its header says {header['NAXIS1']}")
    return columns


def _parse_format(text: str) -> tuple[int, str]:
    parts = _FORMAT.match(text.strip().upper())
    if parts is None or (parts[2] not in _WIDTHS and parts[2] != "X"):
        raise FitsError(f"a column of the unknown format {text[:20]!r}")
    return int(parts[1] or 1), parts[2]
