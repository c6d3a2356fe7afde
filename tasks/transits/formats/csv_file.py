"""Light curves in text: time, flux, and perhaps an error and a quality; with or without a header."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.transits.formats.observed import MAX_TIME, Observed, Points, refusal, stem
from tasks.transits.formats.quality import good_cadences
from tasks.transits.formats.times import clock_of
from tasks.transits.light_curve import Segment, Star
from tasks.transits.params import FluxColumn

_TIME = ("time", "bjd", "btjd", "bkjd", "jd", "mjd", "t", "bjd_tdb", "time_bjd", "time_btjd", "time_bkjd")
_PLAIN_FLUX = ("flux", "f", "relative_flux", "normalized_flux", "flux_normalized", "norm_flux")
_FLUX: Mapping[FluxColumn, tuple[str, ...]] = {
    "pdcsap": ("pdcsap_flux", "kspsap_flux", "det_flux", *_PLAIN_FLUX),
    "sap": ("sap_flux", *_PLAIN_FLUX),
}
_ERROR = ("flux_error", "flux_err", "error", "err", "e_flux", "sigma", "uncertainty")
_QUALITY = ("quality", "sap_quality", "flag", "flags", "quality_flag", "quality_flags")
_MISSING = frozenset({"", "nan", "null", "none", "na", "n/a", "--", "-", "masked"})
_MAX_IPAC_COMMENTS = 5000  # lines in which a table says that it is one
_SEPARATORS = (",", ";", "\t")


@dataclass(frozen=True)
class _Text:
    """The lines of a file that are neither blank nor comments, with their numbers in the file, from 1."""

    path: Path
    lines: Sequence[str]
    numbers: Sequence[int]
    separator: str | None  # None: any run of blanks
    header: Sequence[str]

    def cells(self, index: int) -> list[str]:
        return _cells(self.lines[index], self.separator)


@dataclass(frozen=True)
class _Columns:
    """Where to find what, by position; None where there is none."""

    time: int
    flux: int
    error: int | None
    quality: int | None

    @property
    def used(self) -> list[int]:
        return [place for place in (self.time, self.flux, self.error, self.quality) if place is not None]


def read_csv(path: Path, content: bytes, flux: FluxColumn, mission: str = "") -> Observed:
    """The light curve in ``content``, text that was read at ``path``; lines that begin with ``#`` are comments.

    Separated by commas, semicolons, tabs or blanks. Without a header the columns are time, flux, flux error, quality.
    In IPAC tables lines that begin with a backslash are comments, and lines that begin with a bar are the header:
    names, and then types, units and nulls. A first column without a name, as pandas writes its index, may be there.
    ``mission`` settles what the times count from, where their values leave it open. Raises BadInput for what is no
    table of numbers.
    """
    text = _text(path, content)
    columns = _named(text, flux) if text.header else _positions(text)
    table = _table(text, columns)
    return _observed(text, columns, table, mission)


def _text(path: Path, content: bytes) -> _Text:
    """The file's lines, its separator and its header: a line of names above the numbers, be it a comment or not."""
    numbered = [(number, line) for number, line in enumerate(_decoded(path, content).splitlines(), 1) if line.strip()]
    if any(line.startswith("|") for _, line in numbered[:_MAX_IPAC_COMMENTS]):
        return _ipac_text(path, numbered)
    data = [(number, line) for number, line in numbered if not line.lstrip().startswith("#")]
    if not data:
        raise refusal(path, "no rows in it, only comments")
    separator = next((mark for mark in _SEPARATORS if mark in data[0][1]), None)
    header = _cells(data[0][1], separator)
    if _is_number(header[0]) and (header[0] or all(map(_is_number, header))):
        comments = [line.lstrip("# \t") for number, line in numbered if number < data[0][0]]
        header = _names_in(comments[-1], separator) if comments else []
    else:
        data = data[1:]
    return _Text(path, [line for _, line in data], [number for number, _ in data], separator, header)


def _ipac_text(path: Path, numbered: Sequence[tuple[int, str]]) -> _Text:
    """The lines of an IPAC table, whose values lie between the bars of its header.

    Source: irsa.ipac.caltech.edu, "IPAC Table Format Definition".
    """
    header = next(line for _, line in numbered if line.startswith("|")).rstrip()
    data = [(number, line) for number, line in numbered if not line.startswith(("|", "\\", "#"))]
    if not data:
        raise refusal(path, "no rows under its header")
    bars = [place for place, sign in enumerate(header) if sign == "|"]
    lines = [_between(path, bars, number, line) for number, line in data]
    names = [name.strip() for name in header.strip("|").split("|")]
    return _Text(path, lines, [number for number, _ in data], "\t", names)


