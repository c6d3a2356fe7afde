"""What one file of a star holds, in its own units."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.engine.errors import BadInput
from tasks.transits.light_curve import Flags, Floats, Segment, Star

MAX_FILE_BYTES = 512 * 2**20  # a quarter of Kepler at short cadence, the longest of all, has 30 MiB


# No star is brighter, in any unit, and the square of a ratio of two such numbers is still a number.
_MAX_FLUX = 1e30
# Days: beyond any Julian date, and further from a file's median time than any survey lasts. Such times are damage.
MAX_TIME = 1e8
_MAX_DAYS = 20_000.0


@dataclass(frozen=True)
class Points:
    """The usable points of one file, in order of time.

    time        (n,) days, strictly increasing; n may be 0
    flux        (n,) in the file's unit
    flux_error  (n,) in the same unit; NaN where the file has none
    """

    time: Floats
    flux: Floats
    flux_error: Floats

    @classmethod
    def of(cls, time: Floats, flux: Floats, flux_error: Floats, good: Flags) -> Points:
        """Those that are ``good`` and have a finite time and flux, sorted; of equal times the first. All (n,)."""
        good = good & (np.abs(time) < MAX_TIME) & (np.abs(flux) < _MAX_FLUX)
        if good.any():
            good[good] = np.abs(time[good] - np.median(time[good])) < _MAX_DAYS
        order = np.flatnonzero(good)[np.unique(time[good], return_index=True)[1]]
        return cls(time[order], flux[order], flux_error[order])

    @property
    def cadence_seconds(self) -> float:
        """Median step; 0 where there are not two points."""
        return float(np.median(np.diff(self.time))) * 86400 if len(self.time) > 1 else 0.0


@dataclass(frozen=True)
class Observed:
    """What one file holds: its points, what they are of, and what it says of the star.

    catalogue_name  of the star by the file's header, such as ``TIC 25155310``; empty if it does not say
    """

    path: Path
    segment: Segment
    star: Star
    points: Points
    catalogue_name: str = ""


def read_content(path: Path) -> bytes:
    """All of the file. Raises BadInput where it is missing, empty, unreadable or larger than any light curve.

    What is read is bounded by the size that the file has on disk, never by what it declares.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise refusal(path, f"{size} bytes, more than the {MAX_FILE_BYTES} that a light curve may have")
        content = path.read_bytes()
    except OSError as error:
        raise refusal(path, f"cannot be read ({error.strerror or error})") from error
    if not content.strip(b"\0 \r\n\t"):
        raise refusal(path, "the file is empty")
    return content


def refusal(path: Path, given: str, advice: str = "") -> BadInput:
    """What to raise over the file at ``path``."""
    return BadInput(f"{path.name}: {given}; {advice}" if advice else f"{path.name}: {given}")
