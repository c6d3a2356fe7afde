"""Verifies that a file is a complete FITS file with a light curve."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

_MAGIC = b"SIMPLE  ="
_ALL_ONES = 0xFFFF_FFFF
# All errors that astropy raises for damaged headers and tables.
_DAMAGE = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, EOFError, MemoryError,
    fits.VerifyError,
)  # fmt: skip


def find_damage(path: Path) -> str | None:
    """Describe the damage of the light curve file at ``path``; None if it is intact.

    Reads every unit and verifies its checksums, if any; one unit must be a table with a column TIME. Raises OSError if
    the disk cannot be read.
    """
    content = path.read_bytes()
    if not content.startswith(_MAGIC):
        return f"it is not a FITS file: it begins with {content[: len(_MAGIC)]!r}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the relevant causes are checked here
            with fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=False) as units:
                return _find_unit_damage(units, content)
    except _DAMAGE as error:
        return f"it is a damaged FITS file ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


def compute_ones_complement_sum(content: bytes) -> int:
    """Return the sum of the 32-bit big-endian words of ``content``, with carries (FITS standard 4.0, appendix J)."""
    total = int(np.frombuffer(content, dtype=">u4").sum(dtype=np.uint64))
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def _find_unit_damage(units: Any, content: bytes) -> str | None:
    # Check all spans first: astropy must not allocate memory for a size that a header only claims.
    for number, unit in enumerate(units):
        place = unit.fileinfo()
        end = place["datLoc"] + place["datSpan"]
        if end > len(content):
            return f"it is truncated: unit {number} ends at byte {end} and the file at {len(content)}"
    for number, unit in enumerate(units):
        if not _has_correct_sums(unit, content):
            return f"it is damaged: the checksum of unit {number} is wrong"
        _ = unit.data  # decode it to detect invalid tables
    if not any(_has_times(unit) for unit in units):
        return "it is not a light curve: it has no table with a column TIME and a row"
    return None


def _has_correct_sums(unit: Any, content: bytes) -> bool:
    """Return True if the unit's CHECKSUM and DATASUM, if any, are correct.

    astropy's verify_checksum is unusable: without a DATASUM, as in all files of Kepler and TESS, it omits the data from
    the sum and reports every file as damaged.
    """
    place = unit.fileinfo()
    data = content[place["datLoc"] : place["datLoc"] + place["datSpan"]]
    header = content[place["hdrLoc"] : place["datLoc"]]
    data_sum = str(unit.header.get("DATASUM", "")).strip()  # empty means unknown
    if data_sum and int(data_sum) != compute_ones_complement_sum(data):
        return False
    whole = str(unit.header.get("CHECKSUM", "")).strip()
    return not whole or compute_ones_complement_sum(header + data) == _ALL_ONES


def _has_times(unit: Any) -> bool:
    return isinstance(unit, fits.BinTableHDU) and "TIME" in unit.columns.names and len(unit.data) > 0
