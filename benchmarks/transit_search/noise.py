"""Light curves without planets that are as noisy as real ones.

A real light curve is taken apart into trend and residual, with known transits cut out and filled with residuals from
elsewhere. The residual is turned upside down, or its days are put into another order, or both, and laid on the trend
again: so that every way of searching has to detrend for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.transit_search.stars import FOUR_YEARS, QUARTER, VARIABLE, KnownStar, Planet
from tasks.transits.light_curve import Flags, Floats, LightCurve
from tasks.transits.params import TransitParams
from tasks.transits.preparation import prepare

BLOCK_DAYS = 1.0
_CUT_DURATIONS = 1.5  # of a known planet's transits are filled
_SHORT_DAYS = 1.0  # of a period below which the mean transit is taken away instead
_PROFILE_BINS = 8
_LEAST_DAYS = 60.0  # of a quarter; the first and the last of Kepler's are shorter


@dataclass(frozen=True)
class Noise:
    """A real light curve taken apart.

    curve     the points that are left of the real one, for times, segments and star
    trend     (n,)
    residual  (n,) flux over trend minus 1, without known transits
    """

    name: str
    family: str
    curve: LightCurve
    trend: Floats
    residual: Floats

    @property
    def scatter(self) -> float:
        """One sigma of a point, robust."""
        return 1.4826 * float(np.median(np.abs(self.residual)))

    @property
    def baseline_days(self) -> float:
        """From the first point to the last."""
        return float(np.ptp(self.curve.time))

    @property
    def cadence_days(self) -> float:
        """Median step between points."""
        return float(np.median(np.diff(self.curve.time)))

    def as_it_is(self, inverted: bool = False, signal: Floats | float = 1.0) -> LightCurve:
        """In its own order; ``inverted``: what was low is high. ``signal`` (n,) is multiplied in."""
        return self._with(-self.residual if inverted else self.residual, signal)

    def scrambled(self, seed: int, signal: Floats | float = 1.0) -> LightCurve:
        """Its days in another order, for odd seeds upside down too."""
        blocks = max(2, round(self.baseline_days / BLOCK_DAYS))
        parts = np.array_split(np.arange(len(self.residual)), blocks)
        order = np.concatenate([parts[index] for index in np.random.default_rng(seed).permutation(blocks)])
        residual = self.residual[order]
        return self._with(-residual if seed % 2 else residual, signal)

    def _with(self, residual: Floats, signal: Floats | float) -> LightCurve:
        return replace(self.curve, flux=self.trend * (1.0 + residual) * signal)


def noises(stars: Sequence[KnownStar]) -> Iterator[Noise]:
    """Return the noise of each star except the variable one; Kepler data as single quarters."""
    for star in stars:
        if star.family == FOUR_YEARS:
            for file in star.files:
                curve = star.light_curve((file,))
                if np.ptp(curve.time) >= _LEAST_DAYS:
                    name = f"{star.name} {curve.segments[0].name}"
                    yield taken_apart(name, QUARTER, curve, star.planets_in(curve.time_system))
        elif star.name != VARIABLE:
            curve = star.light_curve()
            yield taken_apart(star.name, star.family, curve, star.planets_in(curve.time_system))


def taken_apart(name: str, family: str, curve: LightCurve, planets: Sequence[Planet]) -> Noise:
    """Split a real light curve into trend and residual; the trend ignores known transits."""
    inside = _inside(curve.time, planets)
    prepared = prepare(curve, TransitParams(), inside if inside.any() else None)
    kept = LightCurve(
        prepared.time,
        prepared.observed,
        prepared.noise * prepared.trend,
        prepared.segment,
        prepared.segments,
        prepared.star,
    )
    close = [planet for planet in planets if planet.period_days < _SHORT_DAYS]
    residual = _remove_mean_transits(prepared.time, prepared.flux - 1.0, close)
    far = [planet for planet in planets if planet not in close]
    residual = _fill_gaps(residual, _inside(prepared.time, far))
    return Noise(name, family, kept, prepared.trend, residual)


def _inside(time: Floats, planets: Sequence[Planet]) -> Flags:
    inside = np.zeros(len(time), dtype=np.bool_)
    for planet in planets:
        inside |= planet.near(time, _CUT_DURATIONS)
    return inside


def _remove_mean_transits(time: Floats, residual: Floats, planets: Sequence[Planet]) -> Floats:
    """Without the mean transit of planets so close in that cutting would leave little; their mean is known well."""
    levelled = residual.copy()
    for planet in planets:
        inside = planet.near(time, _CUT_DURATIONS)
        offset = np.round(planet.offset_days(time[inside]) / (_CUT_DURATIONS * planet.duration_days) * _PROFILE_BINS)
        for part in np.unique(offset):
            mine = np.flatnonzero(inside)[offset == part]
            levelled[mine] -= np.median(levelled[mine])
    return levelled


def _fill_gaps(residual: Floats, gone: Flags) -> Floats:
    """Each run of points that are ``gone`` replaced by as long a run of others, by chance; none is taken twice."""
    rng = np.random.default_rng(0)
    filled, taken = residual.copy(), gone.copy()
    edges = np.flatnonzero(np.diff(gone.astype(np.int8), prepend=0, append=0))
    for start, end in edges.reshape(-1, 2):
        donors = np.flatnonzero(_count_points_until(taken) >= end - start)
        first = int(rng.choice(donors))
        filled[start:end] = residual[first : first + end - start]
        taken[first : first + end - start] = True
    return filled


def _count_points_until(taken: Flags) -> np.ndarray:
    """Return the number of points (n,) until the next taken point."""
    places = np.append(np.flatnonzero(taken), len(taken))
    here = np.arange(len(taken))
    return np.asarray(places[np.searchsorted(places, here)] - here)
