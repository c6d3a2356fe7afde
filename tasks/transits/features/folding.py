"""A light curve seen at a candidate's period: which points lie in which transit, and sums over each transit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tasks.transits.candidate import Candidate
from tasks.transits.light_curve import Flags, Floats, Indices, PreparedLightCurve

# A transit counts where it has this share of the points that its cadence allows for: enough for a depth, and few enough
# to keep the transits at the edges of gaps.
ENOUGH = 1 / 3
_SECONDS_A_DAY = 86_400.0


@dataclass(frozen=True)
class Folded:
    """The points that a candidate was found in, in time order.

    time, flux      (n,) days, and fractions of the star's flux
    weight          (n,) 1/noise²
    cadence_days    (n,) median step of the point's segment
    offset_days     (n,) from the nearest mid-transit, -P/2 to P/2
    cycle           (n,) number of that transit, 0 for the one at ``transit_time_days``
    inside          (n,) within half a duration of mid-transit
    outside         (n,) more than a whole duration from mid-transit: what the star does when nothing is in front of it
    level           mean of the outside, weighted; NaN where there is none
    """

    time: Floats
    flux: Floats
    weight: Floats
    cadence_days: Floats
    segment: Indices
    offset_days: Floats
    cycle: Indices
    inside: Flags
    outside: Flags
    level: float

    @property
    def outside_weight(self) -> float:
        """Sum of 1/noise² over the outside."""
        return float(self.weight[self.outside].sum())


@dataclass(frozen=True)
class Events:
    """Sums over the in-transit points of each transit that has any.

    cycle     (k,) ascending
    weight    (k,) sum of 1/noise²
    dimming   (k,) sum of (level - flux)/noise²
    observed  (k,) whether it is expected and has enough points
    """

    cycle: Indices
    weight: Floats
    dimming: Floats
    observed: Flags

    def select(self, chosen: Flags) -> Events:
        """Those of ``chosen``, (k,)."""
        return Events(self.cycle[chosen], self.weight[chosen], self.dimming[chosen], self.observed[chosen])

    @property
    def depths(self) -> Floats:
        """(k,) fraction of each transit."""
        return self.dimming / self.weight


def fold(curve: PreparedLightCurve, candidate: Candidate) -> Folded:
    """The used points of ``curve`` at the candidate's period. Quick where all points are used."""
    used = candidate.used
    time, flux = curve.time[used], curve.flux[used]
    weight = curve.noise[used] ** -2.0
    turns = (time - candidate.transit_time_days) / candidate.period_days
    cycle = np.floor(turns + 0.5)
    offset = (turns - cycle) * candidate.period_days
    distance = np.abs(offset)
    outside = distance > candidate.duration_days
    level = _mean(flux[outside], weight[outside])
    inside = distance <= 0.5 * candidate.duration_days
    segment = curve.segment[used]
    cadence = _cadences(curve)[segment]
    return Folded(time, flux, weight, cadence, segment, offset, cycle.astype(np.int64), inside, outside, level)


def expected_cycles(curve: PreparedLightCurve, candidate: Candidate) -> range:
    """Numbers of the transits of which at least ``ENOUGH`` lies between the first point and the last."""
    reach = (0.5 - ENOUGH) * candidate.duration_days  # how far beyond the ends such a mid-transit may lie
    first = (curve.time[0] - reach - candidate.transit_time_days) / candidate.period_days
    last = (curve.time[-1] + reach - candidate.transit_time_days) / candidate.period_days
    return range(math.ceil(first), math.floor(last) + 1)


def events(folded: Folded, expected: range, duration_days: float) -> Events:
    """Sums over each transit."""
    inside = folded.inside
    cycle, weight = folded.cycle[inside], folded.weight[inside]
    starts = run_starts(cycle)
    if not len(starts):
        nothing = np.zeros(0)
        return Events(cycle, nothing, nothing, np.zeros(0, dtype=np.bool_))
    dimming = weight * (folded.level - folded.flux[inside])
    points = np.diff(starts, append=len(cycle))
    number = cycle[starts]
    enough = points >= ENOUGH * duration_days / folded.cadence_days[inside][starts]
    within = (number >= expected.start) & (number < expected.stop)
    return Events(number, np.add.reduceat(weight, starts), np.add.reduceat(dimming, starts), enough & within)


def run_starts(*keys: Indices) -> Indices:
    """Where in sorted points any of ``keys``, each (n,), changes: the first index of each run, for ``reduceat``."""
    if not len(keys[0]):
        return np.zeros(0, dtype=np.int64)
    changes = [key[1:] != key[:-1] for key in keys]
    return np.concatenate([[0], np.flatnonzero(np.logical_or.reduce(changes)) + 1])


def _mean(values: Floats, weight: Floats) -> float:
    return float((weight * values).sum() / weight.sum()) if len(values) else math.nan


def _cadences(curve: PreparedLightCurve) -> Floats:
    """(segments,) median step in days of each segment's points; what the file says for a segment of one point."""
    steps = np.array([segment.cadence_seconds for segment in curve.segments]) / _SECONDS_A_DAY
    for number in range(len(steps)):
        time = curve.time[curve.segment == number]
        if len(time) > 1:
            steps[number] = np.median(np.diff(time))
    return steps
