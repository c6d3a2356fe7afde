"""Reads light curves in text: time, flux, and optionally error and quality; with or without a header."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.transits.formats.light_curve_file import MAX_TIME, LightCurveFile, Points, get_stem, make_bad_input
from tasks.transits.formats.products import Unit
from tasks.transits.formats.quality import find_disturbed_cadences, find_good_cadences
from tasks.transits.formats.times import detect_clock
from tasks.transits.formats.units import convert_to_flux
from tasks.transits.light_curve import Segment, Star
from tasks.transits.params import FluxColumn

_TIME = (
    "time", "bjd", "btjd", "bkjd", "jd", "mjd", "t", "bjd_tdb", "time_bjd", "time_btjd", "time_bkjd", "tmid_bjd",
    "bjd_2454833", "bjd_2457000", "time_bjd_2454833", "time_bjd_2457000",
)  # fmt: skip
_PLAIN_FLUX = ("flux", "f", "relative_flux", "normalized_flux", "flux_normalized", "norm_flux", "corrected_flux")
# Used if there is no flux; larger magnitudes are fainter.
_MAGNITUDES = (
    "mag", "magnitude", "mags", "magnitudes", "tess_mag", "tmag", "kepmag", "rel_mag", "delta_mag", "tfa_mag",
    "magnitude_mag", "mag_mag", "tfa1", "tfa2", "irm1", "irm2",
)  # fmt: skip
_FLUX: Mapping[FluxColumn, tuple[str, ...]] = {
    "pdcsap": ("pdcsap_flux", "kspsap_flux", "det_flux", *_PLAIN_FLUX),
    "sap": ("sap_flux", *_PLAIN_FLUX),
}
_MAGNITUDE_ERROR = ("mag_err", "mag_error", "e_mag", "magerr", "mag_unc", "magnitude_error")
_ERROR = ("flux_error", "flux_err", "error", "err", "e_flux", "sigma", "uncertainty")
_QUALITY = ("quality", "sap_quality", "flag", "flags", "quality_flag", "quality_flags")
_MISSING = frozenset({"", "nan", "null", "none", "na", "n/a", "--", "-", "masked"})
_MAX_IPAC_COMMENTS = 5000  # lines to search for the header of an IPAC table
_SEPARATORS = (",", ";", "\t")


@dataclass(frozen=True)
class _Text:
    """The lines of a file without blank lines and comments, with their line numbers from 1."""

    path: Path
    lines: Sequence[str]
    numbers: Sequence[int]
    separator: str | None  # None: whitespace
    header: Sequence[str]

    def get_cells(self, index: int) -> list[str]:
        return _split_cells(self.lines[index], self.separator)


@dataclass(frozen=True)
class _Columns:
    """Positions of the columns; None for a missing column. ``unit``: of the column ``flux``."""

    time: int
    flux: int
    error: int | None
    quality: int | None
    unit: Unit = "flux"

    @property
    def used(self) -> list[int]:
        return [place for place in (self.time, self.flux, self.error, self.quality) if place is not None]


def read_csv(path: Path, content: bytes, flux: FluxColumn, mission: str = "") -> LightCurveFile:
    """Read the light curve in ``content``, the text of the file at ``path``; lines that begin with ``#`` are comments.

    Cells are separated by commas, semicolons, tabs or blanks. Without a header the columns are time, flux, flux error,
    quality. In IPAC tables, lines that begin with a backslash are comments, and lines that begin with a bar are the
    header: names, then types, units and nulls. The first column may be unnamed, as in an index written by pandas.
    ``mission`` decides the time origin if the values leave it open. Raises BadInput if the content is not a table of
    numbers.
    """
    text = _split_text(path, content)
    columns = _find_columns(text, flux) if text.header else _assign_columns(text)
    table = _parse_table(text, columns)
    return _build_file(text, columns, table, mission)


def _split_text(path: Path, content: bytes) -> _Text:
    """Split the file into lines, its separator and its header: a line of names above the numbers, even as a comment."""
    numbered = [(number, line) for number, line in enumerate(_decode(path, content).splitlines(), 1) if line.strip()]
    if any(line.startswith("|") for _, line in numbered[:_MAX_IPAC_COMMENTS]):
        return _split_ipac_text(path, numbered)
    data = [(number, line) for number, line in numbered if not line.lstrip().startswith("#")]
    if not data:
        raise make_bad_input(path, "no rows in it, only comments")
    separator = next((mark for mark in _SEPARATORS if mark in data[0][1]), None)
    header = _split_cells(data[0][1], separator)
    if _is_number(header[0]) and (header[0] or all(map(_is_number, header))):
        comments = [line.lstrip("# \t") for number, line in numbered if number < data[0][0]]
        header = _parse_header_comment(comments[-1], separator) if comments else []
    else:
        data = data[1:]
    return _Text(path, [line for _, line in data], [number for number, _ in data], separator, header)


def _split_ipac_text(path: Path, numbered: Sequence[tuple[int, str]]) -> _Text:
    """Split an IPAC table, whose values lie between the bars of its header.

    Source: irsa.ipac.caltech.edu, "IPAC Table Format Definition".
    """
    header = next(line for _, line in numbered if line.startswith("|")).rstrip()
    data = [(number, line) for number, line in numbered if not line.startswith(("|", "\\", "#"))]
    if not data:
        raise make_bad_input(path, "no rows under its header")
    bars = [place for place, sign in enumerate(header) if sign == "|"]
    lines = [_split_at_bars(path, bars, number, line) for number, line in data]
    names = [name.strip() for name in header.strip("|").split("|")]
    return _Text(path, lines, [number for number, _ in data], "\t", names)


def _split_at_bars(path: Path, bars: Sequence[int], number: int, line: str) -> str:
    """Return the cells of a line, joined by tabs. Raises BadInput if a value lies under a bar."""
    if any(line[bar : bar + 1].strip() for bar in bars):
        raise make_bad_input(path, f"line {number} has a value under a bar of the header", "get the file again")
    return "\t".join(line[start:end].strip() for start, end in itertools.pairwise(bars))


def _decode(path: Path, content: bytes) -> str:
    if b"\0" in content:
        raise make_bad_input(path, "binary, not text; allowed: FITS files and CSV")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise make_bad_input(path, f"a byte that is not UTF-8 in line {line}", "save it again as UTF-8") from error


def _parse_header_comment(comment: str, separator: str | None) -> list[str]:
    """Return the names in a comment if it looks like a header, else none."""
    names = _split_cells(comment, separator)
    return names if {name.lower() for name in names} & set(_TIME) else []


def _split_cells(line: str, separator: str | None) -> list[str]:
    return [cell.strip().strip('"').strip() for cell in line.split(separator)]


def _is_number(cell: str) -> bool:
    return _parse_number(cell) is not None


def _parse_number(cell: str) -> float | None:
    """Return the number in a cell, NaN for a word that means no value, None for any other text."""
    if cell.lower() in _MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return None


def _find_columns(text: _Text, flux: FluxColumn) -> _Columns:
    names = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in text.header]
    time, value = _find_first(names, _TIME), _find_first(names, _FLUX[flux])
    magnitude = _find_first(names, _MAGNITUDES) if value is None else None
    if time is not None and magnitude is not None:
        wanted = (f"{names[magnitude]}_err", f"{names[magnitude]}_error", *_MAGNITUDE_ERROR, *_ERROR)
        quality = _find_first(names, _QUALITY)
        return _Columns(time, magnitude, _find_first(names, wanted), quality, "magnitude")
    if time is None or value is None:
        missing, allowed = ("time", _TIME) if time is None else (f"flux for --flux {flux}", _FLUX[flux])
        given = f"no column of {missing}: they are {', '.join(text.header)[:200]}"
        raise make_bad_input(text.path, f"{given}; allowed: {', '.join(allowed)}")
    error = _find_first(names, (f"{names[value]}_err", f"{names[value]}_error", *_ERROR))
    return _Columns(time, value, error, _find_first(names, _QUALITY))


def _find_first(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _assign_columns(text: _Text) -> _Columns:
    count = len(text.get_cells(0))
    if count < 2:
        raise make_bad_input(
            text.path, f"{count} column in line {text.numbers[0]}; allowed: at least a time and a flux"
        )
    return _Columns(0, 1, 2 if count > 2 else None, 3 if count > 3 else None)


def _parse_table(text: _Text, columns: _Columns) -> NDArray[np.float64]:
    """Return (n, used columns). If NumPy's reader fails, read line by line to report the bad cell."""
    if not text.lines:
        raise make_bad_input(text.path, "no rows under its header")
    try:
        return np.loadtxt(text.lines, delimiter=text.separator, usecols=columns.used, ndmin=2, comments=None)
    except ValueError:
        return np.array([_parse_row(text, columns, index) for index in range(len(text.lines))], dtype=np.float64)


