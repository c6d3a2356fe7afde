"""Reads the files of one star into its light curve: the best file of each segment, normalised, in one time system."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tasks.engine.contract.errors import BadInput
from tasks.media.kinds import FITS_SUFFIXES, get_suffix
from tasks.transits.formats.csv_file import read_csv
from tasks.transits.formats.fits_file import is_fits, read_fits
from tasks.transits.formats.light_curve_file import LightCurveFile, Points, get_stem, make_bad_input, read_content
from tasks.transits.formats.stars import merge_stars
from tasks.transits.light_curve import TIME_ZERO_DAYS, Flags, Floats, Indices, LightCurve, Star
from tasks.transits.params import FluxColumn
from tasks.transits.unsearchable import Unsearchable

# For several files of one segment, the order of preference: the pipeline that removes systematics best, then the
# cadence that resolves a transit with the fewest points.
_AUTHORS = (
    "SPOC", "Kepler", "K2", "TESS-SPOC", "QLP", "TGLC", "eleanor-lite", "CDIPS", "T16", "EVEREST", "K2SC", "K2SFF",
    "KEPSEISMIC",
)  # fmt: skip
_CADENCES_SECONDS = {"TESS": (120.0, 20.0, 200.0, 600.0, 1800.0), "Kepler": (1765.5, 58.85), "K2": (1765.5, 58.85)}
_MIN_LEVEL = 1e-30
_MIN_POSITIVE_SIGMA = 5.0  # of a star's noise below its flux: negative values are no noise then
_NAMES = ("time", "flux", "flux_error")


def read_light_curve(
    paths: Sequence[Path], star: Star, flux: FluxColumn, mission: str = "", parts: Collection[int] = ()
) -> LightCurve:
    """Read the light curve of one star from ``paths``, FITS and CSV.

    Bad cadences are removed, each segment is divided by its own median, and time is strictly increasing. If a segment
    has several cadences or pipelines, one is used (see ``_AUTHORS``); ``segments`` states which. Headers provide the
    parameters that ``star`` lacks. ``mission`` helps with CSV, whose time origin may be ambiguous. ``parts`` are the
    requested sectors, quarters or campaigns (default: all). A file that does not name its segment is always used.

    Raises BadInput, naming the file and the cause, if a file is damaged or is not a light curve, if headers name two
    stars of one catalogue, or if no file has a single good point; Unsearchable(``nonpositive_flux``) if no segment has
    a positive median.
    """
    if not paths:
        raise BadInput("no light curve: there is no file for this target")
    ordered = sorted(paths, key=lambda path: (path.name, str(path)))  # independent of the folder
    files = _select_parts([_read(path, flux, mission) for path in ordered], parts)
    _check_one_star(files)
    merged = merge_stars(star, *(file.star for file in files))
    usable = [file for file in files if len(file.points.time)]
    if not usable:
        given = "no cadence of good quality with a finite time and flux"
        others = "" if len(files) == 1 else f" (also in the other {len(files) - 1})"
        raise make_bad_input(files[0].path, given + others)
    return _stitch(_drop_duplicates(_select_best(_select_positive(usable))), merged)


def _read(path: Path, flux: FluxColumn, mission: str) -> LightCurveFile:
    """Read one file by its first bytes; its name only decides whether damaged content should have been FITS."""
    content = read_content(path)
    if is_fits(content) or get_suffix(path.name) in FITS_SUFFIXES:
        return read_fits(path, content, flux)
    return read_csv(path, content, flux, mission)


def _select_parts(files: Sequence[LightCurveFile], parts: Collection[int]) -> Sequence[LightCurveFile]:
    """Return the files of the requested parts, and those that do not name their part."""
    numbers = [_get_part(file) for file in files]
    selected = [file for file, number in zip(files, numbers, strict=True) if number is None or number in parts]
    if parts and not selected:
        there = ", ".join(sorted({file.segment.name for file in files}))
        requested = ", ".join(str(part) for part in parts)
        raise BadInput(f"{files[0].path.name}: the files are of {there}; requested: {requested}; correct the table")
    return selected if parts else files


def _check_one_star(files: Sequence[LightCurveFile]) -> None:
    first: dict[str, LightCurveFile] = {}
    for file in files:
        catalogue = file.catalogue_name.partition(" ")[0]
        other = first.setdefault(catalogue, file)
        if other.catalogue_name != file.catalogue_name:
            given = f"it is of {file.catalogue_name}, and {other.path.name} of {other.catalogue_name}"
            raise make_bad_input(file.path, given, "give each star a row of its own in the table of targets")


def _get_part(file: LightCurveFile) -> int | None:
    """Return the number of a segment named by a letter and a number; None if its name is the file's stem."""
    name = file.segment.name
    return int(name[1:]) if name != get_stem(file.path) and name[1:].isdecimal() else None


