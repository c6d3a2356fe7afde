"""Single dimmings: one dip that makes all of a peak is no periodic signal."""

from __future__ import annotations

import numpy as np

from tasks.transits.searching.points import Points
from tasks.transits.searching.trapezoid import Signal

# Without its strongest transit, a signal of two equal transits keeps half of its gain. Less than this share is left
# where one dip (a cosmic ray, a jump, one transit of a long period) makes nearly all of the peak.
_LEAST_REST = 0.15


def single_event(points: Points, signal: Signal) -> float | None:
    """The mid-time in days of the one transit that makes nearly all of the signal; None where several do."""
    shape = signal.shape(points.time) / points.noise
    near = np.flatnonzero(shape > 0)
    if not len(near):
        return None
    cycle = np.round((points.time[near] - signal.transit_time_days) / signal.period_days).astype(np.int64)
    cycle -= cycle.min()
    power = np.bincount(cycle, shape[near] ** 2)
    pull = np.bincount(cycle, shape[near] * (1.0 - points.flux[near]) / points.noise[near])
    strongest = int(np.argmax(np.maximum(pull, 0.0) ** 2 / np.maximum(power, np.finfo(float).tiny)))
    rest_pull, rest_power = pull.sum() - pull[strongest], power.sum() - power[strongest]
    rest = max(rest_pull, 0.0) ** 2 / rest_power if rest_power > 0 else 0.0
    if rest >= _LEAST_REST * pull.sum() ** 2 / power.sum():
        return None
    inside = near[cycle == strongest]
    return float(np.average(points.time[inside], weights=shape[inside] ** 2))
