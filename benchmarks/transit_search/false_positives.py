"""Measure the SDE of the strongest signal in light curves without planets, per method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.transit_search.methods import METHODS, OURS, Detection
from benchmarks.transit_search.noise import Noise, iterate_noises
from benchmarks.transit_search.pool import run_parallel
from benchmarks.transit_search.rows import CurveResult, format_table, load_searched, save
from benchmarks.transit_search.stars import read_known_stars
from tasks.transits.params import TransitParams

RATE = 0.01
_FILE = "false-positives.json"
_RESAMPLED = 1000
_DEFAULTS = TransitParams()


@dataclass(frozen=True)
class Job:
    """One light curve to search; ``seed`` None: inverted, with the days in their real order."""

    folder: Path
    noise: int
    seed: int | None
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Threshold:
    """The SDE that the share ``RATE`` of the light curves without planets exceeds, with its 68 % interval."""

    value: float
    low: float
    high: float
    curves: int

    def __str__(self) -> str:
        return f"{self.value:.1f} ({self.low:.1f} to {self.high:.1f})"


@cache
def load_noises(folder: Path) -> tuple[Noise, ...]:
    """Split all light curves into trend and residual, once per process."""
    return tuple(iterate_noises(read_known_stars(folder)))


def run(
    folder: Path, output: Path, curves: int, processes: int, methods: Sequence[str] = tuple(METHODS)
) -> list[CurveResult]:
    """Search every real curve inverted, and ``curves`` scrambled ones per family."""
    jobs = [Job(folder, noise, seed, tuple(methods)) for noise, seed in _plan(load_noises(folder), curves)]
    rows = run_parallel(search_curve, jobs, processes, "without planets")
    save(output / _FILE, rows)
    return rows


def load(output: Path) -> list[CurveResult]:
    """Load the results of an earlier run."""
    path = output / _FILE
    if not path.is_file():
        raise SystemExit(f"{path} does not exist; run the part false-positives first, or all parts")
    return load_searched(path)


def _plan(curves: Sequence[Noise], count: int) -> Iterator[tuple[int, int | None]]:
    """Yield index and seed. The curves of a family alternate, and no star gets a seed twice."""
    families = defaultdict(list)
    for index, noise in enumerate(curves):
        families[noise.family].append(index)
        yield index, None
    for turn in range(count):
        for indices in families.values():
            yield indices[turn % len(indices)], turn


def search_curve(job: Job) -> CurveResult:
    """Search one light curve with all methods."""
    noise = load_noises(job.folder)[job.noise]
    curve = noise.build_curve(inverted=True) if job.seed is None else noise.scramble(job.seed)
    detections = {method: METHODS[method](curve) for method in job.methods}
    kind = "inverted" if job.seed is None else "scrambled"
    return CurveResult(noise.name, noise.family, kind, job.seed or 0, detections, {})


def get_sde(detection: Detection) -> float:
    """Return the SDE."""
    return detection.sde


def get_visible_sde(detection: Detection) -> float:
    """Return the SDE if the signal exceeds the default ``min_snr`` in pink noise, else 0."""
    return detection.sde if detection.pink_noise_snr >= _DEFAULTS.min_snr else 0.0


def compute_threshold(
    rows: Iterable[CurveResult], method: str, statistic: Callable[[Detection], float] = get_sde
) -> Threshold:
    """Return the threshold that the share ``RATE`` of ``rows`` exceeds."""
    values = np.array([statistic(row.detections[method]) for row in rows])
    resampled = np.random.default_rng(0).choice(values, (_RESAMPLED, len(values)))
    low, high = np.quantile(np.quantile(resampled, 1 - RATE, axis=1), [0.16, 0.84])
    return Threshold(float(np.quantile(values, 1 - RATE)), float(low), float(high), len(values))


def group_by_family(rows: Iterable[CurveResult]) -> Mapping[str, list[CurveResult]]:
    """Group by family, in the order of first appearance."""
    families: dict[str, list[CurveResult]] = {}
    for row in rows:
        families.setdefault(row.family, []).append(row)
    return families


def report(rows: Sequence[CurveResult]) -> None:
    """Print the thresholds, and the false positives with default options."""
    families = group_by_family(rows)
    methods = list(rows[0].detections)
    print(f"\nSDE that {RATE:.0%} of light curves without planets exceed (68 % interval)\n")
    lines = [[name, len(of), *(compute_threshold(of, method) for method in methods)] for name, of in families.items()]
    print(
        format_table(
            ["family", "curves", *methods],
            [*lines, ["all", len(rows), *(compute_threshold(rows, method) for method in methods)]],
        )
    )
    print(f"\nHeadrace with a pink-noise SNR of at least {_DEFAULTS.min_snr:g}; share above the default thresholds\n")
    kinds = {kind: [row for row in rows if row.kind == kind] for kind in ("inverted", "scrambled")}
    groups = {**families, **kinds, "all": list(rows)}
    lines = [[name, len(of), *_format_passing(of)] for name, of in groups.items()]
    print(format_table(["curves", "number", "SDE", "share"], lines))


def _format_passing(rows: Sequence[CurveResult]) -> Iterator[str]:
    share = np.mean([get_visible_sde(row.detections[OURS]) >= _DEFAULTS.min_sde for row in rows])
    yield str(compute_threshold(rows, OURS, get_visible_sde))
    yield f"{share:.1%}"
