"""Measure CPU seconds per star of Headrace and the usual pipeline: one thread, one process, alternately.

The usual pipeline is lightkurve's ``flatten()``, astropy's ``BoxLeastSquares.autopower`` with lightkurve's durations
and astropy's grid, and TLS over all its periods. Everything runs once without timing first.
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

from benchmarks.transit_search.methods import run_full_tls
from benchmarks.transit_search.rows import format_table, save
from benchmarks.transit_search.stars import FOUR_YEARS, K2, TESS, KnownStar, read_known_stars
from tasks.transits.kernels import compile_once
from tasks.transits.light_curve import LightCurve
from tasks.transits.params import TransitParams
from tasks.transits.preparation import prepare
from tasks.transits.searching import search
from tasks.transits.searching.boxes import BINS_PER_DURATION, WIDTH_STEP, search_boxes
from tasks.transits.searching.grid import Grid, build_grid
from tasks.transits.searching.points import Points

DURATIONS_DAYS = (0.05, 0.10, 0.15, 0.20, 0.25, 0.33)  # lightkurve's
MAX_TIMED_PERIODS = 1_000_000  # a larger grid is timed on a sample
_SAMPLE = 10_000
_STEP = 100  # four years: every 100th period is timed when box searches are compared on the same grid
_STARS = {TESS: "WASP-126", K2: "WASP-47", FOUR_YEARS: "Kepler-20 A"}
SHORT_STARS = (TESS, K2)
ALL_STARS = (*SHORT_STARS, FOUR_YEARS)
_ONE = TransitParams(max_planets=1)
_ONE_BY_BOXES = TransitParams(max_planets=1, run_tls=False)


@dataclass(frozen=True)
class Timing:
    """Median CPU seconds, and those of each run. ``note``: number of periods, and how many of them were timed."""

    family: str
    method: str
    seconds: float
    each: tuple[float, ...]
    note: str


Timed = Callable[[], str]


def run(folder: Path, output: Path, repeats: int, families: Sequence[str] = ALL_STARS) -> list[Timing]:
    """Time every method ``repeats`` times; four years of Kepler once."""
    stars = {star.family: star for star in read_known_stars(folder) if star.name == _STARS.get(star.family)}
    timings: list[Timing] = []
    compile_once()
    for family in families:
        slow = family == FOUR_YEARS
        timings += _time_methods(family, _list_methods(stars[family], not slow), 1 if slow else repeats, warm=not slow)
        print(f"  {family}: timed", flush=True)
    save(output / "speed.json", timings)
    return timings


def _time_methods(family: str, methods: Mapping[str, Timed], repeats: int, warm: bool) -> list[Timing]:
    """Time all methods alternately, so that other load on the machine affects them equally."""
    each: dict[str, list[float]] = {method: [] for method in methods}
    notes: dict[str, str] = {}
    for number in range(repeats + warm):
        for method, work in methods.items():
            start = time.process_time()
            note = work()
            seconds = time.process_time() - start
            scale, _, notes[method] = note.rpartition("|")
            if number or not warm:
                each[method].append(seconds * float(scale or 1))
    return [
        Timing(family, method, statistics.median(seconds), tuple(seconds), notes[method])
        for method, seconds in each.items()
    ]


FLATTEN, GRID, DEFAULT, FULL_TLS = "flatten", "astropy BLS, its own grid", "lightkurve BLS, its grid", "TLS in full"
KERNEL, SAME_GRID = "headrace, the box kernel alone", "astropy BLS, headrace's grid"
BOXES, BOTH, WHOLE, THREE = (
    "headrace, BLS",
    "headrace, BLS + TLS",
    "headrace, whole star",
    "headrace, up to 3 planets",
)


def _list_methods(star: KnownStar, with_tls: bool) -> Mapping[str, Timed]:
    curve = star.read_curve()
    flat = _flatten(curve)
    methods: dict[str, Timed] = {
        FLATTEN: lambda: f"{len(_flatten(curve)):,} points",
        GRID: lambda: _run_astropy(flat),
        BOXES: lambda: _run_headrace(curve, _ONE_BY_BOXES),
    }
    prepared = prepare(curve, _ONE)
    points = Points(prepared.time, prepared.flux, prepared.noise)
    grid = build_grid(prepared.baseline_days, _ONE.min_period, prepared.baseline_days)
    step = 1 if with_tls else _STEP
    part = Grid(grid.period_days[::step], grid.min_share[::step], grid.max_share[::step])
    methods |= {
        KERNEL: lambda: _add_scale(_run_boxes(points, part), step),
        SAME_GRID: lambda: _add_scale(_run_astropy_on(points, part), step),
    }
    if with_tls:
        methods |= {
            DEFAULT: lambda: f"{len(flat.to_periodogram(method='bls').period):,} periods",
            FULL_TLS: lambda: f"{len(run_full_tls(prepared.time, prepared.flux).periods):,} periods",
            BOTH: lambda: _run_headrace(curve, _ONE),
            THREE: lambda: _run_headrace(curve, TransitParams()),
            WHOLE: lambda: _run_stage(star),
        }
    return methods


def _flatten(curve: LightCurve) -> Any:
    import lightkurve

    return lightkurve.LightCurve(time=curve.time, flux=curve.flux, flux_err=curve.flux_error).flatten()


def _run_astropy(flat: Any) -> str:
    """Search all periods of the grid, or a random sample. Returns the note, preceded by a factor for the time."""
    from astropy.timeseries import BoxLeastSquares

    clean = flat.remove_nans()
    time_days, flux = np.asarray(clean.time.value), np.asarray(clean.flux)
    error = np.asarray(clean.flux_err)
    model = BoxLeastSquares(time_days, flux, error if np.isfinite(error).all() else None)
    count = _count_periods(float(np.ptp(time_days)))
    if count <= MAX_TIMED_PERIODS:
        result = model.autopower(np.array(DURATIONS_DAYS))
        return f"{len(result.period):,} periods"
    model.power(_sample_grid(float(np.ptp(time_days))), np.array(DURATIONS_DAYS))
    return f"{count / _SAMPLE}|{count:,} periods, {_SAMPLE:,} of them timed"


def _add_scale(note: str, step: int) -> str:
    return note if step == 1 else f"{step}|{note}, every {step}th of the grid"


def _run_boxes(points: Points, grid: Grid) -> str:
    """Run the inner loop alone: one pass over the grid."""
    return f"{len(search_boxes(points, grid).period_days):,} periods"


def _run_astropy_on(points: Points, grid: Grid) -> str:
    """Run astropy's box search on the same periods and durations, octave by octave."""
    from astropy.timeseries import BoxLeastSquares

    model = BoxLeastSquares(points.time, points.flux, points.noise)
    octave = np.floor(np.log2(grid.period_days / grid.period_days[0]))
    for number in np.unique(octave):
        here = octave == number
        min_duration = float((grid.min_share * grid.period_days)[here].min())
        max_duration = float((grid.max_share * grid.period_days)[here].max())
        durations = np.geomspace(
            min_duration, max_duration, math.ceil(math.log(max_duration / min_duration, WIDTH_STEP)) + 1
        )
        model.power(grid.period_days[here], durations, oversample=BINS_PER_DURATION)
    return f"{len(grid):,} periods, {len(np.unique(octave))} octaves"