def _parse_row(text: _Text, columns: _Columns, index: int) -> list[float]:
    cells = text.get_cells(index)
    place = f"in line {text.numbers[index]}"
    if len(cells) <= max(columns.used):
        raise make_bad_input(text.path, f"{len(cells)} cells {place}; allowed: at least {max(columns.used) + 1}")
    numbers: list[float] = []
    for column in columns.used:
        number = _parse_number(cells[column])
        if number is None:
            raise make_bad_input(text.path, f"{cells[column][:40]!r} {place}, column {column + 1}; allowed: a number")
        numbers.append(number)
    return numbers


def _build_file(text: _Text, columns: _Columns, table: NDArray[np.float64], mission: str) -> LightCurveFile:
    time, flux = table[:, 0], table[:, 1]
    error = table[:, 2] if columns.error is not None else np.full(len(time), np.nan)
    flux, error = convert_to_flux(flux, error, columns.unit)
    clock = detect_clock(time[np.abs(time) < MAX_TIME], f"{text.path.name} {' '.join(text.header)}", mission)
    good, disturbed = np.ones(len(time), dtype=np.bool_), None
    if columns.quality is not None:
        quality = np.clip(np.nan_to_num(table[:, -1]), 0, 2**53).astype(np.int64)
        good = find_good_cadences(quality, clock.mission)
        disturbed = find_disturbed_cadences(quality, clock.mission)
    points = Points.from_arrays(time + clock.offset_days, flux, error, good, disturbed)
    segment = Segment(get_stem(text.path), clock.mission, "csv", points.cadence_seconds, clock.time_system)
    return LightCurveFile(text.path, segment, Star(), points)
