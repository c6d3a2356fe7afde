"""Inject transits of known period, depth and duration into real noise, and measure how many each method recovers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.transit_search.false_positives import RATE, compute_threshold, get_sde, group_by_family, load_noises
from benchmarks.transit_search.methods import METHODS, OURS, TLS, TLS_PREPARED, Detection
from benchmarks.transit_search.noise import Noise
from benchmarks.transit_search.pool import run_parallel
from benchmarks.transit_search.rows import CurveResult, format_table, save
from benchmarks.transit_search.stars import K2, QUARTER, TESS
from tasks.transits.light_curve import Floats
from tasks.transits.searching.grid import compute_duration_share

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # batman imports distutils
    import batman

MIN_PERIOD_DAYS = 0.6
SNR_RANGE = (5.0, 20.0)  # in the white noise of single points; hardly any to nearly all are found
_UNKNOWN_DENSITIES = (0.25, 2.5)  # solar, for stars of unknown density
_MAX_IMPACT = 0.8
_LIMB_DARKENING = (0.4804, 0.1867)  # quadratic, of a star like the Sun in Kepler's band
_FIRST_SEED = 100_000  # of scrambled curves; the thresholds use other seeds
_RESAMPLED = 300
_SAME = 0.01
_ALIASES = (0.5, 2.0)
_FAMILIES = (TESS, K2, QUARTER)
_HOURS = 24.0
# Edges of the groups in the report.
_GROUPS = {"duration_days": (0.0, 2 / _HOURS, 4 / _HOURS, 1.0), "depth": (0.0, 2e-4, 1e-3, 1.0)}


@dataclass(frozen=True)
class Injected:
    """A planet on a circular orbit. ``snr``: of all its transits together, in white noise."""

    period_days: float
    transit_time_days: float
    radius_ratio: float
    scaled_axis: float
    impact: float
    duration_days: float
    depth: float
    snr: float
    transits: int

    def compute_flux(self, noise: Noise) -> Floats:
        """Return the relative flux (n,), averaged over each exposure."""
        params = batman.TransitParams()
        params.t0, params.per, params.rp, params.a = 0.0, self.period_days, self.radius_ratio, self.scaled_axis
        params.inc = math.degrees(math.acos(self.impact / self.scaled_axis))
        params.ecc, params.w = 0.0, 90.0
        params.limb_dark, params.u = "quadratic", list(_LIMB_DARKENING)
        exposures = {"supersample_factor": 7, "exp_time": noise.cadence_days} if noise.cadence_days > 0.01 else {}
        model = batman.TransitModel(params, noise.curve.time - self.transit_time_days, **exposures)
        return np.asarray(model.light_curve(params))


@dataclass(frozen=True)
class Job:
    """One injection."""

    folder: Path
    noise: int
    seed: int
    snr: float
    methods: tuple[str, ...]


def run(
    folder: Path, output: Path, count: int, processes: int, methods: Sequence[str] = tuple(METHODS)
) -> list[CurveResult]:
    """Inject ``count`` planets, evenly over the families and over signal-to-noise, and search for them."""
    jobs = [Job(folder, noise, seed, snr, tuple(methods)) for noise, seed, snr in _plan(load_noises(folder), count)]
    rows = run_parallel(search_injection, jobs, processes, "injected")
    save(output / "injections.json", rows)
    return rows


def _plan(curves: Sequence[Noise], count: int) -> Iterator[tuple[int, int, float]]:
    families: dict[str, list[int]] = {name: [] for name in _FAMILIES}
    for index, noise in enumerate(curves):
        if noise.family in families:
            families[noise.family].append(index)
    each = math.ceil(count / len(families))
    snrs = np.random.default_rng(1).permutation(np.linspace(*SNR_RANGE, each))
    for turn, snr in enumerate(snrs):
        for indices in families.values():
            yield indices[turn % len(indices)], _FIRST_SEED + turn, float(snr)


def search_injection(job: Job) -> CurveResult:
    """Search one injection with all methods."""
    noise = load_noises(job.folder)[job.noise]
    planet = _choose_planet(noise, job.snr, np.random.default_rng(job.seed))
    curve = noise.scramble(job.seed, planet.compute_flux(noise))
    detections = {method: METHODS[method](curve) for method in job.methods}
    return CurveResult(noise.name, noise.family, "injected", job.seed, detections, asdict(planet))


def _choose_planet(noise: Noise, snr: float, rng: np.random.Generator) -> Injected:
    """Return a planet of this signal-to-noise ratio with at least two well-covered transits."""
    while True:
        planet = _scale_planet(noise, _draw_planet(noise, rng), snr)
        if planet.transits >= 2 and planet.radius_ratio < 0.3:
            return planet


def _draw_planet(noise: Noise, rng: np.random.Generator) -> Injected:
    max_period = noise.baseline_days / 2
    period = MIN_PERIOD_DAYS * (max_period / MIN_PERIOD_DAYS) ** rng.random()
    star = noise.curve.star
    low, high = np.log(_UNKNOWN_DENSITIES)
    density = star.density if star.mass and star.radius else math.exp(rng.uniform(low, high))
    axis = 1.0 / (math.pi * float(compute_duration_share(np.array([period]), density)[0]))
    impact = rng.uniform(0.0, _MAX_IMPACT)
    duration = period / math.pi * math.asin(min(1.0, math.sqrt(1.0 - impact**2) / axis))
    start = float(noise.curve.time[0]) + period * rng.random()
    return Injected(period, start, 0.03, axis, impact, duration, 0.0, 0.0, 0)


def _scale_planet(noise: Noise, planet: Injected, snr: float) -> Injected:
    for _ in range(3):
        dimming = 1.0 - planet.compute_flux(noise)
        current_snr = float(np.sqrt(np.sum(dimming**2))) / noise.scatter
        if current_snr <= 0.0:
            return planet
        ratio = planet.radius_ratio * math.sqrt(snr / current_snr)
        planet = Injected(**{**asdict(planet), "radius_ratio": min(ratio, 0.3)})
    dimming = 1.0 - planet.compute_flux(noise)
    return Injected(
        **{
            **asdict(planet),
            "depth": float(dimming.max()),
            "snr": float(np.sqrt(np.sum(dimming**2))) / noise.scatter,
            "transits": _count_observed(noise, planet),
        }
    )


def _count_observed(noise: Noise, planet: Injected) -> int:
    """Count transits with at least half of their points."""
    since = noise.curve.time - planet.transit_time_days
    cycle = np.round(since / planet.period_days)
    inside = np.abs(since - cycle * planet.period_days) < planet.duration_days / 2
    _, counts = np.unique(cycle[inside], return_counts=True)
    return int(np.count_nonzero(counts >= 0.5 * planet.duration_days / noise.cadence_days))


def has_period(detection: Detection, period_days: float, factor: float = 1.0) -> bool:
    """Return True if the detected period is correct to 1 %."""
    return abs(detection.period_days / (period_days * factor) - 1.0) < _SAME


def is_recovered(row: CurveResult, method: str, min_sde: float) -> bool:
    """Return True if ``method`` detected the period with an SDE above ``min_sde``."""
    detection = row.detections[method]
    return get_sde(detection) > min_sde and has_period(detection, row.signal["period_days"])


def is_aliased(row: CurveResult, method: str, min_sde: float) -> bool:
    """Return True if ``method`` detected half or twice the period with an SDE above ``min_sde``."""
    detection = row.detections[method]
    return get_sde(detection) > min_sde and any(
        has_period(detection, row.signal["period_days"], factor) for factor in _ALIASES
    )


def compute_thresholds(noise_rows: Iterable[CurveResult]) -> Mapping[tuple[str, str], float]:
    """Return the thresholds by family and method."""
    families = group_by_family(noise_rows)
    return {
        (name, method): compute_threshold(of, method).value
        for name, of in families.items()
        for method in of[0].detections
    }


def report(rows: Sequence[CurveResult], noise_rows: Sequence[CurveResult]) -> None:
    """Print the share that each method recovers, at its own threshold per family."""
    min_sde = compute_thresholds(noise_rows)
    methods = list(rows[0].detections)
    groups = {**group_by_family(rows), **_group_by_signal(rows), "all": list(rows)}
    print("\nShare of injected planets found at 1 % false positives (in brackets: half or twice the period)\n")
    lines = [
        [name, len(of), *(_format_share(of, method, min_sde) for method in methods)]
        for name, of in groups.items()
        if of
    ]
    print(format_table(["planets", "number", *methods], lines))
    for other in (TLS, TLS_PREPARED):
        if OURS in methods and other in methods:
            print(
                f"\n{_compare_pairs(rows, min_sde, (OURS, other))}; {_describe_lead(rows, noise_rows, (OURS, other))}"
            )


def _group_by_signal(rows: Sequence[CurveResult]) -> Mapping[str, list[CurveResult]]:
    """Group recoveries by duration and by depth."""
    names = {"duration_days": ("transits of {:g} to {:g} hours", _HOURS), "depth": ("depths of {:g} to {:g} ppm", 1e6)}
    groups = {}
    for name, edges in _GROUPS.items():
        text, unit = names[name]
        for low, high in pairwise(edges):
            title = text.format(round(low * unit, 3), round(high * unit, 3))
            groups[title] = [row for row in rows if low <= row.signal[name] < high]
    return groups


def _format_share(rows: Sequence[CurveResult], method: str, min_sde: Mapping[tuple[str, str], float]) -> str:
    hits = sum(is_recovered(row, method, min_sde[row.family, method]) for row in rows)
    aliases = sum(is_aliased(row, method, min_sde[row.family, method]) for row in rows)
    return f"{hits / len(rows):.1%} ({aliases / len(rows):.1%})"


def _compare_pairs(rows: Sequence[CurveResult], min_sde: Mapping[tuple[str, str], float], pair: tuple[str, str]) -> str:
    """Compare detections of only one of two methods in the same light curves."""
    hits = [[is_recovered(row, method, min_sde[row.family, method]) for method in pair] for row in rows]
    only = [sum(mine and not theirs for mine, theirs in hits), sum(theirs and not mine for mine, theirs in hits)]
    return f"found only by {pair[0]}: {only[0]}, only by {pair[1]}: {only[1]}"


def _describe_lead(rows: Sequence[CurveResult], noise_rows: Sequence[CurveResult], pair: tuple[str, str]) -> str:
    """Describe how many more planets the first method recovers, with an interval from resampling."""
    rng = np.random.default_rng(0)
    leads = [_resample_lead(rows, noise_rows, pair, rng) for _ in range(_RESAMPLED)]
    low, high = np.quantile(leads, [0.16, 0.84])
    return f"lead with thresholds and planets resampled: {low:+.1%} to {high:+.1%} (68 %)"


def _resample_lead(
    rows: Sequence[CurveResult], noise_rows: Sequence[CurveResult], pair: tuple[str, str], rng: np.random.Generator
) -> float:
    drawn = [rows[index] for index in rng.integers(len(rows), size=len(rows))]
    of_family = group_by_family(noise_rows)
    min_sde = {}
    for name in group_by_family(rows):
        noise = [of_family[name][index] for index in rng.integers(len(of_family[name]), size=len(of_family[name]))]
        for method in pair:
            min_sde[name, method] = float(np.quantile([get_sde(row.detections[method]) for row in noise], 1 - RATE))
    ours, theirs = (sum(is_recovered(row, method, min_sde[row.family, method]) for row in drawn) for method in pair)
    return (ours - theirs) / len(drawn)
