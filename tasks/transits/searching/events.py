"""Single dimmings and single points: what does not repeat is no periodic signal, however deep it is."""

from __future__ import annotations

import numpy as np

from tasks.transits.light_curve import Floats
from tasks.transits.searching.points import Points
from tasks.transits.searching.trapezoid import Signal

# Without its strongest transit, a signal of two equal transits keeps half of its gain. Less than this share is left
# where one dip (a cosmic ray, a jump, one transit of a long period) makes nearly all of the peak.
_LEAST_WITHOUT_EVENT = 0.15
# Without its strongest point, a signal of four points keeps 0.57 even where that point lies a sigma too low. Less than
# this share is left where one or two isolated points make a planet of as many transits.
_LEAST_WITHOUT_POINT = 0.5


def single_event(points: Points, signal: Signal) -> float | None:
    """The mid-time in days of the one transit, or point, that makes most of the signal; None where several do."""
    shape = signal.shape(points.time) / points.noise
    near = np.flatnonzero(shape > 0)
    if not len(near):
        return None
    power = shape[near] ** 2
    pull = shape[near] * (1.0 - points.flux[near]) / points.noise[near]
    cycle = np.round((points.time[near] - signal.transit_time_days) / signal.period_days).astype(np.int64)
    cycle -= cycle.min()
    pulls, powers = (np.bincount(cycle, values).astype(np.float64) for values in (pull, power))
    event = _without(pulls, powers, _LEAST_WITHOUT_EVENT)
    if event is not None:
        inside = cycle == event
        return float(np.average(points.time[near[inside]], weights=power[inside]))
    point = _without(pull, power, _LEAST_WITHOUT_POINT)
    return None if point is None else float(points.time[near[point]])


def _without(pull: Floats, power: Floats, least: float) -> int | None:
    """The part of a signal without which less than a share ``least`` of its gain is left; None where there is none.

    The gain is the square of the sum of ``pull`` over the sum of ``power``; parts without power do not count.
    """
    rest_pull = np.maximum(pull.sum() - pull, 0.0)
    rest_power = power.sum() - power
    rest = np.where(rest_power > 0, rest_pull**2 / np.where(rest_power > 0, rest_power, 1.0), 0.0)
    rest = np.where(power > 0, rest, np.inf)
    weakest = int(np.argmin(rest))
    return weakest if rest[weakest] < least * pull.sum() ** 2 / power.sum() else None
