"""Whether a file is a whole FITS file with a light curve in it."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

_MAGIC = b"SIMPLE  ="
_ALL_ONES = 0xFFFF_FFFF
# All that astropy raises over damaged headers and tables.
_DAMAGE = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, EOFError, MemoryError,
    fits.VerifyError,
)  # fmt: skip


def damage_of(path: Path) -> str | None:
    """What is wrong with the light curve file at ``path``, in words; None where nothing is.

    Every unit is read and its checksums, where it has any, are verified; one must be a table with a column TIME.
    Raises OSError where the disk cannot be read.
    """
    content = path.read_bytes()
    if not content.startswith(_MAGIC):
        return f"it is no FITS file: it begins with {content[: len(_MAGIC)]!r}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of what astropy warns of is checked here
            with fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=False) as units:
                return _damage_in(units, content)
    except _DAMAGE as error:
        return f"it is a damaged FITS file ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


def ones_complement_sum(content: bytes) -> int:
    """The sum of the 32-bit big-endian words of ``content``, carries added in (FITS standard 4.0, appendix J)."""
    total = int(np.frombuffer(content, dtype=">u4").sum(dtype=np.uint64))
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def _damage_in(units: Any, content: bytes) -> str | None:
    # Spans first, for all units: astropy must not make room for what a header only claims.
    for number, unit in enumerate(units):
        place = unit.fileinfo()
        end = place["datLoc"] + place["datSpan"]
        if end > len(content):
            return f"it is cut off: unit {number} ends at byte {end} and the file at {len(content)}"
    for number, unit in enumerate(units):
        if not _sums_agree(unit, content):
            return f"it is damaged: the checksum of unit {number} is wrong"
        _ = unit.data  # decoded, so that a table that cannot be is noticed here
    if not any(_has_times(unit) for unit in units):
        return "it is no light curve: no table in it has a column TIME with a row"
    return None


def _sums_agree(unit: Any, content: bytes) -> bool:
    """Whether the unit's CHECKSUM and DATASUM, where it has them, are right.

    Not by astropy: where there is no DATASUM, as in all files of Kepler and TESS, its verify_checksum leaves the data
    out of the sum and finds every file damaged.
    """
    place = unit.fileinfo()
    data = content[place["datLoc"] : place["datLoc"] + place["datSpan"]]
    header = content[place["hdrLoc"] : place["datLoc"]]
    data_sum = str(unit.header.get("DATASUM", "")).strip()  # an empty value says that nothing is known
    if data_sum and int(data_sum) != ones_complement_sum(data):
        return False
    whole = str(unit.header.get("CHECKSUM", "")).strip()
    return not whole or ones_complement_sum(header + data) == _ALL_ONES


def _has_times(unit: Any) -> bool:
    return isinstance(unit, fits.BinTableHDU) and "TIME" in unit.columns.names and len(unit.data) > 0
