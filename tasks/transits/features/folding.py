"""Folds a light curve at a candidate's period, and sums the points of each transit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.transits.candidate import Candidate
from tasks.transits.light_curve import Flags, Floats, Indices, PreparedLightCurve

# A transit is observed if it has this share of the points that its cadence allows for: enough for a depth, but few
# enough to keep the transits at the edges of gaps.
MIN_POINT_SHARE = 1 / 3
_SECONDS_PER_DAY = 86_400.0
_MIN_INGRESS = 1e-6  # ingress fraction of a box; a slope must have a length
_MULTIPLES = (1, 2, 3)  # of a period, at which the search may find the same signal again


@dataclass(frozen=True)
class FoldedCurve:
    """The points in which a candidate was found, in time order.

    time, flux      (n,) days, and fractions of the star's flux
    weight          (n,) 1/noise²
    cadence_days    (n,) median step of the point's segment
    cycle           (n,) number of the nearest transit, 0 for the one at ``transit_time_days``
    shape           (n,) the candidate's trapezoid: 1 on its floor, 0 out of transit
    inside          (n,) between first and fourth contact
    isolated        (n,) in no other candidate's transit
    outside         (n,) isolated, and more than a duration from mid-transit: the unobscured star
    level           weighted mean of the outside; NaN if there are no points outside
    """

    time: Floats
    flux: Floats
    weight: Floats
    cadence_days: Floats
    segment: Indices
    cycle: Indices
    shape: Floats
    inside: Flags
    isolated: Flags
    outside: Flags
    level: float

    @property
    def outside_weight(self) -> float:
        """Return the sum of 1/noise² over the outside."""
        return float(self.weight[self.outside].sum())


@dataclass(frozen=True)
class Events:
    """Sums over the in-transit points of each transit with points.

    cycle     (k,) ascending
    weight    (k,) sum of shape²/noise²: one over the variance of its depth in white noise
    length    (k,) sum of shape/noise²; over ``weight``, the error of the depth per error of the level
    dimming   (k,) sum of shape (level - flux)/noise²
    observed  (k,) True if the transit is expected and has enough points
    """

    cycle: Indices
    weight: Floats
    length: Floats
    dimming: Floats
    observed: Flags

    def select(self, chosen: Flags) -> Events:
        """Return the transits for which ``chosen`` (k,) is True."""
        weight, length, dimming = (part[chosen] for part in (self.weight, self.length, self.dimming))
        return Events(self.cycle[chosen], weight, length, dimming, self.observed[chosen])

    @property
    def depths(self) -> Floats:
        """Return the depth (k,) of each transit as a fraction: least squares with the trapezoid's shape."""
        return self.dimming / self.weight


def fold(curve: PreparedLightCurve, candidate: Candidate, others: Sequence[Candidate]) -> FoldedCurve:
    """Fold the used points of ``curve`` at the candidate's period, and mark the transits of ``others``."""
    used = candidate.used
    time, flux = curve.time[used], curve.flux[used]
    weight = curve.noise[used] ** -2.0
    turns = (time - candidate.transit_time_days) / candidate.period_days
    cycle = np.floor(turns + 0.5)
    distance = np.abs(turns - cycle) * candidate.period_days
    shape = _compute_trapezoid(distance, candidate)
    isolated = _find_isolated(time, others)
    outside = isolated & (distance > candidate.duration_days)
    level = _compute_mean(flux[outside], weight[outside])
    segment = curve.segment[used]
    cadence = _measure_cadences(curve)[segment]
    number = cycle.astype(np.int64)
    return FoldedCurve(time, flux, weight, cadence, segment, number, shape, shape > 0.0, isolated, outside, level)


def find_other_bodies(curve: PreparedLightCurve, candidate: Candidate, others: Sequence[Candidate]) -> list[Candidate]:
    """Return those of ``others`` that are another body: neither this candidate nor a small multiple of its period.

    A signal with the same period may be the secondary eclipse of this candidate, so its features must include it.
    """
    return [
        other
        for other in others
        if other.number != candidate.number
        and not any(
            has_matching_period(curve, candidate, other, multiple)
            or has_matching_period(curve, other, candidate, multiple)
            for multiple in _MULTIPLES
        )
    ]


