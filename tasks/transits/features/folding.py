"""A light curve seen at a candidate's period: which points lie in which transit, and sums over each transit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.transits.candidate import Candidate
from tasks.transits.light_curve import Flags, Floats, Indices, PreparedLightCurve

# A transit counts where it has this share of the points that its cadence allows for: enough for a depth, and few enough
# to keep the transits at the edges of gaps.
ENOUGH = 1 / 3
_SECONDS_A_DAY = 86_400.0
_SHARPEST = 1e-6  # ingress fraction of a box: a slope must have some length
_MULTIPLES = (1, 2, 3)  # of a period, at which the same signal may be found again


@dataclass(frozen=True)
class Folded:
    """The points that a candidate was found in, in time order.

    time, flux      (n,) days, and fractions of the star's flux
    weight          (n,) 1/noise²
    cadence_days    (n,) median step of the point's segment
    cycle           (n,) number of the nearest transit, 0 for the one at ``transit_time_days``
    shape           (n,) the candidate's trapezoid: 1 on its floor, 0 out of transit
    inside          (n,) between first and fourth contact
    lonely          (n,) in no other candidate's transit
    outside         (n,) lonely, and more than a duration from mid-transit: the star with nothing in front of it
    level           mean of the outside, weighted; NaN where there is none
    """

    time: Floats
    flux: Floats
    weight: Floats
    cadence_days: Floats
    segment: Indices
    cycle: Indices
    shape: Floats
    inside: Flags
    lonely: Flags
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
    weight    (k,) sum of shape²/noise²: one over the variance of its depth in white noise
    length    (k,) sum of shape/noise²: over ``weight``, what the depth makes of an error of the level
    dimming   (k,) sum of shape (level - flux)/noise²
    observed  (k,) whether it is expected and has enough points
    """

    cycle: Indices
    weight: Floats
    length: Floats
    dimming: Floats
    observed: Flags

    def select(self, chosen: Flags) -> Events:
        """Those of ``chosen``, (k,)."""
        weight, length, dimming = (part[chosen] for part in (self.weight, self.length, self.dimming))
        return Events(self.cycle[chosen], weight, length, dimming, self.observed[chosen])

    @property
    def depths(self) -> Floats:
        """(k,) of each transit, as fractions: least squares with the trapezoid's shape."""
        return self.dimming / self.weight


def fold(curve: PreparedLightCurve, candidate: Candidate, others: Sequence[Candidate]) -> Folded:
    """The used points of ``curve`` at the candidate's period, with the transits of ``others`` marked."""
    used = candidate.used
    time, flux = curve.time[used], curve.flux[used]
    weight = curve.noise[used] ** -2.0
    turns = (time - candidate.transit_time_days) / candidate.period_days
    cycle = np.floor(turns + 0.5)
    distance = np.abs(turns - cycle) * candidate.period_days
    shape = _trapezoid(distance, candidate)
    lonely = _lonely(time, others)
    outside = lonely & (distance > candidate.duration_days)
    level = _mean(flux[outside], weight[outside])
    segment = curve.segment[used]
    cadence = _cadences(curve)[segment]
    number = cycle.astype(np.int64)
    return Folded(time, flux, weight, cadence, segment, number, shape, shape > 0.0, lonely, outside, level)


def distinct(curve: PreparedLightCurve, candidate: Candidate, others: Sequence[Candidate]) -> list[Candidate]:
    """Those of ``others`` that are another body: not this candidate, and not its period or a small multiple of it.

    What shares the period may be this candidate's own secondary eclipse, which must not be hidden from its features.
    """
    return [
        other
        for other in others
        if other.number != candidate.number
        and not any(
            keeps_pace(curve, candidate, other, multiple) or keeps_pace(curve, other, candidate, multiple)
            for multiple in _MULTIPLES
        )
    ]


def keeps_pace(curve: PreparedLightCurve, one: Candidate, other: Candidate, multiple: int = 1) -> bool:
    """Whether the period of ``other`` is ``multiple`` of one's, within a duration over the whole light curve."""
    drift = abs(multiple * one.period_days - other.period_days)
    turns = curve.baseline_days / max(one.period_days, other.period_days)
    return drift * turns < max(one.duration_days, other.duration_days)


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
        return Events(cycle, nothing, nothing, nothing, np.zeros(0, dtype=np.bool_))
    length = weight * folded.shape[inside]
    parts = (length * folded.shape[inside], length, length * (folded.level - folded.flux[inside]))
    points = np.diff(starts, append=len(cycle))
    number = cycle[starts]
    enough = points >= ENOUGH * duration_days / folded.cadence_days[inside][starts]
    within = (number >= expected.start) & (number < expected.stop)
    weights, lengths, dimmings = (np.add.reduceat(part, starts) for part in parts)
    return Events(number, weights, lengths, dimmings, enough & within)


def run_starts(*keys: Indices) -> Indices:
    """Where in sorted points any of ``keys``, each (n,), changes: the first index of each run, for ``reduceat``."""
    if not len(keys[0]):
        return np.zeros(0, dtype=np.int64)
    changes = [key[1:] != key[:-1] for key in keys]
    return np.concatenate([[0], np.flatnonzero(np.logical_or.reduce(changes)) + 1])


def _trapezoid(distance_days: Floats, candidate: Candidate) -> Floats:
    """(n,) 1 on the floor, 0 from first contact out."""
    ingress = min(max(candidate.ingress_fraction, _SHARPEST), 0.5) * candidate.duration_days
    return np.clip((0.5 * candidate.duration_days - distance_days) / ingress, 0.0, 1.0)


def _lonely(time: Floats, others: Sequence[Candidate]) -> Flags:
    lonely = np.ones(len(time), dtype=np.bool_)
    for other in others:
        turns = (time - other.transit_time_days) / other.period_days
        lonely &= np.abs(turns - np.round(turns)) * other.period_days > 0.5 * other.duration_days
    return lonely


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
