"""The content of one file of a star, in its own units."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tasks.engine.contract.errors import BadInput
from tasks.transits.light_curve import Flags, Floats, Segment, Star

MAX_FILE_BYTES = 512 * 2**20  # the largest files, Kepler quarters at short cadence, have 30 MiB
MAX_UNPACKED_BYTES = 256 * 2**20
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31  # for zlib: with gzip's header and checksum


# Brighter than any star in any unit; the squared ratio of two such numbers is still finite.
_MAX_FLUX = 1e30
# Days: beyond any Julian date, and farther from a file's median time than any survey lasts. Such times are damage.
MAX_TIME = 1e8
_MAX_DAYS = 20_000.0


@dataclass(frozen=True)
class Points:
    """The usable points of one file, in time order.

    time        (n,) days, strictly increasing; n may be 0
    flux        (n,) in the file's unit
    flux_error  (n,) in the same unit; NaN without errors in the file
    disturbed   (m,) times of cadences with a momentum dump, a thruster firing or scattered light, sorted
    """

    time: Floats
    flux: Floats
    flux_error: Floats
    disturbed: Floats = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def from_arrays(
        cls, time: Floats, flux: Floats, flux_error: Floats, good: Flags, disturbed: Flags | None = None
    ) -> Points:
        """Select points that are ``good`` with finite time and flux, sorted; the first of equal times. All (n,)."""
        good = good & (np.abs(time) < MAX_TIME) & (np.abs(flux) < _MAX_FLUX)
        if good.any():
            good[good] = np.abs(time[good] - np.median(time[good])) < _MAX_DAYS
        order = np.flatnonzero(good)[np.unique(time[good], return_index=True)[1]]
        events = np.zeros(0) if disturbed is None else np.sort(time[disturbed & (np.abs(time) < MAX_TIME)])
        return cls(time[order], flux[order], flux_error[order], events)

    @property
    def cadence_seconds(self) -> float:
        """Return the median step; 0 for fewer than two points."""
        return float(np.median(np.diff(self.time))) * 86400 if len(self.time) > 1 else 0.0


@dataclass(frozen=True)
class LightCurveFile:
    """The content of one file: its points, its segment, and its header's data on the star.

    catalogue_name  of the star in the file's header, such as ``TIC 25155310``; empty if missing
    """

    path: Path
    segment: Segment
    star: Star
    points: Points
    catalogue_name: str = ""


def read_content(path: Path) -> bytes:
    """Read the whole file, and unpack it if it is gzip.

    Raises BadInput if it is missing, empty, unreadable, damaged or larger than any light curve. The memory used is
    limited by the file's size on disk and by MAX_UNPACKED_BYTES, never by a declared size.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise make_bad_input(path, f"{size} bytes, more than the {MAX_FILE_BYTES} that a light curve may have")
        content = path.read_bytes()
    except OSError as error:
        raise make_bad_input(path, f"cannot be read ({error.strerror or error})") from error
    if content.startswith(_GZIP):
        content = _unpack(path, content)
    if not content.strip(b"\0 \r\n\t"):
        raise make_bad_input(path, "the file is empty")
    return content


def get_stem(path: Path) -> str:
    """Return the file's name without its suffix, and without ``.gz`` after it."""
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def _unpack(path: Path, content: bytes) -> bytes:
    """Return the concatenated members of a gzip file; zeros after the last are padding."""
    parts: list[bytes] = []
    room = MAX_UNPACKED_BYTES
    while content.startswith(_GZIP):
        unpacker = zlib.decompressobj(wbits=_GZIP_WINDOW)
        try:
            parts.append(unpacker.decompress(content, room + 1))
        except zlib.error as error:
            raise make_bad_input(path, f"damaged gzip data ({error})", "get the file again") from error
        room -= len(parts[-1])
        if room < 0:
            given = f"more than {MAX_UNPACKED_BYTES} bytes when unpacked"
            raise make_bad_input(path, f"{given}, which no light curve has", "check the file")
        if not unpacker.eof:
            raise make_bad_input(path, "truncated: its gzip data has no end", "get the file again")
        content = unpacker.unused_data
    if content.strip(b"\0"):
        raise make_bad_input(path, "other data after its gzip data", "get the file again")
    return b"".join(parts)


def make_bad_input(path: Path, given: str, advice: str = "") -> BadInput:
    """Return the error for the file at ``path``."""
    return BadInput(f"{path.name}: {given}; {advice}" if advice else f"{path.name}: {given}")
