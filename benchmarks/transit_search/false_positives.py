"""How strong the strongest signal of a light curve without planets is, for each way of searching."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.transit_search.noise import Noise, noises
from benchmarks.transit_search.pool import spread
from benchmarks.transit_search.rows import Searched, load_searched, save, table
from benchmarks.transit_search.stars import known_stars
from benchmarks.transit_search.ways import OURS, WAYS, Detection
from tasks.transits.params import TransitParams

RATE = 0.01
_FILE = "false-positives.json"
_RESAMPLED = 1000
_DEFAULTS = TransitParams()


@dataclass(frozen=True)
class Job:
    """One light curve to search; ``seed`` None takes the real order of days, upside down."""

    folder: Path
    noise: int
    seed: int | None
    ways: tuple[str, ...]


@dataclass(frozen=True)
class Threshold:
    """What ``RATE`` of the light curves without planets exceed, with the middle 68 % of resampled ones."""

    value: float
    low: float
    high: float
    curves: int

    def __str__(self) -> str:
        return f"{self.value:.1f} ({self.low:.1f} to {self.high:.1f})"


@cache
def all_noise(folder: Path) -> tuple[Noise, ...]:
    """Taken apart once a process."""
    return tuple(noises(known_stars(folder)))


def run(folder: Path, output: Path, curves: int, processes: int, ways: Sequence[str] = tuple(WAYS)) -> list[Searched]:
    """Search every real curve upside down and ``curves`` scrambled ones a family."""
    jobs = [Job(folder, noise, seed, tuple(ways)) for noise, seed in _plan(all_noise(folder), curves)]
    rows = spread(searched, jobs, processes, "without planets")
    save(output / _FILE, rows)
    return rows


def load(output: Path) -> list[Searched]:
    """What an earlier run has written."""
    path = output / _FILE
    if not path.is_file():
        raise SystemExit(f"{path} is not there: run the part false-positives first, or all")
    return load_searched(path)


def _plan(curves: Sequence[Noise], count: int) -> Iterator[tuple[int, int | None]]:
    """Index and seed. A family's curves take turns; no two of one star have the same seed."""
    families = defaultdict(list)
    for index, noise in enumerate(curves):
        families[noise.family].append(index)
        yield index, None
    for turn in range(count):
        for indices in families.values():
            yield indices[turn % len(indices)], turn


def searched(job: Job) -> Searched:
    """Search one light curve with all methods."""
    noise = all_noise(job.folder)[job.noise]
    curve = noise.as_it_is(inverted=True) if job.seed is None else noise.scrambled(job.seed)
    found = {way: WAYS[way](curve) for way in job.ways}
    kind = "inverted" if job.seed is None else "scrambled"
    return Searched(noise.name, noise.family, kind, job.seed or 0, found, {})


def sde(found: Detection) -> float:
    """Return the SDE as used for TLS and BLS."""
    return found.sde


def sde_of_visible(found: Detection) -> float:
    """Return the SDE if the signal exceeds the default ``min_snr`` in pink noise, else 0."""
    return found.sde if found.pink_noise_snr >= _DEFAULTS.min_snr else 0.0


def threshold(rows: Iterable[Searched], way: str, statistic: Callable[[Detection], float] = sde) -> Threshold:
    """Return the threshold that the share ``RATE`` of ``rows`` exceeds."""
    values = np.array([statistic(row.found[way]) for row in rows])
    resampled = np.random.default_rng(0).choice(values, (_RESAMPLED, len(values)))
    low, high = np.quantile(np.quantile(resampled, 1 - RATE, axis=1), [0.16, 0.84])
    return Threshold(float(np.quantile(values, 1 - RATE)), float(low), float(high), len(values))


def by_family(rows: Iterable[Searched]) -> Mapping[str, list[Searched]]:
    """Group by family, in the order of first appearance."""
    families: dict[str, list[Searched]] = {}
    for row in rows:
        families.setdefault(row.family, []).append(row)
    return families


def report(rows: Sequence[Searched]) -> None:
    """Print the thresholds, and what the defaults let through."""
    families = by_family(rows)
    ways = list(rows[0].found)
    print(f"\nSDE that {RATE:.0%} of light curves without planets exceed (68 % interval)\n")
    lines = [[name, len(of), *(threshold(of, way) for way in ways)] for name, of in families.items()]
    print(table(["family", "curves", *ways], [*lines, ["all", len(rows), *(threshold(rows, way) for way in ways)]]))
    print(
        f"\nHeadrace's, with a pink-noise SNR of at least {_DEFAULTS.min_snr:g}; share that the defaults let through\n"
    )
    kinds = {kind: [row for row in rows if row.kind == kind] for kind in ("inverted", "scrambled")}
    groups = {**families, **kinds, "all": list(rows)}
    lines = [[name, len(of), *_passing(of)] for name, of in groups.items()]
    print(table(["curves", "number", "SDE", "share"], lines))


def _passing(rows: Sequence[Searched]) -> Iterator[str]:
    share = np.mean([sde_of_visible(row.found[OURS]) >= _DEFAULTS.min_sde for row in rows])
    yield str(threshold(rows, OURS, sde_of_visible))
    yield f"{share:.1%}"
