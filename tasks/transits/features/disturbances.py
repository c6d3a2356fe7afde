"""Measures how many transits of a candidate are at momentum dumps, scattered light or the edges of gaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc

from tasks.transits.candidate import Candidate
from tasks.transits.features.folding import Events
from tasks.transits.light_curve import Flags, Floats, PreparedLightCurve

_SAMPLE_POINTS = 2000  # of the light curve, to measure how much of it is near disturbances
EDGE_DAYS = 0.1  # from the edge of a gap, in which the spacecraft settles; as excluded by the preparation


@dataclass(frozen=True)
class Disturbances:
    """The share of observed transits at disturbances, and the probability of at least as many by chance."""

    share: float
    chance: float


def measure_disturbances(curve: PreparedLightCurve, candidate: Candidate, events: Events) -> Disturbances | None:
    """Return the share of observed transits that overlap a disturbance; None without an observed transit."""
    cycles = events.cycle[events.observed]
    if not len(cycles):
        return None
    half = 0.5 * candidate.duration_days + curve.cadence_days
    times = np.asarray(candidate.transit_time_days + cycles * candidate.period_days, dtype=np.float64)
    near = int(np.count_nonzero(_is_near(times, curve, half)))
    if near == 0:
        return Disturbances(0.0, 1.0)
    sample = curve.time[:: max(1, len(curve.time) // _SAMPLE_POINTS)]
    base = float(np.mean(_is_near(sample, curve, half)))
    return Disturbances(near / len(times), float(bdtrc(near - 1, len(times), base)))


def _is_near(times: Floats, curve: PreparedLightCurve, half_days: float) -> Flags:
    """Return flags (n,) of mid-transit times with a disturbance or an edge in or next to the transit."""
    near_event = _compute_distance(times, curve.disturbed) <= half_days
    return np.asarray(near_event | (_compute_distance(times, curve.edges) <= half_days + EDGE_DAYS))


def _compute_distance(times: Floats, marks: Floats) -> Floats:
    """Return the days (n,) to the nearest of the sorted ``marks``; infinite without any."""
    if not len(marks):
        return np.full(len(times), np.inf)
    after = np.searchsorted(marks, times)
    before = np.abs(times - marks[np.maximum(after - 1, 0)])
    return np.asarray(np.minimum(before, np.abs(times - marks[np.minimum(after, len(marks) - 1)])))
