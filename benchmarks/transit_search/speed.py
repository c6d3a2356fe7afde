"""CPU seconds a star, one thread: Headrace beside the usual pipeline, in one process, in turn.

The usual pipeline is lightkurve's ``flatten()`` and astropy's ``BoxLeastSquares.autopower`` with the durations that
lightkurve takes and the grid that astropy makes of them, and TLS over all its periods. Everything runs once unmeasured.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.transit_search.rows import save, table
from benchmarks.transit_search.stars import FOUR_YEARS, K2, TESS, KnownStar, known_stars
from benchmarks.transit_search.ways import full_tls
from tasks.transits.kernels import compile_once
from tasks.transits.light_curve import LightCurve
from tasks.transits.params import TransitParams
from tasks.transits.preparation import prepare
from tasks.transits.searching import search
from tasks.transits.searching.boxes import BINS_PER_DURATION, WIDTH_STEP, search_boxes
from tasks.transits.searching.grid import Grid, build_grid
from tasks.transits.searching.points import Points

DURATIONS_DAYS = (0.05, 0.10, 0.15, 0.20, 0.25, 0.33)  # lightkurve's
MOST_PERIODS = 1_000_000  # of a grid that is timed in full; of a larger one a sample is
_SAMPLE = 10_000
_EVERY = 100  # of four years' periods is timed where boxes are compared on the same grid
_STARS = {TESS: "WASP-126", K2: "WASP-47", FOUR_YEARS: "Kepler-20 A"}
SHORT_STARS = (TESS, K2)
ALL_STARS = (*SHORT_STARS, FOUR_YEARS)
_ONE = TransitParams(max_planets=1)
_ONE_BY_BOXES = TransitParams(max_planets=1, run_tls=False)


@dataclass(frozen=True)
class Timing:
    """Median CPU seconds, and each of them. ``note``: how many periods, and whether all of them were timed."""

    family: str
    way: str
    seconds: float
    each: tuple[float, ...]
    note: str


Timed = Callable[[], str]


def run(folder: Path, output: Path, repeats: int, families: Sequence[str] = ALL_STARS) -> list[Timing]:
    """Time everything, ``repeats`` times; the longest things once."""
    stars = {star.family: star for star in known_stars(folder) if star.name == _STARS.get(star.family)}
    found: list[Timing] = []
    compile_once()
    for family in families:
        slow = family == FOUR_YEARS
        found += _time_methods(family, _ways(stars[family], not slow), 1 if slow else repeats, warm=not slow)
        print(f"  {family}: timed", flush=True)
    save(output / "speed.json", found)
    return found


def _time_methods(family: str, ways: Mapping[str, Timed], repeats: int, warm: bool) -> list[Timing]:
    """Time all methods alternately, so that other load on the machine affects them equally."""
    each: dict[str, list[float]] = {way: [] for way in ways}
    notes: dict[str, str] = {}
    for number in range(repeats + warm):
        for way, work in ways.items():
            start = time.process_time()
            note = work()
            seconds = time.process_time() - start
            scale, _, notes[way] = note.rpartition("|")
            if number or not warm:
                each[way].append(seconds * float(scale or 1))
    return [Timing(family, way, statistics.median(took), tuple(took), notes[way]) for way, took in each.items()]


FLATTEN, GRID, DEFAULT, FULL_TLS = "flatten", "astropy BLS, its own grid", "lightkurve BLS, its grid", "TLS in full"
KERNEL, SAME_GRID = "headrace, the box kernel alone", "astropy BLS, headrace's grid"
BOXES, BOTH, WHOLE, THREE = (
    "headrace, BLS",
    "headrace, BLS + TLS",
    "headrace, all of a star",
    "headrace, up to 3 planets",
)


def _ways(star: KnownStar, with_tls: bool) -> Mapping[str, Timed]:
    curve = star.light_curve()
    flat = _flattened(curve)
    ways: dict[str, Timed] = {
        FLATTEN: lambda: f"{len(_flattened(curve)):,} points",
        GRID: lambda: _astropy(flat),
        BOXES: lambda: _ours(curve, _ONE_BY_BOXES),
    }
    prepared = prepare(curve, _ONE)
    points = Points(prepared.time, prepared.flux, prepared.noise)
    grid = build_grid(prepared.baseline_days, _ONE.min_period, prepared.baseline_days)
    step = 1 if with_tls else _EVERY
    part = Grid(grid.period_days[::step], grid.min_share[::step], grid.max_share[::step])
    ways |= {
        KERNEL: lambda: _scaled(_run_boxes(points, part), step),
        SAME_GRID: lambda: _scaled(_astropy_on(points, part), step),
    }
    if with_tls:
        ways |= {
            DEFAULT: lambda: f"{len(flat.to_periodogram(method='bls').period):,} periods",
            FULL_TLS: lambda: f"{len(full_tls(prepared.time, prepared.flux).periods):,} periods",
            BOTH: lambda: _ours(curve, _ONE),
            THREE: lambda: _ours(curve, TransitParams()),
            WHOLE: lambda: _stage(star),
        }
    return ways


def _flattened(curve: LightCurve) -> Any:
    import lightkurve

    return lightkurve.LightCurve(time=curve.time, flux=curve.flux, flux_err=curve.flux_error).flatten()


def _astropy(flat: Any) -> str:
    """All periods of the grid, or a random sample of them; the note's number is what to multiply the time by."""
    from astropy.timeseries import BoxLeastSquares

    clean = flat.remove_nans()
    time_days, flux = np.asarray(clean.time.value), np.asarray(clean.flux)
    error = np.asarray(clean.flux_err)
    model = BoxLeastSquares(time_days, flux, error if np.isfinite(error).all() else None)
    count = _count(float(np.ptp(time_days)))
    if count <= MOST_PERIODS:
        found = model.autopower(np.array(DURATIONS_DAYS))
        return f"{len(found.period):,} periods"
    model.power(_sample_grid(float(np.ptp(time_days))), np.array(DURATIONS_DAYS))
    return f"{count / _SAMPLE}|{count:,} periods, {_SAMPLE:,} of them timed"


