"""Read arrays from an .npz file that may be damaged or malicious."""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as numpy_format

MAX_ENTRIES = 10_000
MAX_UNPACKED_BYTES = 2 << 30  # a survey of 60 hours at 60 frames per second has half of it
# RuntimeError: encrypted, or an unknown compression; RecursionError: a nested header.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, RecursionError, MemoryError, KeyError, TypeError, ValueError, OverflowError),
)


def read_arrays(path: Path) -> dict[str, Any]:
    """Return all arrays of an .npz file by name.

    A file that unpacks to more than MAX_UNPACKED_BYTES is read only if it is as large on disk. Raises OSError if the
    file cannot be read, ValueError if it is damaged or unpacks to more.
    """
    with path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                _check_entries(archive, path.stat().st_size)
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except _DAMAGE as error:
            text = str(error).partition("\n")[0] or type(error).__name__
            raise ValueError(f"{path.name} is damaged or no .npz file: {text}") from error


def _check_entries(archive: zipfile.ZipFile, file_bytes: int) -> None:
    """Raise ValueError if the arrays are larger than allowed, by the archive or by their own headers.

    zipfile reads no more of an entry than the archive declares. NumPy allocates the size in the array's header.
    """
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise ValueError(f"it contains {len(entries):,} arrays; at most {MAX_ENTRIES:,} are read")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > max(MAX_UNPACKED_BYTES, file_bytes):
        raise ValueError(f"it unpacks to {unpacked >> 20:,} MiB; at most {MAX_UNPACKED_BYTES >> 20:,} MiB are read")
    for entry in entries:
        with archive.open(entry) as file:
            declared = _read_declared_bytes(file)
        if not 0 <= declared <= entry.file_size:
            raise ValueError(f"{entry.filename} declares {declared:,} bytes and has {entry.file_size:,}")


def _read_declared_bytes(file: IO[bytes]) -> int:
    """Return the size of an array by its own header. Raises ValueError if that is damaged."""
    is_first_version = numpy_format.read_magic(file) == (1, 0)
    read_header = numpy_format.read_array_header_1_0 if is_first_version else numpy_format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    return math.prod(shape, start=int(dtype.itemsize))