def has_matching_period(curve: PreparedLightCurve, candidate: Candidate, other: Candidate, multiple: int = 1) -> bool:
    """Return True if the period of ``other`` is ``multiple`` times the candidate's, over the whole light curve."""
    drift = abs(multiple * candidate.period_days - other.period_days)
    turns = curve.baseline_days / max(candidate.period_days, other.period_days)
    return drift * turns < max(candidate.duration_days, other.duration_days)


def compute_expected_cycles(curve: PreparedLightCurve, candidate: Candidate) -> range:
    """Return the numbers of transits with at least ``MIN_POINT_SHARE`` between the first and the last point."""
    reach = (0.5 - MIN_POINT_SHARE) * candidate.duration_days  # maximum distance of such a mid-transit beyond the ends
    first = (curve.time[0] - reach - candidate.transit_time_days) / candidate.period_days
    last = (curve.time[-1] + reach - candidate.transit_time_days) / candidate.period_days
    return range(math.ceil(first), math.floor(last) + 1)


def sum_events(folded: FoldedCurve, expected: range, duration_days: float) -> Events:
    """Sum the points of each transit."""
    inside = folded.inside
    cycle, weight = folded.cycle[inside], folded.weight[inside]
    starts = find_run_starts(cycle)
    if not len(starts):
        empty = np.zeros(0)
        return Events(cycle, empty, empty, empty, np.zeros(0, dtype=np.bool_))
    length = weight * folded.shape[inside]
    parts = (length * folded.shape[inside], length, length * (folded.level - folded.flux[inside]))
    points = np.diff(starts, append=len(cycle))
    number = cycle[starts]
    enough = points >= MIN_POINT_SHARE * duration_days / folded.cadence_days[inside][starts]
    within = (number >= expected.start) & (number < expected.stop)
    weights, lengths, dimmings = (np.add.reduceat(part, starts) for part in parts)
    return Events(number, weights, lengths, dimmings, enough & within)


def find_run_starts(*keys: Indices) -> Indices:
    """Return the first index of each run of equal ``keys`` (each (n,), sorted), for ``reduceat``."""
    if not len(keys[0]):
        return np.zeros(0, dtype=np.int64)
    changes = [key[1:] != key[:-1] for key in keys]
    return np.concatenate([[0], np.flatnonzero(np.logical_or.reduce(changes)) + 1])


def _compute_trapezoid(distance_days: Floats, candidate: Candidate) -> Floats:
    """Return the trapezoid (n,): 1 on the floor, 0 outside first and fourth contact."""
    ingress = min(max(candidate.ingress_fraction, _MIN_INGRESS), 0.5) * candidate.duration_days
    return np.clip((0.5 * candidate.duration_days - distance_days) / ingress, 0.0, 1.0)


def _find_isolated(time: Floats, others: Sequence[Candidate]) -> Flags:
    isolated = np.ones(len(time), dtype=np.bool_)
    for other in others:
        turns = (time - other.transit_time_days) / other.period_days
        isolated &= np.abs(turns - np.round(turns)) * other.period_days > 0.5 * other.duration_days
    return isolated


def _compute_mean(values: Floats, weight: Floats) -> float:
    return float((weight * values).sum() / weight.sum()) if len(values) else math.nan


def _measure_cadences(curve: PreparedLightCurve) -> Floats:
    """Return the median step of each segment in days; for a segment of one point, the cadence of its file."""
    steps = np.array([segment.cadence_seconds for segment in curve.segments]) / _SECONDS_PER_DAY
    for number in range(len(steps)):
        time = curve.time[curve.segment == number]
        if len(time) > 1:
            steps[number] = np.median(np.diff(time))
    return steps
