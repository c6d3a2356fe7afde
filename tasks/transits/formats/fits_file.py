"""Light curves in FITS: Kepler, K2, TESS SPOC, TESS QLP, and what lightkurve writes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from tasks.transits.formats.observed import Observed, read_content, refusal
from tasks.transits.formats.quality import good_cadences
from tasks.transits.formats.stars import header_star
from tasks.transits.light_curve import TIME_ZERO_DAYS, Floats, Indices, Segment
from tasks.transits.params import FluxColumn

MAGIC = b"SIMPLE  ="
# By the first that a file has. KSPSAP and DET are what QLP detrended (sectors 1 to 55, and from 56 on), which is its
# counterpart of PDCSAP; FLUX is what lightkurve writes.
_FLUX: Mapping[FluxColumn, tuple[str, ...]] = {
    "pdcsap": ("PDCSAP_FLUX", "KSPSAP_FLUX", "DET_FLUX", "FLUX"),
    "sap": ("SAP_FLUX", "FLUX"),
}
_QUALITY = ("SAP_QUALITY", "QUALITY")
_PARTS = (("SECTOR", "S"), ("CAMPAIGN", "C"), ("QUARTER", "Q"))
# All that astropy raises over damaged headers and tables.
_DAMAGE = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError, fits.VerifyError,
)  # fmt: skip


def is_fits(content: bytes) -> bool:
    """Whether a file begins as every FITS file does."""
    return content.startswith(MAGIC)


def read_fits(path: Path, flux: FluxColumn) -> Observed:
    """The light curve in the file at ``path``.

    Raises BadInput for what is no FITS file, is cut off, or holds no light curve.
    """
    content = read_content(path)
    if not is_fits(content):
        raise refusal(path, f"not a FITS file: it begins with {content[:9]!r}", "get the file again")
    with _damage_told(path), fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=True) as units:
        table = _light_curve_table(path, units, len(content))
        return _observed(path, units[0].header, table, flux)


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Whatever astropy raises over damage becomes BadInput; what it warns of is checked here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except _DAMAGE as error:
        raise refusal(path, f"a damaged FITS file ({str(error)[:200]})", "get the file again") from error


def _light_curve_table(path: Path, units: Any, size: int) -> Any:
    """The first table with times. Its rows must be there: a cut file is found out before anything is allocated."""
    kinds = []
    for unit in units:
        if isinstance(unit, fits.BinTableHDU) and "TIME" in _names(unit):
            start, length = unit.fileinfo()["datLoc"], unit.header["NAXIS1"] * unit.header["NAXIS2"]
            if start + length > size:
                given = f"cut off: its table needs {start + length} bytes, the file has {size}"
                raise refusal(path, given, "get the file again")
            return unit
        kinds.append(type(unit).__name__.removesuffix("HDU"))
    raise refusal(path, f"no light curve in it, but {', '.join(kinds)}; allowed: a table with TIME and a flux")


def _names(table: Any) -> list[str]:
    return [name.upper() for name in table.columns.names]


def _observed(path: Path, header: Any, table: Any, flux: FluxColumn) -> Observed:
    names = _names(table)
    column = _first(path, names, _FLUX[flux], f"flux for --flux {flux}")
    mission = _mission(header)
    time, values, errors = (_floats(table, name, names) for name in ("TIME", column, _error_of(column, names)))
    good = np.isfinite(time) & np.isfinite(values) & good_cadences(_quality(table, names), mission)
    order = np.unique(time[good], return_index=True)[1]
    time, values, errors = (found[good][order] for found in (time, values, errors))
    segment = Segment(
        name=_segment_name(header) or path.stem,
        mission=mission,
        author=_author(path, header, names),
        cadence_seconds=_cadence(table.header, time),
        time_system=_time_system(path, table.header, mission),
    )
    return Observed(path, segment, header_star(header), time, values, errors)


def _first(path: Path, names: Sequence[str], wanted: Sequence[str], what: str) -> str:
    found = next((name for name in wanted if name in names), None)
    if found is None:
        raise refusal(path, f"no {what}: its columns are {', '.join(names)}; allowed: {', '.join(wanted)}")
    return found


def _error_of(column: str, names: Sequence[str]) -> str:
    """QLP gives errors for its detrended flux only."""
    wanted = (f"{column}_ERR", "KSPSAP_FLUX_ERR", "DET_FLUX_ERR")
    return next((name for name in wanted if name in names), "")


def _floats(table: Any, name: str, names: Sequence[str]) -> Floats:
    if name not in names:
        return np.full(len(table.data), np.nan)
    values = np.asarray(table.data[name], dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"the column {name} holds {values.ndim} dimensions")
    return values


def _quality(table: Any, names: Sequence[str]) -> Indices:
    name = next((name for name in _QUALITY if name in names), None)
    return np.zeros(len(table.data), np.int64) if name is None else np.asarray(table.data[name], dtype=np.int64)


def _mission(header: Any) -> str:
    """``TELESCOP`` says Kepler for K2 too; ``MISSION`` tells them apart."""
    return str(header.get("MISSION") or header.get("TELESCOP") or "")


def _segment_name(header: Any) -> str:
    return next((f"{letter}{header[key]}" for key, letter in _PARTS if isinstance(header.get(key), int)), "")


def _author(path: Path, header: Any, names: Sequence[str]) -> str:
    if "KSPSAP_FLUX" in names or "DET_FLUX" in names or str(header.get("ORIGIN", "")).startswith("MIT/QLP"):
        return "QLP"
    if _mission(header) == "TESS":
        return "TESS-SPOC" if "tess-spoc" in path.name else "SPOC"
    return _mission(header) or "FITS"


def _cadence(header: Any, time: Floats) -> float:
    """Seconds, from the times; from the header where there are too few."""
    if len(time) > 1:
        return float(np.median(np.diff(time))) * 86400
    return float(header.get("TIMEDEL") or 0.0) * 86400


def _time_system(path: Path, header: Any, mission: str) -> str:
    whole = header.get("BJDREFI", header.get("JDREFI"))
    if whole is None:
        return {"TESS": "BTJD", "Kepler": "BKJD", "K2": "BKJD"}.get(mission, "BJD")
    zero = float(whole) + float(header.get("BJDREFF", header.get("JDREFF")) or 0.0)
    for system, days in TIME_ZERO_DAYS.items():
        if abs(zero - days) < 1e-6:
            return system
    raise refusal(path, f"times that count from the Julian date {zero}; allowed: 2457000, 2454833 or 0")
