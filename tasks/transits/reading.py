"""From the files of one star to its light curve: the best of each segment, normalised and in one time system."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tasks.engine.contract.errors import BadInput
from tasks.media.kinds import FITS_SUFFIXES, suffix_of
from tasks.transits.formats.csv_file import read_csv
from tasks.transits.formats.fits_file import is_fits, read_fits
from tasks.transits.formats.observed import Observed, Points, read_content, refusal, stem
from tasks.transits.formats.stars import merge_stars
from tasks.transits.light_curve import TIME_ZERO_DAYS, Flags, Floats, Indices, LightCurve, Star
from tasks.transits.params import FluxColumn
from tasks.transits.unsearchable import Unsearchable

# Where one segment of a star was observed in several ways, the first of these is taken: the pipeline that removes
# systematics best, then the cadence that holds all that a transit shows in the fewest points.
_AUTHORS = ("SPOC", "Kepler", "K2", "TESS-SPOC", "QLP")
_CADENCES_SECONDS = {"TESS": (120.0, 20.0, 200.0, 600.0, 1800.0), "Kepler": (1765.5, 58.85), "K2": (1765.5, 58.85)}
_MIN_LEVEL = 1e-30
_NAMES = ("time", "flux", "flux_error")


def read_light_curve(
    paths: Sequence[Path], star: Star, flux: FluxColumn, mission: str = "", parts: Collection[int] = ()
) -> LightCurve:
    """The light curve of one star out of ``paths``, FITS and CSV.

    Bad cadences are out, each segment is over its own median, time is strictly increasing. Of a segment that is there
    in several cadences or from several pipelines one is taken (see ``_AUTHORS``), and ``segments`` says which. What
    ``star`` lacks is taken from the headers. ``mission`` helps with CSV, whose times may count from two days. ``parts``
    are the sectors, quarters or campaigns that are wanted; none: all. A file that does not say what it is of is taken.

    Raises BadInput, naming the file and what is wrong, where a file is damaged or no light curve, where headers name
    two stars of one catalogue, or where no file has a single good point;
    Unsearchable(``nonpositive_flux``) where no segment has a positive median.
    """
    if not paths:
        raise BadInput("no light curve: there is no file for this target")
    ordered = sorted(paths, key=lambda path: (path.name, str(path)))  # the same for copies in other folders
    files = _wanted([_read(path, flux, mission) for path in ordered], parts)
    _check_one_star(files)
    known = merge_stars(star, *(file.star for file in files))
    usable = [file for file in files if len(file.points.time)]
    if not usable:
        given = "no cadence of good quality with a finite time and flux"
        raise refusal(files[0].path, given if len(files) == 1 else f"{given}, nor in the {len(files) - 1} other files")
    return _stitched(_distinct(_best(_positive(usable))), known)


def _read(path: Path, flux: FluxColumn, mission: str) -> Observed:
    """By what the file begins with; its name only tells what should have been FITS from text."""
    content = read_content(path)
    if is_fits(content) or suffix_of(path.name) in FITS_SUFFIXES:
        return read_fits(path, content, flux)
    return read_csv(path, content, flux, mission)


def _wanted(files: Sequence[Observed], parts: Collection[int]) -> Sequence[Observed]:
    """Those of the parts that are asked for, and those that do not say."""
    numbers = [_part(file) for file in files]
    wanted = [file for file, number in zip(files, numbers, strict=True) if number is None or number in parts]
    if parts and not wanted:
        there = ", ".join(sorted({file.segment.name for file in files}))
        asked = ", ".join(str(part) for part in parts)
        raise BadInput(f"{files[0].path.name}: the files are of {there}; asked for: {asked}; correct the table")
    return wanted if parts else files


def _check_one_star(files: Sequence[Observed]) -> None:
    first: dict[str, Observed] = {}
    for file in files:
        catalogue = file.catalogue_name.partition(" ")[0]
        other = first.setdefault(catalogue, file)
        if other.catalogue_name != file.catalogue_name:
            given = f"it is of {file.catalogue_name}, and {other.path.name} of {other.catalogue_name}"
            raise refusal(file.path, given, "give each star a row of its own in the table of targets")


def _part(file: Observed) -> int | None:
    """The number of a segment whose name is a letter and a number; a name that is a file's stem has none."""
    name = file.segment.name
    return int(name[1:]) if name != stem(file.path) and name[1:].isdecimal() else None


