"""Transits of known period, depth and duration in real noise: which way of searching finds them again."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.transit_search.false_positives import RATE, all_noise, by_family, sde, threshold
from benchmarks.transit_search.noise import Noise
from benchmarks.transit_search.pool import spread
from benchmarks.transit_search.rows import Searched, save, table
from benchmarks.transit_search.stars import K2, QUARTER, TESS
from benchmarks.transit_search.ways import OURS, TLS, TLS_PREPARED, WAYS, Detection
from tasks.transits.light_curve import Floats
from tasks.transits.searching.grid import compute_duration_share

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # batman imports distutils
    import batman

LEAST_PERIOD_DAYS = 0.6
SNR_RANGE = (5.0, 20.0)  # in the white noise of single points: from hardly any to nearly all are found
_UNKNOWN_DENSITIES = (0.25, 2.5)  # solar, of stars whose own is unknown
_MAX_IMPACT = 0.8
_LIMB_DARKENING = (0.4804, 0.1867)  # quadratic, of a star like the Sun in Kepler's band
_FIRST_SEED = 100_000  # of scrambles: none is among those that the thresholds are taken from
_RESAMPLED = 300
_SAME = 0.01
_ALIASES = (0.5, 2.0)
_FAMILIES = (TESS, K2, QUARTER)
_HOURS = 24.0
# Edges of the groups that shares are told for.
_GROUPS = {"duration_days": (0.0, 2 / _HOURS, 4 / _HOURS, 1.0), "depth": (0.0, 2e-4, 1e-3, 1.0)}


@dataclass(frozen=True)
class Injected:
    """A planet on a circular orbit. ``snr`` of all its transits together in white noise."""

    period_days: float
    transit_time_days: float
    radius_ratio: float
    scaled_axis: float
    impact: float
    duration_days: float
    depth: float
    snr: float
    transits: int

    def flux(self, noise: Noise) -> Floats:
        """(n,) averaged over each exposure."""
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
    ways: tuple[str, ...]


def run(folder: Path, output: Path, count: int, processes: int, ways: Sequence[str] = tuple(WAYS)) -> list[Searched]:
    """Inject ``count`` planets, evenly over the families and over signal-to-noise, and search for them."""
    jobs = [Job(folder, noise, seed, snr, tuple(ways)) for noise, seed, snr in _plan(all_noise(folder), count)]
    rows = spread(searched, jobs, processes, "injected")
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


def searched(job: Job) -> Searched:
    """Search one injection with all methods."""
    noise = all_noise(job.folder)[job.noise]
    planet = _choose_planet(noise, job.snr, np.random.default_rng(job.seed))
    curve = noise.scrambled(job.seed, planet.flux(noise))
    found = {way: WAYS[way](curve) for way in job.ways}
    return Searched(noise.name, noise.family, "injected", job.seed, found, asdict(planet))


def _choose_planet(noise: Noise, snr: float, rng: np.random.Generator) -> Injected:
    """A planet of the wanted signal-to-noise with at least two transits of which most points are there."""
    while True:
        planet = _scale_planet(noise, _draw_planet(noise, rng), snr)
        if planet.transits >= 2 and planet.radius_ratio < 0.3:
            return planet


def _draw_planet(noise: Noise, rng: np.random.Generator) -> Injected:
    longest = noise.baseline_days / 2
    period = LEAST_PERIOD_DAYS * (longest / LEAST_PERIOD_DAYS) ** rng.random()
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
        missing = 1.0 - planet.flux(noise)
        now = float(np.sqrt(np.sum(missing**2))) / noise.scatter
        if now <= 0.0:
            return planet
        ratio = planet.radius_ratio * math.sqrt(snr / now)
        planet = Injected(**{**asdict(planet), "radius_ratio": min(ratio, 0.3)})
    missing = 1.0 - planet.flux(noise)
    return Injected(
        **{
            **asdict(planet),
            "depth": float(missing.max()),
            "snr": float(np.sqrt(np.sum(missing**2))) / noise.scatter,
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


def period_is(found: Detection, period_days: float, factor: float = 1.0) -> bool:
    """Return True if the period was found to 1 %."""
    return abs(found.period_days / (period_days * factor) - 1.0) < _SAME


def recovered(row: Searched, way: str, least: float) -> bool:
    """Return True if ``way`` found the period with an SDE above ``least``."""
    found = row.found[way]
    return sde(found) > least and period_is(found, row.signal["period_days"])


def aliased(row: Searched, way: str, least: float) -> bool:
    """Return True if it found half or twice the period."""
    found = row.found[way]
    return sde(found) > least and any(period_is(found, row.signal["period_days"], factor) for factor in _ALIASES)


def thresholds(quiet: Iterable[Searched]) -> Mapping[tuple[str, str], float]:
    """Return thresholds by family and method."""
    families = by_family(quiet)
    return {(name, way): threshold(of, way).value for name, of in families.items() for way in of[0].found}


def report(rows: Sequence[Searched], quiet: Sequence[Searched]) -> None:
    """Print how much each way recovers, each at its own threshold in each family."""
    least = thresholds(quiet)
    ways = list(rows[0].found)
    groups = {**by_family(rows), **_group_by_signal(rows), "all": list(rows)}
    print("\nShare of injected planets found at 1 % false positives (half or twice the period: in brackets)\n")
    lines = [[name, len(of), *(_share(of, way, least) for way in ways)] for name, of in groups.items() if of]
    print(table(["planets", "number", *ways], lines))
    for other in (TLS, TLS_PREPARED):
        if OURS in ways and other in ways:
            print(f"\n{_compare_pairs(rows, least, (OURS, other))}; {_lead(rows, quiet, (OURS, other))}")


def _group_by_signal(rows: Sequence[Searched]) -> Mapping[str, list[Searched]]:
    """Group recoveries by duration and by depth."""
    names = {"duration_days": ("transits of {:g} to {:g} hours", _HOURS), "depth": ("depths of {:g} to {:g} ppm", 1e6)}
    groups = {}
    for name, edges in _GROUPS.items():
        text, unit = names[name]
        for low, high in pairwise(edges):
            title = text.format(round(low * unit, 3), round(high * unit, 3))
            groups[title] = [row for row in rows if low <= row.signal[name] < high]
    return groups


def _share(rows: Sequence[Searched], way: str, least: Mapping[tuple[str, str], float]) -> str:
    hits = sum(recovered(row, way, least[row.family, way]) for row in rows)
    aliases = sum(aliased(row, way, least[row.family, way]) for row in rows)
    return f"{hits / len(rows):.1%} ({aliases / len(rows):.1%})"


def _compare_pairs(rows: Sequence[Searched], least: Mapping[tuple[str, str], float], pair: tuple[str, str]) -> str:
    """Compare detections of only one of two methods in the same light curves."""
    found = [[recovered(row, way, least[row.family, way]) for way in pair] for row in rows]
    only = [sum(mine and not theirs for mine, theirs in found), sum(theirs and not mine for mine, theirs in found)]
    return f"found by {pair[0]} alone: {only[0]}, by {pair[1]} alone: {only[1]}"


def _lead(rows: Sequence[Searched], quiet: Sequence[Searched], pair: tuple[str, str]) -> str:
    """By how much more the first way finds, with what chance in thresholds and planets does to that."""
    rng = np.random.default_rng(0)
    leads = [_once(rows, quiet, pair, rng) for _ in range(_RESAMPLED)]
    low, high = np.quantile(leads, [0.16, 0.84])
    return f"lead with thresholds and planets resampled: {low:+.1%} to {high:+.1%} (68 %)"


def _once(
    rows: Sequence[Searched], quiet: Sequence[Searched], pair: tuple[str, str], rng: np.random.Generator
) -> float:
    drawn = [rows[index] for index in rng.integers(len(rows), size=len(rows))]
    of_family = by_family(quiet)
    least = {}
    for name in by_family(rows):
        noise = [of_family[name][index] for index in rng.integers(len(of_family[name]), size=len(of_family[name]))]
        for way in pair:
            least[name, way] = float(np.quantile([sde(row.found[way]) for row in noise], 1 - RATE))
    ours, theirs = (sum(recovered(row, way, least[row.family, way]) for row in drawn) for way in pair)
    return (ours - theirs) / len(drawn)