def _scaled(note: str, step: int) -> str:
    return note if step == 1 else f"{step}|{note}, every {step}th of the grid"


def _run_boxes(points: Points, grid: Grid) -> str:
    """Run the inner loop alone: one pass over the grid."""
    return f"{len(search_boxes(points, grid).period_days):,} periods"


def _astropy_on(points: Points, grid: Grid) -> str:
    """astropy's box search on the same periods, in octaves with the durations that are tried there."""
    from astropy.timeseries import BoxLeastSquares

    model = BoxLeastSquares(points.time, points.flux, points.noise)
    octave = np.floor(np.log2(grid.period_days / grid.period_days[0]))
    for number in np.unique(octave):
        here = octave == number
        shortest = float((grid.min_share * grid.period_days)[here].min())
        longest = float((grid.max_share * grid.period_days)[here].max())
        durations = np.geomspace(shortest, longest, math.ceil(math.log(longest / shortest, WIDTH_STEP)) + 1)
        model.power(grid.period_days[here], durations, oversample=BINS_PER_DURATION)
    return f"{len(grid):,} periods, {len(np.unique(octave))} octaves"


def _count(baseline_days: float) -> int:
    """Periods in astropy's grid: evenly spaced in frequency, from half of the longest period to two of the shortest."""
    low, high = 1.0 / baseline_days, 1.0 / (2.0 * max(DURATIONS_DAYS))
    return 1 + round((high - low) * baseline_days**2 / min(DURATIONS_DAYS))


def _sample_grid(baseline_days: float) -> np.ndarray:
    """Sample the grid evenly in frequency."""
    low, high = 1.0 / baseline_days, 1.0 / (2.0 * max(DURATIONS_DAYS))
    return np.sort(1.0 / np.random.default_rng(0).uniform(low, high, _SAMPLE))


def _ours(curve: LightCurve, params: TransitParams) -> str:
    found = search(prepare(curve, params), params)
    return f"{len(found.first.period_days) if found.first else 0:,} periods, {len(found.candidates)} found"


def _stage(star: KnownStar) -> str:
    """What a run does with a star: files in; BLS, TLS, 27 features and flags of up to three planets out; no picture."""
    from tasks.engine.contract.items import Item
    from tasks.engine.contract.stage import Workspace

    stage = _open_stage()
    payload = {"id": "star", "name": star.name, "mission": "", "segments": [], "star": {}}
    with tempfile.TemporaryDirectory() as folder:
        work = Workspace(Path(folder, "outputs"), Path(folder, "scratch"), Path(folder))
        result = stage.run(Item("star", payload, tuple(map(str, star.files))), work)
    return f"{result.values['candidates']} found, with files and features"


@cache
def _open_stage() -> Any:
    """Return a stage as in a started child process."""
    from tasks.transits.stage import StarsStage

    stage = StarsStage(TransitParams(plots=False))
    stage.open()
    return stage


def report(timings: Sequence[Timing]) -> None:
    """Print the CPU seconds, and what was asked for."""
    print("\nCPU seconds a star, one thread\n")
    lines = [[t.family, t.way, f"{t.seconds:.3g}", f"{min(t.each):.3g} to {max(t.each):.3g}", t.note] for t in timings]
    print(table(["star", "way", "median", "range", "what"], lines))
    print("\nThe usual pipeline over Headrace, one planet\n")
    families = {t.family: {other.way: other.seconds for other in timings if other.family == t.family} for t in timings}
    header = ["star", "BLS", "BLS, lightkurve's grid", "BLS + TLS", "astropy over our kernel, same grid"]
    print(table(header, [_ratios(*pair) for pair in families.items()]))


def _ratios(family: str, seconds: Mapping[str, float]) -> list[str]:
    usual = seconds[FLATTEN] + seconds[GRID]
    row = [family, f"{usual / seconds[BOXES]:.1f}"]
    row.append(f"{(seconds[FLATTEN] + seconds[DEFAULT]) / seconds[BOXES]:.1f}" if DEFAULT in seconds else "")
    row.append(f"{(usual + seconds[FULL_TLS]) / seconds[BOTH]:.1f}" if FULL_TLS in seconds else "")
    return [*row, f"{seconds[SAME_GRID] / seconds[KERNEL]:.1f}"]