def _positive(files: Sequence[Observed]) -> list[Observed]:
    """Those with a positive median: to divide by any other would turn transits into brightenings."""
    positive = [file for file in files if np.median(file.points.flux) > _MIN_LEVEL]
    if not positive:
        lowest = float(np.median(files[0].points.flux))
        raise Unsearchable("nonpositive_flux", f"{files[0].path.name}: the median flux is {lowest:g}")
    return positive


def _best(files: Sequence[Observed]) -> list[Observed]:
    """One way of observing each segment, which may be spread over several files; the best first."""
    best: dict[tuple[str, str], tuple[int, int]] = {}
    for file in files:
        key = _segment_of(file)
        best[key] = min(best.get(key, _rank(file)), _rank(file))
    kept = [file for file in files if _rank(file) == best[_segment_of(file)]]
    return sorted(kept, key=lambda file: (_rank(file), _start(file), file.path.name))


def _segment_of(file: Observed) -> tuple[str, str]:
    return file.segment.mission, file.segment.name


def _rank(file: Observed) -> tuple[int, int]:
    """Smaller is better: the pipeline, then the cadence."""
    segment = file.segment
    author = _AUTHORS.index(segment.author) if segment.author in _AUTHORS else len(_AUTHORS)
    cadences = _CADENCES_SECONDS.get(segment.mission, ())
    near = [index for index, known in enumerate(cadences) if abs(segment.cadence_seconds / known - 1) < 0.05]
    return author, near[0] if near else len(cadences)


def _start(file: Observed) -> float:
    return float(file.points.time[0]) + TIME_ZERO_DAYS[file.segment.time_system]


def _distinct(files: Sequence[Observed]) -> list[Observed]:
    """Without files most of whose points lie at times that better ones have: the same data twice. In order of time."""
    kept: list[Observed] = []
    for file in files:
        kept += [] if any(_doubles(file, better) for better in kept) else [file]
    return sorted(kept, key=lambda file: (_start(file), file.path.name))


def _doubles(file: Observed, better: Observed) -> bool:
    shift = TIME_ZERO_DAYS[file.segment.time_system] - TIME_ZERO_DAYS[better.segment.time_system]
    time, there = file.points.time + shift, better.points.time
    if time[0] > there[-1] or time[-1] < there[0]:
        return False
    after = np.searchsorted(there, time)
    before = np.maximum(after - 1, 0)
    near = np.minimum(np.abs(time - there[before]), np.abs(time - there[np.minimum(after, len(there) - 1)]))
    reach = 0.5 * max(file.segment.cadence_seconds, better.segment.cadence_seconds) / 86400
    return float(np.mean(near <= reach)) > 0.5


def _stitched(files: Sequence[Observed], star: Star) -> LightCurve:
    system = files[0].segment.time_system
    points = [_normalised(file, system) for file in files]
    index = np.repeat(np.arange(len(files)), [len(part.time) for part in points])
    time, flux, error = (np.concatenate([getattr(part, name) for part in points]) for name in _NAMES)
    order = np.argsort(time, kind="stable")
    cadences = np.array([file.segment.cadence_seconds for file in files]) / 86400
    kept = order[_first_of_each(time[order], index[order], cadences)]
    segments = tuple(replace(file.segment, time_system=system) for file in files)
    return LightCurve(time[kept], flux[kept], error[kept], index[kept], segments, star)


def _normalised(file: Observed, system: str) -> Points:
    level = float(np.median(file.points.flux))
    shift = TIME_ZERO_DAYS[file.segment.time_system] - TIME_ZERO_DAYS[system]
    return Points(file.points.time + shift, file.points.flux / level, file.points.flux_error / level)


def _first_of_each(time: Floats, segment: Indices, cadences: Floats) -> Flags:
    """Which of the sorted points (n,) to keep: a point of another segment half a cadence after one is its double."""
    keep = np.ones(len(time), dtype=np.bool_)
    doubles = (np.diff(segment) != 0) & (np.diff(time) < 0.5 * cadences[segment[1:]])
    keep[1:] = ~doubles & (np.diff(time) > 0)
    return keep
