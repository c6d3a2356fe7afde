"""Detects single dimmings and single points that imitate a periodic signal: only repeated dimmings are candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.transits.light_curve import Floats
from tasks.transits.searching.points import Points
from tasks.transits.searching.trapezoid import Signal

# Without its strongest transit, a signal of two equal transits keeps half of its gain. Less than this share remains
# if a single dip (a cosmic ray, a jump, one transit of a long period) dominates the peak.
_MIN_GAIN_WITHOUT_EVENT = 0.15
# Without its strongest point, a signal of four points keeps 0.57 of its gain even if that point lies one sigma low.
# Less than this share remains if every transit of the signal is one isolated point, and there are one or two.
_MIN_GAIN_WITHOUT_POINT = 0.5


@dataclass(frozen=True)
class SingleEvent:
    """A dip that does not repeat: its middle and duration in days. ``is_point``: it is a single point."""

    time_days: float
    duration_days: float
    is_point: bool = False


def find_single_event(points: Points, signal: Signal) -> SingleEvent | None:
    """Return the one transit or point that dominates the signal; None if several contribute."""
    shape = signal.compute_shape(points.time) / points.noise
    near = np.flatnonzero(shape > 0)
    if not len(near):
        return None
    power = shape[near] ** 2
    pull = shape[near] * (1.0 - points.flux[near]) / points.noise[near]
    cycle = np.round((points.time[near] - signal.transit_time_days) / signal.period_days).astype(np.int64)
    cycle -= cycle.min()
    pulls, powers = (np.bincount(cycle, values).astype(np.float64) for values in (pull, power))
    event = _find_dominant_part(pulls, powers, _MIN_GAIN_WITHOUT_EVENT)
    if event is not None:
        inside = cycle == event
        middle = float(np.average(points.time[near[inside]], weights=power[inside]))
        return SingleEvent(middle, signal.duration_days, is_point=np.count_nonzero(inside) == 1)
    point = _find_dominant_part(pull, power, _MIN_GAIN_WITHOUT_POINT)
    return None if point is None else SingleEvent(float(points.time[near[point]]), signal.duration_days, is_point=True)


def _find_dominant_part(pull: Floats, power: Floats, min_share: float) -> int | None:
    """Return the part without which less than ``min_share`` of the signal's gain remains; None if no part dominates.

    The gain is the square of the sum of ``pull`` over the sum of ``power``; parts without power do not count.
    """
    rest_pull = np.maximum(pull.sum() - pull, 0.0)
    rest_power = power.sum() - power
    rest = np.where(rest_power > 0, rest_pull**2 / np.where(rest_power > 0, rest_power, 1.0), 0.0)
    rest = np.where(power > 0, rest, np.inf)
    weakest = int(np.argmin(rest))
    return weakest if rest[weakest] < min_share * pull.sum() ** 2 / power.sum() else None
