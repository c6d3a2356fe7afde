"""Light curves in FITS: Kepler, K2, TESS SPOC, TESS QLP, and what lightkurve writes."""

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
from tasks.transits.formats.observed import Observed, Points, refusal, stem
from tasks.transits.formats.quality import MASKS, good_cadences
from tasks.transits.formats.stars import header_star
from tasks.transits.light_curve import TIME_ZERO_DAYS, Segment
from tasks.transits.params import FluxColumn

# By the first that a file has. KSPSAP and DET are what QLP detrended (sectors 1 to 55, and from 56 on), which is its
# counterpart of PDCSAP; FLUX is what lightkurve writes.
_FLUX: Mapping[FluxColumn, tuple[str, ...]] = {
    "pdcsap": ("PDCSAP_FLUX", "KSPSAP_FLUX", "DET_FLUX", "FLUX"),
    "sap": ("SAP_FLUX", "FLUX"),
}
_QUALITY = ("SAP_QUALITY", "QUALITY")
_PARTS = (("SECTOR", "S"), ("CAMPAIGN", "C"), ("QUARTER", "Q"))
# All that astropy raises over damaged headers.
_DAMAGE = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError, struct.error,
    RecursionError, fits.VerifyError,
)  # fmt: skip


def is_fits(content: bytes) -> bool:
    """Whether a file begins as every FITS file does."""
    return content.startswith(MAGIC)


def read_fits(path: Path, content: bytes, flux: FluxColumn) -> Observed:
    """The light curve in ``content``, which was read at ``path``.

    Raises BadInput for what is no FITS file, is cut off, or holds no light curve. Nothing is allocated by the size that
    a header declares, and nothing outside of ``content`` is looked at.
    """
    if not is_fits(content):
        packed = content.startswith(b"\x1f\x8b")
        advice = "it is packed twice: unpack it once (gunzip)" if packed else "get the file again"
        raise refusal(path, f"not a FITS file: it begins with {content[:9]!r}", advice)
    with _damage_told(path):
        header, tables = read_tables(content)
        return _observed(path, header, _light_curve_table(tables), flux)


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Whatever astropy raises over damage becomes BadInput; what it warns of is checked here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FitsError as error:
        raise refusal(path, str(error)) from error
    except _DAMAGE as error:
        raise refusal(path, f"a damaged FITS file ({str(error)[:200]})", "get the file again") from error


def _light_curve_table(tables: Iterator[FitsTable]) -> FitsTable:
    """The first table with times."""
    seen = []
    for table in tables:
        if "TIME" in table.columns:
            return table
        seen.append(", ".join(list(table.columns)[:20]))
    given = f"tables of {'; '.join(seen)}" if seen else "no table at all"
    raise FitsError(f"no light curve in it, but {given}; allowed: a table with TIME and a flux")


def _observed(path: Path, header: Any, table: FitsTable, flux: FluxColumn) -> Observed:
    column = _flux_column(table, flux)
    mission = _mission(header)
    points = _points(table, column, mission)
    segment = Segment(
        name=_segment_name(header) or stem(path),
        mission=mission,
        author=_author(path, header, table),
        cadence_seconds=points.cadence_seconds or _declared_cadence(table.header),
        time_system=_time_system(table.header, mission),
    )
    return Observed(path, segment, header_star(header), points, _catalogue_name(header, mission))


def _flux_column(table: FitsTable, flux: FluxColumn) -> str:
    found = next((name for name in _FLUX[flux] if name in table.columns), None)
    if found is None:
        given = f"no flux for --flux {flux}: its columns are {', '.join(list(table.columns)[:30])}"
        raise FitsError(f"{given}; allowed: {', '.join(_FLUX[flux])}")
    return found


def _points(table: FitsTable, column: str, mission: str) -> Points:
    """QLP gives errors for its detrended flux only."""
    errors = next((name for name in (f"{column}_ERR", "KSPSAP_FLUX_ERR", "DET_FLUX_ERR") if name in table.columns), "")
    quality = next((name for name in _QUALITY if name in table.columns), None)
    good = np.ones(table.rows, dtype=np.bool_)
    if quality is not None:
        good = good_cadences(table.numbers(quality).astype(np.int64), mission)
    return Points.of(table.floats("TIME"), table.floats(column), table.floats(errors), good)


def _mission(header: Any) -> str:
    """``TELESCOP`` says Kepler for K2 too; ``MISSION`` tells them apart."""
    found = str(header.get("MISSION") or header.get("TELESCOP") or "").strip()
    return found if found in MASKS else ""


def _catalogue_name(header: Any, mission: str) -> str:
    number = header.get("TICID" if mission == "TESS" else "KEPLERID")
    catalogue = {"TESS": "TIC", "Kepler": "KIC", "K2": "EPIC"}.get(mission)
    return f"{catalogue} {number}" if catalogue and type(number) is int else ""


def _segment_name(header: Any) -> str:
    return next((f"{letter}{header[key]}" for key, letter in _PARTS if type(header.get(key)) is int), "")


def _author(path: Path, header: Any, table: FitsTable) -> str:
    if "KSPSAP_FLUX" in table.columns or "DET_FLUX" in table.columns:
        return "QLP"
    if _mission(header) == "TESS":
        return "TESS-SPOC" if "tess-spoc" in path.name else "SPOC"
    return _mission(header) or "FITS"


def _declared_cadence(header: Any) -> float:
    """Seconds; 0 where the header does not say."""
    days = header.get("TIMEDEL")
    return float(days) * 86400 if isinstance(days, int | float) else 0.0


def _time_system(header: Any, mission: str) -> str:
    whole = header.get("BJDREFI", header.get("JDREFI"))
    if whole is None:
        return {"TESS": "BTJD", "Kepler": "BKJD", "K2": "BKJD"}.get(mission, "BJD")
    zero = float(whole) + float(header.get("BJDREFF", header.get("JDREFF")) or 0.0)
    for system, days in TIME_ZERO_DAYS.items():
        if abs(zero - days) < 1e-6:
            return system
    raise FitsError(f"its times count from the Julian date {zero}; allowed: 2457000, 2454833 or 0")
