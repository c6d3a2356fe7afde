"""What one file of a star holds, in its own units."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.engine.errors import BadInput
from tasks.transits.light_curve import Floats, Segment, Star

MAX_FILE_BYTES = 512 * 2**20  # a quarter of Kepler at short cadence, the longest of all, has 30 MiB


@dataclass(frozen=True)
class Observed:
    """The points of one file that are finite and of good quality, in the order of time.

    path        where it was read
    segment     what was observed
    star        what the file says of the star
    time        (n,) days in ``segment.time_system``, strictly increasing; n may be 0
    flux        (n,) in the file's unit
    flux_error  (n,) in the same unit; NaN where the file has none
    """

    path: Path
    segment: Segment
    star: Star
    time: Floats
    flux: Floats
    flux_error: Floats


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