def _select_positive(files: Sequence[LightCurveFile]) -> list[LightCurveFile]:
    """Return the files with a positive median; division by any other would turn transits into brightenings."""
    positive = [file for file in files if np.median(file.points.flux) > _MIN_LEVEL]
    if not positive:
        lowest = float(np.median(files[0].points.flux))
        raise Unsearchable("nonpositive_flux", f"{files[0].path.name}: the median flux is {lowest:g}")
    return positive


def _select_best(files: Sequence[LightCurveFile]) -> list[LightCurveFile]:
    """Return the files of the best observation of each segment (one or several files), best first."""
    best: dict[tuple[str, str], tuple[int, int]] = {}
    for file in files:
        key = _get_segment_key(file)
        best[key] = min(best.get(key, _rank(file)), _rank(file))
    kept = [file for file in files if _rank(file) == best[_get_segment_key(file)]]
    return sorted(kept, key=lambda file: (_rank(file), _get_start(file), file.path.name))


def _get_segment_key(file: LightCurveFile) -> tuple[str, str]:
    return file.segment.mission, file.segment.name


def _rank(file: LightCurveFile) -> tuple[int, int]:
    """Return the rank of pipeline and cadence; lower is better."""
    segment = file.segment
    author = _AUTHORS.index(segment.author) if segment.author in _AUTHORS else len(_AUTHORS)
    cadences = _CADENCES_SECONDS.get(segment.mission, ())
    near = [index for index, cadence in enumerate(cadences) if abs(segment.cadence_seconds / cadence - 1) < 0.05]
    return author, near[0] if near else len(cadences)


def _get_start(file: LightCurveFile) -> float:
    return float(file.points.time[0]) + TIME_ZERO_DAYS[file.segment.time_system]


def _drop_duplicates(files: Sequence[LightCurveFile]) -> list[LightCurveFile]:
    """Drop files that mostly repeat the times of better ones (the same data twice), and sort by time."""
    kept: list[LightCurveFile] = []
    for file in files:
        kept += [] if any(_is_duplicate(file, better) for better in kept) else [file]
    return sorted(kept, key=lambda file: (_get_start(file), file.path.name))


def _is_duplicate(file: LightCurveFile, better: LightCurveFile) -> bool:
    """Return True if most points of ``file`` are at times of ``better``."""
    shift = TIME_ZERO_DAYS[file.segment.time_system] - TIME_ZERO_DAYS[better.segment.time_system]
    time, there = file.points.time + shift, better.points.time
    if time[0] > there[-1] or time[-1] < there[0]:
        return False
    after = np.searchsorted(there, time)
    before = np.maximum(after - 1, 0)
    near = np.minimum(np.abs(time - there[before]), np.abs(time - there[np.minimum(after, len(there) - 1)]))
    tolerance = 0.5 * max(file.segment.cadence_seconds, better.segment.cadence_seconds) / 86400
    return float(np.mean(near <= tolerance)) > 0.5


def _stitch(files: Sequence[LightCurveFile], star: Star) -> LightCurve:
    system = files[0].segment.time_system
    points = [_divide_by_median(file, system) for file in files]
    index = np.repeat(np.arange(len(files)), [len(part.time) for part in points])
    time, flux, error = (np.concatenate([getattr(part, name) for part in points]) for name in _NAMES)
    order = np.argsort(time, kind="stable")
    cadences = np.array([file.segment.cadence_seconds for file in files]) / 86400
    kept = order[_find_distinct(time[order], index[order], cadences)]
    segments = tuple(replace(file.segment, time_system=system) for file in files)
    disturbed = np.sort(np.concatenate([part.disturbed for part in points]))
    nonpositive = sum(len(file.points.time) for file in files) - len(time)
    return LightCurve(time[kept], flux[kept], error[kept], index[kept], segments, star, disturbed, nonpositive)


def _divide_by_median(file: LightCurveFile, system: str) -> Points:
    """Return the points in another time system, over their median, without points that are zero or negative."""
    points = file.points
    level = float(np.median(points.flux))
    shift = TIME_ZERO_DAYS[file.segment.time_system] - TIME_ZERO_DAYS[system]
    good = _find_positive(points.flux / level)
    flux, error = points.flux[good] / level, points.flux_error[good] / level
    return Points(points.time[good] + shift, flux, error, points.disturbed + shift)


def _find_positive(flux: Floats) -> Flags:
    """Return flags (n,) of the points with flux: zeros fill gaps, and negative values are bad unless they are noise."""
    noise = 1.4826 * float(np.median(np.abs(flux - 1.0)))
    is_noisy = noise > 1 / _MIN_POSITIVE_SIGMA
    return (flux > 0.0) | ((flux < 0.0) & is_noisy)


def _find_distinct(time: Floats, segment: Indices, cadences: Floats) -> Flags:
    """Return flags (n,) of the sorted points to keep: without points within half a cadence of another segment's."""
    keep = np.ones(len(time), dtype=np.bool_)
    doubles = (np.diff(segment) != 0) & (np.diff(time) < 0.5 * cadences[segment[1:]])
    keep[1:] = ~doubles & (np.diff(time) > 0)
    return keep
