"""Reads light curves in FITS: those of the missions, of other pipelines at the archive, and of lightkurve."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from tasks.transits.formats.fits_table import MAGIC, FitsError, FitsTable, read_tables
from tasks.transits.formats.light_curve_file import MAX_TIME, LightCurveFile, Points, get_stem, make_bad_input
from tasks.transits.formats.products import TIMES, Product, Unit, identify_product
from tasks.transits.formats.quality import MASKS, find_disturbed_cadences, find_good_cadences
from tasks.transits.formats.stars import read_header_star
from tasks.transits.formats.times import Clock, detect_clock
from tasks.transits.formats.units import convert_to_flux
from tasks.transits.light_curve import TIME_ZERO_DAYS, Flags, Floats, Segment
from tasks.transits.params import FluxColumn

_TWO_TABLES = "K2SC"
_UNITS: Mapping[str, Unit] = {"mag": "magnitude", "magnitude": "magnitude", "ppm": "ppm"}
_MIN_MODIFIED = 40_000.0  # modified Julian dates of any mission are larger
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
        table = _find_light_curve_table(tables)
        product = identify_product(header, table)
        if product.name == _TWO_TABLES and flux == "sap":
            table = next((other for other in tables if _is_sap(other)), table)
        return _build_file(path, header, table, product, flux)


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
        if TIMES & table.columns.keys():
            return table
        seen.append(", ".join(list(table.columns)[:20]))
    given = f"tables of {'; '.join(seen)}" if seen else "no table"
    raise FitsError(f"no light curve in it, but {given}; allowed: a table with TIME and a flux")


def _is_sap(table: FitsTable) -> bool:
    """Return True for the second table of K2SC, made from the uncorrected flux."""
    name = str(table.header.get("EXTNAME") or "").upper()
    return "SAP" in name and "PDC" not in name


def _build_file(path: Path, header: Any, table: FitsTable, product: Product, flux: FluxColumn) -> LightCurveFile:
    column = _choose_flux_column(table, product, flux)
    mission = _get_mission(header) or product.mission
    time = next(name for name in product.times if name in table.columns)
    clock = _read_clock(table, time, mission)
    points = _read_points(table, product, column, time, clock, mission)
    segment = Segment(
        name=_get_segment_name(header) or get_stem(path),
        mission=mission,
        author="TESS-SPOC" if product.name == "SPOC" and "tess-spoc" in path.name else product.name,
        cadence_seconds=points.cadence_seconds or _get_declared_cadence(table.header),
        time_system=clock.time_system,
    )
    return LightCurveFile(path, segment, read_header_star(header), points, _get_catalogue_name(header, mission))


def _choose_flux_column(table: FitsTable, product: Product, flux: FluxColumn) -> str:
    """Return the flux column of the first group with finite values; in a group, the one with the least noise."""
    groups = [[name for name in names if name in table.columns] for names in product.flux[flux]]
    for names in filter(None, groups):
        noise = {name: _measure_noise(table.read_floats(name)) for name in names} if len(names) > 1 else {}
        best = min(names, key=lambda name: noise.get(name, 0.0))
        if names == groups[-1] or np.isfinite(table.read_floats(best)).any():
            return best
    present = [name for names in groups for name in names]
    if present:
        return present[0]
    given = f"no flux for --flux {flux}: its columns are {', '.join(list(table.columns)[:30])}"
    allowed = ", ".join(name for names in product.flux[flux] for name in names)
    raise FitsError(f"{given}; allowed: {allowed}")


def _measure_noise(values: Floats) -> float:
    """Return the median step between points; infinite if there is none."""
    steps = np.abs(np.diff(values[np.isfinite(values)]))
    return float(np.median(steps)) if len(steps) else np.inf


def _read_points(table: FitsTable, product: Product, column: str, time: str, clock: Clock, mission: str) -> Points:
    """Read the points. QLP provides errors only for its detrended flux."""
    flux = table.read_floats(column)
    errors = _find_column(table, (f"{column}_ERR", *product.errors), column)
    error = table.read_floats(errors) if errors else np.full(table.rows, np.nan)
    unit = product.unit if product.unit != "flux" else _UNITS.get(table.get_unit(column), "flux")
    flux, error = convert_to_flux(flux, error, unit)
    quality = _find_column(table, product.quality, column)
    good = _find_good(table, product, quality, mission)
    disturbed = None
    if quality and not table.is_text(quality):
        disturbed = find_disturbed_cadences(table.read_numbers(quality).astype(np.int64), mission)
    return Points.from_arrays(table.read_floats(time) + clock.offset_days, flux, error, good, disturbed)


def _find_column(table: FitsTable, names: Sequence[str], flux: str) -> str:
    """Return the first existing column, of the same aperture as ``flux`` if it has a number; empty if none exists."""
    aperture = flux[-1:] if flux[-1:].isdecimal() else ""
    return next((name for name in names if name in table.columns and name.endswith(aperture)), "")


def _find_good(table: FitsTable, product: Product, quality: str, mission: str) -> Flags:
    if not quality:
        return np.ones(table.rows, dtype=np.bool_)
    if table.is_text(quality):
        words = np.char.strip(table.read_texts(quality))
        return np.isin(words, [word.encode() for word in product.good])
    return find_good_cadences(table.read_numbers(quality).astype(np.int64), mission)


def _get_mission(header: Any) -> str:
    """Return the mission. ``TELESCOP`` is Kepler for K2 too, so ``MISSION`` comes first."""
    mission = str(header.get("MISSION") or header.get("TELESCOP") or "").strip()
    return mission if mission in MASKS else ""


def _get_catalogue_name(header: Any, mission: str) -> str:
    number = header.get("TICID" if mission == "TESS" else "KEPLERID")
    number = int(number) if isinstance(number, str) and number.strip().isdecimal() else number  # TGLC writes text
    catalogue = {"TESS": "TIC", "Kepler": "KIC", "K2": "EPIC"}.get(mission)
    return f"{catalogue} {number}" if catalogue and type(number) is int else ""


def _get_segment_name(header: Any) -> str:
    return next((f"{letter}{header[key]}" for key, letter in _PARTS if type(header.get(key)) is int), "")


def _get_declared_cadence(header: Any) -> float:
    """Return the cadence in seconds; 0 if the header does not state it."""
    days = header.get("TIMEDEL")
    return float(days) * 86400 if isinstance(days, int | float) else 0.0


def _read_clock(table: FitsTable, time: str, mission: str) -> Clock:
    """Return the clock that the header states, else the one that the values of the column show."""
    whole = table.header.get("BJDREFI", table.header.get("JDREFI"))
    if whole is None:
        return _detect_clock(table, time, mission)
    zero = float(whole) + float(table.header.get("BJDREFF", table.header.get("JDREFF")) or 0.0)
    for system, days in TIME_ZERO_DAYS.items():
        if abs(zero - days) < 1e-6:
            return Clock(system, mission)
    raise FitsError(f"its times count from the Julian date {zero}; allowed: 2457000, 2454833 or 0")


def _detect_clock(table: FitsTable, time: str, mission: str) -> Clock:
    values = table.read_floats(time)
    clock = detect_clock(values[np.abs(values) < MAX_TIME], table.get_unit(time), mission)
    if clock.time_system != "BJD" or clock.offset_days or not mission or np.nanmax(values, initial=0.0) > _MIN_MODIFIED:
        return clock
    return Clock({"TESS": "BTJD"}.get(mission, "BKJD"), mission)
