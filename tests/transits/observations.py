"""Files of light curves as the missions and people write them, small, and with what can be wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

Values = NDArray[Any]
SECTOR = np.round(1325.0 + np.arange(1000) * 120 / 86400, 9)
KEPLER = {"TELESCOP": "Kepler", "MISSION": "Kepler", "OBJECT": "KIC 6850504", "QUARTER": 3}
K2 = {"TELESCOP": "Kepler", "MISSION": "K2", "OBJECT": "EPIC 206103150", "CAMPAIGN": 3}
TESS = {"TELESCOP": "TESS", "OBJECT": "TIC 25155310", "TICID": 25155310, "SECTOR": 1}


def flux_of(points: int, level: float = 1000.0) -> Values:
    """(points,) about ``level``, no two alike, with a median of exactly ``level`` where their number is odd."""
    return level * (1.0 + 1e-4 * (np.arange(points) * 7 % points - (points - 1) / 2))


def table(columns: Mapping[str, Values], **header: Any) -> fits.BinTableHDU:
    """A table extension with ``columns`` in the types that the missions use."""
    kinds = {"f": "D", "i": "J"}
    made = [
        fits.Column(name, "E" if "FLUX" in name else kinds[np.asarray(values).dtype.kind], array=values)
        for name, values in columns.items()
    ]
    unit = fits.BinTableHDU.from_columns(made, name="LIGHTCURVE")
    unit.header.update(header)
    return unit


def write_units(path: Path, primary: Mapping[str, Any], *units: Any) -> Path:
    first = fits.PrimaryHDU()
    first.header.update(primary)
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([first, *units]).writeto(path, overwrite=True)
    return path


def mission_file(
    path: Path,
    primary: Mapping[str, Any] = TESS,
    time: Values = SECTOR,
    flux: Values | None = None,
    quality: Values | None = None,
    **changes: Any,
) -> Path:
    """A light curve of SPOC, or of Kepler or K2: PDCSAP and SAP flux with errors, and quality flags.

    SAP_FLUX is twice PDCSAP_FLUX, errors are 1. ``changes`` go into the table's header.
    """
    tess = primary["TELESCOP"] == "TESS"
    flux = flux_of(len(time)) if flux is None else flux
    flags = np.zeros(len(time), np.int32) if quality is None else quality
    columns = {
        "TIME": time,
        "CADENCENO": np.arange(len(time), dtype=np.int32),
        "SAP_FLUX": 2 * flux,
        "SAP_FLUX_ERR": np.ones(len(time)),
        "PDCSAP_FLUX": flux,
        "PDCSAP_FLUX_ERR": np.ones(len(time)),
        "QUALITY" if tess else "SAP_QUALITY": flags,
    }
    header = {"BJDREFI": 2457000 if tess else 2454833, "BJDREFF": 0.0, "TIMEUNIT": "d", **changes}
    return write_units(path, primary, table(columns, **header))


def qlp_file(path: Path, sector: int, time: Values, flux: Values, quality: Values | None = None) -> Path:
    """A light curve of the Quick-Look Pipeline as its data product description has it, of before or after sector 56."""
    detrended = "KSPSAP_FLUX" if sector < 56 else "DET_FLUX"
    columns = {
        "TIME": time,
        "CADENCENO": np.arange(len(time), dtype=np.int32),
        "SAP_FLUX": flux * 1.5,
        detrended: flux,
        f"{detrended}_ERR": np.full(len(time), 0.01),
        "QUALITY": np.zeros(len(time), np.int32) if quality is None else quality,
        "ORBITID": np.full(len(time), 9, np.int32),
        "SAP_X": np.ones(len(time)),
        "SAP_Y": np.ones(len(time)),
        f"{detrended}_SML": flux * 1.1,
        f"{detrended}_LAG": flux * 1.2,
    }
    primary = {**TESS, "SECTOR": sector, "ORIGIN": "MIT/QLP", "RADIUS": 1.3, "LOGG": 4.2, "TEFF": 5800.0}
    return write_units(path, primary, table(columns, BJDREFI=2457000, BJDREFF=0.0))


def write_csv(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def csv_rows(time: Sequence[float] | Values, flux: Sequence[float] | Values, separator: str = ",") -> list[str]:
    return [f"{day:.9f}{separator}{value:.9f}" for day, value in zip(time, flux, strict=True)]


def declared(path: Path, key: str, value: int) -> Path:
    """The file at ``path`` with another number in a card of its first table, whatever is behind it."""
    content = path.read_bytes()
    place = content.index(f"{key:<8}=".encode(), 2880)
    card = f"{key:<8}= {value:>20}".encode()
    path.write_bytes(content[:place] + card + content[place + len(card) :])
    return path
