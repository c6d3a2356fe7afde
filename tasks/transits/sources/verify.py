"""Whether a file is a whole FITS file with a light curve in it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from astropy.io import fits

_MAGIC = b"SIMPLE  ="
# All that astropy raises over damaged headers and tables.
_DAMAGE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, EOFError, MemoryError, fits.VerifyError,
)  # fmt: skip
_FAILED = 0  # of astropy's verify_checksum and verify_datasum; 1 is right, 2 is that there is none


def damage_of(path: Path) -> str | None:
    """What is wrong with the light curve file at ``path``, in words; None where nothing is.

    Every unit is read and its checksums, where it has any, are verified; one must be a table with a column TIME.
    Raises OSError where the disk cannot be read.
    """
    with path.open("rb") as stream:
        start = stream.read(len(_MAGIC))
    if start != _MAGIC:
        return f"it is no FITS file: it begins with {start!r}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of what astropy warns of is checked here
            with fits.open(path, memmap=False, lazy_load_hdus=False) as units:
                return _damage_in(units, path.stat().st_size)
    except OSError as error:
        if error.errno is not None:
            raise
        return f"it is a damaged FITS file ({error})"
    except _DAMAGE as error:
        return f"it is a damaged FITS file ({type(error).__name__}: {error})"


def _damage_in(units: Any, size_bytes: int) -> str | None:
    # Spans first, for all units: astropy must not read, nor make room for, what a header only claims.
    for number, unit in enumerate(units):
        place = unit.fileinfo()
        end = place["datLoc"] + place["datSpan"]
        if end > size_bytes:
            return f"it is cut off: unit {number} ends at byte {end} and the file at {size_bytes}"
    for number, unit in enumerate(units):
        if _FAILED in {unit.verify_datasum(), unit.verify_checksum()}:
            return f"it is damaged: the checksum of unit {number} is wrong"
        _ = unit.data  # decoded, so that a table that cannot be is noticed here
    if not any(_has_times(unit) for unit in units):
        return "it is no light curve: no table in it has a column TIME with a row"
    return None


def _has_times(unit: Any) -> bool:
    return isinstance(unit, fits.BinTableHDU) and "TIME" in unit.columns.names and len(unit.data) > 0
