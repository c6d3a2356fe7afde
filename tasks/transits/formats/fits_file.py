"""Reads light curves in FITS: Kepler, K2, TESS SPOC, TESS QLP, and files written by lightkurve."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from tasks.transits.formats.fits_table import MAGIC, FitsError, FitsTable, read_tables
from tasks.transits.formats.light_curve_file import LightCurveFile, Points, get_stem, make_bad_input
from tasks.transits.formats.quality import MASKS, find_good_cadences
from tasks.transits.formats.stars import read_header_star
from tasks.transits.light_curve import TIME_ZERO_DAYS, Segment
from tasks.transits.params import FluxColumn

# Columns in order of preference. KSPSAP and DET are the detrended flux of QLP (sectors 1 to 55, and from 56 on), its
# counterpart of PDCSAP; lightkurve writes FLUX.
_FLUX: Mapping[FluxColumn, tuple[str, ...]] = {
    "pdcsap": ("PDCSAP_FLUX", "KSPSAP_FLUX", "DET_FLUX", "FLUX"),
    "sap": ("SAP_FLUX", "FLUX"),
}
_QUALITY = ("SAP_QUALITY", "QUALITY")
_PARTS = (("SECTOR", "S"), ("CAMPAIGN", "C"), ("QUARTER", "Q"))
# All errors that astropy raises for damaged headers.
_DAMAGE = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError, struct.error,
    RecursionError, fits.VerifyError,
)  # fmt: skip


def is_fits(content: bytes) -> bool:
    """Return True if a file begins as every FITS file does."""
    return content.startswith(MAGIC)


def read_fits(path: Path, content: bytes, flux: FluxColumn) -> LightCurveFile:
    """Read the light curve in ``content``, the bytes of the file at ``path``.

    Raises BadInput if the file is not FITS, is truncated, or holds no light curve. Allocations never follow a size in a
    header, and reads stay within ``content``.
    """
    if not is_fits(content):
        packed = content.startswith(b"\x1f\x8b")
        advice = "it is compressed twice; unpack it once (gunzip)" if packed else "get the file again"
        raise make_bad_input(path, f"not a FITS file: it begins with {content[:9]!r}", advice)
    with _convert_errors(path):
        header, tables = read_tables(content)
        return _build_file(path, header, _find_light_curve_table(tables), flux)


@contextmanager
def _convert_errors(path: Path) -> Iterator[None]:
    """Convert all errors of astropy about damage to BadInput, and suppress its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FitsError as error:
        raise make_bad_input(path, str(error)) from error
    except _DAMAGE as error:
        raise make_bad_input(path, f"a damaged FITS file ({str(error)[:200]})", "get the file again") from error


def _find_light_curve_table(tables: Iterator[FitsTable]) -> FitsTable:
    """Return the first table with times."""
    seen = []
    for table in tables:
        if "TIME" in table.columns:
            return table
        seen.append(", ".join(list(table.columns)[:20]))
    given = f"tables of {'; '.join(seen)}" if seen else "no table"
    raise FitsError(f"no light curve in it, but {given}; allowed: a table with TIME and a flux")


def _build_file(path: Path, header: Any, table: FitsTable, flux: FluxColumn) -> LightCurveFile:
    column = _choose_flux_column(table, flux)
    mission = _get_mission(header)
    points = _read_points(table, column, mission)
    segment = Segment(
        name=_get_segment_name(header) or get_stem(path),
        mission=mission,
        author=_get_author(path, header, table),
        cadence_seconds=points.cadence_seconds or _get_declared_cadence(table.header),
        time_system=_get_time_system(table.header, mission),
    )
    return LightCurveFile(path, segment, read_header_star(header), points, _get_catalogue_name(header, mission))


def _choose_flux_column(table: FitsTable, flux: FluxColumn) -> str:
    column = next((name for name in _FLUX[flux] if name in table.columns), None)
    if column is None:
        given = f"no flux for --flux {flux}: its columns are {', '.join(list(table.columns)[:30])}"
        raise FitsError(f"{given}; allowed: {', '.join(_FLUX[flux])}")
    return column


def _read_points(table: FitsTable, column: str, mission: str) -> Points:
    """Read the points. QLP provides errors only for its detrended flux."""
    errors = next((name for name in (f"{column}_ERR", "KSPSAP_FLUX_ERR", "DET_FLUX_ERR") if name in table.columns), "")
    quality = next((name for name in _QUALITY if name in table.columns), None)
    good = np.ones(table.rows, dtype=np.bool_)
    if quality is not None:
        good = find_good_cadences(table.read_numbers(quality).astype(np.int64), mission)
    return Points.from_arrays(table.read_floats("TIME"), table.read_floats(column), table.read_floats(errors), good)


def _get_mission(header: Any) -> str:
    """Return the mission. ``TELESCOP`` is Kepler for K2 too, so ``MISSION`` comes first."""
    mission = str(header.get("MISSION") or header.get("TELESCOP") or "").strip()
    return mission if mission in MASKS else ""


def _get_catalogue_name(header: Any, mission: str) -> str:
    number = header.get("TICID" if mission == "TESS" else "KEPLERID")
    catalogue = {"TESS": "TIC", "Kepler": "KIC", "K2": "EPIC"}.get(mission)
    return f"{catalogue} {number}" if catalogue and type(number) is int else ""


def _get_segment_name(header: Any) -> str:
    return next((f"{letter}{header[key]}" for key, letter in _PARTS if type(header.get(key)) is int), "")


def _get_author(path: Path, header: Any, table: FitsTable) -> str:
    if "KSPSAP_FLUX" in table.columns or "DET_FLUX" in table.columns:
        return "QLP"
    if _get_mission(header) == "TESS":
        return "TESS-SPOC" if "tess-spoc" in path.name else "SPOC"
    return _get_mission(header) or "FITS"


def _get_declared_cadence(header: Any) -> float:
    """Return the cadence in seconds; 0 if the header does not state it."""
    days = header.get("TIMEDEL")
    return float(days) * 86400 if isinstance(days, int | float) else 0.0


def _get_time_system(header: Any, mission: str) -> str:
    whole = header.get("BJDREFI", header.get("JDREFI"))
    if whole is None:
        return {"TESS": "BTJD", "Kepler": "BKJD", "K2": "BKJD"}.get(mission, "BJD")
    zero = float(whole) + float(header.get("BJDREFF", header.get("JDREFF")) or 0.0)
    for system, days in TIME_ZERO_DAYS.items():
        if abs(zero - days) < 1e-6:
            return system
    raise FitsError(f"its times count from the Julian date {zero}; allowed: 2457000, 2454833 or 0")