def _between(path: Path, bars: Sequence[int], number: int, line: str) -> str:
    """The cells of a line with tabs between them. Raises BadInput if a value lies under a bar."""
    if any(line[bar : bar + 1].strip() for bar in bars):
        raise refusal(path, f"line {number} has a value under a bar of the header", "get the file again")
    return "\t".join(line[start:end].strip() for start, end in itertools.pairwise(bars))


def _decoded(path: Path, content: bytes) -> str:
    if b"\0" in content:
        raise refusal(path, "binary, not text; allowed: FITS files and CSV")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise refusal(path, f"a byte that is not UTF-8 in line {line}", "save it again as UTF-8") from error


def _names_in(comment: str, separator: str | None) -> list[str]:
    """The names in a comment, where it looks like a header."""
    names = _cells(comment, separator)
    return names if {name.lower() for name in names} & set(_TIME) else []


def _cells(line: str, separator: str | None) -> list[str]:
    return [cell.strip().strip('"').strip() for cell in line.split(separator)]


def _is_number(cell: str) -> bool:
    return _number(cell) is not None


def _number(cell: str) -> float | None:
    """NaN for a cell that says in words that it has no value; None for one that is no number."""
    if cell.lower() in _MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return None


def _named(text: _Text, flux: FluxColumn) -> _Columns:
    names = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in text.header]
    time, value = _first(names, _TIME), _first(names, _FLUX[flux])
    if time is None or value is None:
        missing, allowed = ("time", _TIME) if time is None else (f"flux for --flux {flux}", _FLUX[flux])
        given = f"no column of {missing}: they are {', '.join(text.header)[:200]}"
        raise refusal(text.path, f"{given}; allowed: {', '.join(allowed)}")
    error = _first(names, (f"{names[value]}_err", f"{names[value]}_error", *_ERROR))
    return _Columns(time, value, error, _first(names, _QUALITY))


def _first(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _positions(text: _Text) -> _Columns:
    count = len(text.cells(0))
    if count < 2:
        raise refusal(text.path, f"{count} column in line {text.numbers[0]}; allowed: at least a time and a flux")
    return _Columns(0, 1, 2 if count > 2 else None, 3 if count > 3 else None)


def _table(text: _Text, columns: _Columns) -> NDArray[np.float64]:
    """(n, used columns). NumPy's reader where it understands every cell, else line by line, to say which it is."""
    if not text.lines:
        raise refusal(text.path, "no rows under its header")
    try:
        return np.loadtxt(text.lines, delimiter=text.separator, usecols=columns.used, ndmin=2, comments=None)
    except ValueError:
        return np.array([_row(text, columns, index) for index in range(len(text.lines))], dtype=np.float64)


def _row(text: _Text, columns: _Columns, index: int) -> list[float]:
    cells = text.cells(index)
    place = f"in line {text.numbers[index]}"
    if len(cells) <= max(columns.used):
        raise refusal(text.path, f"{len(cells)} cells {place}; allowed: at least {max(columns.used) + 1}")
    numbers: list[float] = []
    for column in columns.used:
        number = _number(cells[column])
        if number is None:
            raise refusal(text.path, f"{cells[column][:40]!r} {place}, column {column + 1}; allowed: a number")
        numbers.append(number)
    return numbers


def _observed(text: _Text, columns: _Columns, table: NDArray[np.float64], mission: str) -> Observed:
    time, flux = table[:, 0], table[:, 1]
    error = table[:, 2] if columns.error is not None else np.full(len(time), np.nan)
    clock = clock_of(time[np.abs(time) < MAX_TIME], f"{text.path.name} {' '.join(text.header)}", mission)
    good = np.ones(len(time), dtype=np.bool_)
    if columns.quality is not None:
        good = good_cadences(np.clip(np.nan_to_num(table[:, -1]), 0, 2**53).astype(np.int64), clock.mission)
    points = Points.of(time + clock.offset_days, flux, error, good)
    segment = Segment(stem(text.path), clock.mission, "csv", points.cadence_seconds, clock.time_system)
    return Observed(text.path, segment, Star(), points)
