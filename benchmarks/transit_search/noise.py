"""Create light curves without planets that have the noise of real ones.

A real light curve is split into trend and residual. Known transits are replaced by residuals from other times. The
residual is inverted, or its days are shuffled, or both. Then the trend is restored, so every method has to detrend.
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
_CUT_DURATIONS = 1.5  # around mid-transit; known transits are replaced over this time
_SHORT_DAYS = 1.0  # at shorter periods, the mean transit is subtracted instead
_PROFILE_BINS = 8
_MIN_DAYS = 60.0  # per quarter; Kepler's first and last quarters are shorter


@dataclass(frozen=True)
class Noise:
    """A real light curve, split into trend and residual.

    curve     remaining points of the real light curve, for times, segments and star
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
        """Return one sigma of a point, as a robust estimate."""
        return 1.4826 * float(np.median(np.abs(self.residual)))

    @property
    def baseline_days(self) -> float:
        """Return the time from the first point to the last."""
        return float(np.ptp(self.curve.time))

    @property
    def cadence_days(self) -> float:
        """Return the median step between points."""
        return float(np.median(np.diff(self.curve.time)))

    def build_curve(self, inverted: bool = False, signal: Floats | float = 1.0) -> LightCurve:
        """Return the light curve times ``signal`` (n,); ``inverted`` changes the sign of the residual."""
        return self._combine(-self.residual if inverted else self.residual, signal)

    def scramble(self, seed: int, signal: Floats | float = 1.0) -> LightCurve:
        """Return the light curve with shuffled days; odd seeds also invert it."""
        blocks = max(2, round(self.baseline_days / BLOCK_DAYS))
        parts = np.array_split(np.arange(len(self.residual)), blocks)
        order = np.concatenate([parts[index] for index in np.random.default_rng(seed).permutation(blocks)])
        residual = self.residual[order]
        return self._combine(-residual if seed % 2 else residual, signal)

    def _combine(self, residual: Floats, signal: Floats | float) -> LightCurve:
        return replace(self.curve, flux=self.trend * (1.0 + residual) * signal)


def iterate_noises(stars: Sequence[KnownStar]) -> Iterator[Noise]:
    """Yield the noise of each star except the variable one; Kepler data as single quarters."""
    for star in stars:
        if star.family == FOUR_YEARS:
            for file in star.files:
                curve = star.read_curve((file,))
                if np.ptp(curve.time) >= _MIN_DAYS:
                    name = f"{star.name} {curve.segments[0].name}"
                    yield split_curve(name, QUARTER, curve, star.convert_planets(curve.time_system))
        elif star.name != VARIABLE:
            curve = star.read_curve()
            yield split_curve(star.name, star.family, curve, star.convert_planets(curve.time_system))


def split_curve(name: str, family: str, curve: LightCurve, planets: Sequence[Planet]) -> Noise:
    """Split a real light curve into trend and residual; the trend ignores known transits."""
    in_transit = _find_transits(curve.time, planets)
    prepared = prepare(curve, TransitParams(), in_transit if in_transit.any() else None)
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
    residual = _fill_gaps(residual, _find_transits(prepared.time, far))
    return Noise(name, family, kept, prepared.trend, residual)


def _find_transits(time: Floats, planets: Sequence[Planet]) -> Flags:
    inside = np.zeros(len(time), dtype=np.bool_)
    for planet in planets:
        inside |= planet.is_near(time, _CUT_DURATIONS)
    return inside


def _remove_mean_transits(time: Floats, residual: Floats, planets: Sequence[Planet]) -> Floats:
    """Subtract the mean transit of planets with short periods: their transits cover too much to be replaced."""
    levelled = residual.copy()
    for planet in planets:
        inside = planet.is_near(time, _CUT_DURATIONS)
        offset = np.round(
            planet.compute_offset_days(time[inside]) / (_CUT_DURATIONS * planet.duration_days) * _PROFILE_BINS
        )
        for part in np.unique(offset):
            mine = np.flatnonzero(inside)[offset == part]
            levelled[mine] -= np.median(levelled[mine])
    return levelled


def _fill_gaps(residual: Floats, gaps: Flags) -> Floats:
    """Replace each run of points in ``gaps`` by a random run of other points of that length; use no point twice."""
    rng = np.random.default_rng(0)
    filled, used = residual.copy(), gaps.copy()
    edges = np.flatnonzero(np.diff(gaps.astype(np.int8), prepend=0, append=0))
    for start, end in edges.reshape(-1, 2):
        donors = np.flatnonzero(_count_points_until(used) >= end - start)
        first = int(rng.choice(donors))
        filled[start:end] = residual[first : first + end - start]
        used[first : first + end - start] = True
    return filled


def _count_points_until(used: Flags) -> np.ndarray:
    """Return the number of points (n,) until the next used point."""
    places = np.append(np.flatnonzero(used), len(used))
    here = np.arange(len(used))
    return np.asarray(places[np.searchsorted(places, here)] - here)
