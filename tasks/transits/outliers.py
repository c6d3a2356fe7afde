"""Finds cadences that are low alone: cosmic rays, fill values and other bad data, never transits.

A dip is short if no transit fits between its neighbours: a single cadence, or several that together last less than any
known transit. At a cadence of half an hour, a real transit may be a single cadence as well. Therefore a dip is kept if
it may be one of at least three periodic ones: most of the others must be low, too, and more than chance explains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc

from tasks.transits.light_curve import Flags, Floats, Indices

MIN_DIP_SIGMA = 8.0  # weaker dips cannot hide a planet
# The shortest known transit, of a white dwarf (WD 1856 b, Vanderburg et al. 2020), takes 8 minutes.
MAX_DIP_DAYS = 7.0 / 1440.0
_LOW_SHARE = 0.3  # of the dip's depth, which a neighbour or another transit of the same body reaches
_MIN_PERIODIC = 3
_MIN_PERIODIC_SHARE = 0.75  # of the transits with data that must be low
_MAX_CHANCE = 0.1  # probability that low points at random times make such a sequence
_MAX_LOW_POINTS = 300  # with more low points, the star varies too much to tell
_MAX_STEPS = 3  # periods between two transits from which a period is tried
_WINDOW_CADENCES = 1.5  # around a predicted transit
_NEIGHBOURS = 2.5  # cadences: the farthest neighbour
_MIN_PERIOD_DAYS = 0.1


@dataclass(frozen=True)
class _Curve:
    """Points in time order: days, depth in sigma, and the median step between points."""

    time: Floats
    depth: Floats
    cadence_days: float


def find_short_dips(time: Floats, flux: Floats, noise: Floats, usable: Flags, segment: Indices) -> Flags:
    """Return flags (n,) of the points in dips that are too short for a transit, and not periodic.

    ``flux`` (n,) is detrended, about 1, and ``noise`` its sigma. Points that are not ``usable`` do not count.
    """
    dips = np.zeros(len(time), dtype=np.bool_)
    places = np.flatnonzero(usable)
    depth = (1.0 - flux[places]) / noise[places]
    if len(places) < _MIN_PERIODIC or not (depth >= MIN_DIP_SIGMA).any():
        return dips
    for number in np.unique(segment[places]):
        mine = segment[places] == number
        if np.count_nonzero(mine) < _MIN_PERIODIC:
            continue
        cadence = float(np.median(np.diff(time[places[mine]])))
        runs = _find_short_runs(_Curve(time[places[mine]], depth[mine], cadence))
        whole = _Curve(time[places], depth, cadence)
        for start, end in runs:
            own = places[mine][start:end]
            if not _is_periodic(whole, float(time[own].mean()), float(depth[mine][start:end].max())):
                dips[own] = True
    return dips


def _find_short_runs(curve: _Curve) -> list[tuple[int, int]]:
    """Return start and end of each run of low points between two neighbours that are not low."""
    longest = max(1, math.floor(MAX_DIP_DAYS / curve.cadence_days + 1e-6) - 1)
    runs: list[tuple[int, int]] = []
    for peak in np.flatnonzero(curve.depth >= MIN_DIP_SIGMA).tolist():
        if runs and peak < runs[-1][1]:
            continue
        limit = _LOW_SHARE * float(curve.depth[peak])
        start, end = peak, peak + 1
        while start > 0 and curve.depth[start - 1] > limit and end - start <= longest:
            start -= 1
        while end < len(curve.depth) and curve.depth[end] > limit and end - start <= longest:
            end += 1
        if end - start <= longest and _has_neighbours(curve, start, end):
            runs.append((start, end))
    return runs


def _has_neighbours(curve: _Curve, start: int, end: int) -> bool:
    """Return True if there are points right before and right after the run, so that it is not at a gap."""
    if start == 0 or end >= len(curve.time):
        return False
    reach = _NEIGHBOURS * curve.cadence_days
    before, after = curve.time[start] - curve.time[start - 1], curve.time[end] - curve.time[end - 1]
    return bool(before <= reach and after <= reach)


def _is_periodic(curve: _Curve, middle: float, depth: float) -> bool:
    """Return True if the dip at ``middle`` may be one of at least three periodic ones."""
    low = np.flatnonzero(curve.depth > _LOW_SHARE * depth)
    if len(low) > _MAX_LOW_POINTS:
        return True
    others = curve.time[low]
    others = others[np.abs(others - middle) > _MIN_PERIOD_DAYS]
    points = _LowPoints(curve, low)
    trials = _MAX_STEPS * len(others)
    return any(
        _is_sequence(points, middle, (float(other) - middle) / steps, trials)
        for other in others
        for steps in range(1, _MAX_STEPS + 1)
        if abs(float(other) - middle) / steps >= _MIN_PERIOD_DAYS
    )


class _LowPoints:
    """Looks up the low point nearest to a time."""

    def __init__(self, curve: _Curve, low: Indices) -> None:
        self.time = curve.time
        self.low = curve.time[low]
        self.reach = _WINDOW_CADENCES * curve.cadence_days
        covered_days = len(curve.time) * curve.cadence_days
        self.chance = min(1.0, 2.0 * self.reach * len(low) / covered_days)  # of a low point in a window by chance

    def has_data(self, time: float) -> bool:
        """Return True if there is any point within half of the window."""
        return _find_distance(self.time, time)[0] <= 0.5 * self.reach

    def find(self, time: float) -> float | None:
        """Return the time of the nearest low point in the window; None if there is none."""
        distance, nearest = _find_distance(self.low, time)
        return nearest if distance <= self.reach else None


def _find_distance(times: Floats, time: float) -> tuple[float, float]:
    place = int(np.searchsorted(times, time))
    near = [float(value) for value in times[max(0, place - 1) : place + 1]]
    nearest = min(near, key=lambda value: abs(value - time), default=math.inf)
    return abs(nearest - time), nearest


def _is_sequence(points: _LowPoints, middle: float, period_days: float, trials: int) -> bool:
    """Return True if most transits with data are low, in both directions from ``middle``; the period is adjusted.

    ``trials``: number of periods tried, each of which may succeed by chance.
    """
    expected, low = 1, 1
    for direction in (1.0, -1.0):
        step, last, cycle = abs(period_days) * direction, middle, 0
        while True:
            cycle += 1
            time = last + step
            if not points.time[0] - points.reach <= time <= points.time[-1] + points.reach:
                break
            seen = points.find(time)
            expected += seen is not None or points.has_data(time)
            low += seen is not None
            if expected - low > max(1, low // _MIN_PERIODIC):
                return False
            last = time if seen is None else seen
            step = (last - middle) / cycle if seen is not None else step
    if low < _MIN_PERIODIC or low < _MIN_PERIODIC_SHARE * expected:
        return False
    given = 2  # the dip itself and the one that gave the period
    return trials * float(bdtrc(low - given - 1, expected - given, points.chance)) < _MAX_CHANCE