def _count_periods(baseline_days: float) -> int:
    """Count the periods of astropy's grid: even in frequency, from two maximum durations to the whole baseline."""
    low, high = 1.0 / baseline_days, 1.0 / (2.0 * max(DURATIONS_DAYS))
    return 1 + round((high - low) * baseline_days**2 / min(DURATIONS_DAYS))


def _sample_grid(baseline_days: float) -> np.ndarray:
    """Sample the grid evenly in frequency."""
    low, high = 1.0 / baseline_days, 1.0 / (2.0 * max(DURATIONS_DAYS))
    return np.sort(1.0 / np.random.default_rng(0).uniform(low, high, _SAMPLE))


def _run_headrace(curve: LightCurve, params: TransitParams) -> str:
    result = search(prepare(curve, params), params)
    return f"{len(result.first.period_days) if result.first else 0:,} periods, {len(result.candidates)} found"


def _run_stage(star: KnownStar) -> str:
    """Run the stage on a star without a plot: read files, search, and measure features of up to three planets."""
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
    """Print the CPU seconds, and the ratios to the usual pipeline."""
    print("\nCPU seconds per star, one thread\n")
    lines = [
        [t.family, t.method, f"{t.seconds:.3g}", f"{min(t.each):.3g} to {max(t.each):.3g}", t.note] for t in timings
    ]
    print(format_table(["star", "way", "median", "range", "what"], lines))
    print("\nThe usual pipeline over Headrace, one planet\n")
    families = {
        t.family: {other.method: other.seconds for other in timings if other.family == t.family} for t in timings
    }
    header = ["star", "BLS", "BLS, lightkurve's grid", "BLS + TLS", "astropy over our kernel, same grid"]
    print(format_table(header, [_format_ratios(*pair) for pair in families.items()]))


def _format_ratios(family: str, seconds: Mapping[str, float]) -> list[str]:
    usual = seconds[FLATTEN] + seconds[GRID]
    row = [family, f"{usual / seconds[BOXES]:.1f}"]
    row.append(f"{(seconds[FLATTEN] + seconds[DEFAULT]) / seconds[BOXES]:.1f}" if DEFAULT in seconds else "")
    row.append(f"{(usual + seconds[FULL_TLS]) / seconds[BOTH]:.1f}" if FULL_TLS in seconds else "")
    return [*row, f"{seconds[SAME_GRID] / seconds[KERNEL]:.1f}"]
