"""Measures single transits: dips that the search excluded because they do not repeat."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tasks.transits.candidate import Candidate, Periodogram
from tasks.transits.light_curve import PreparedLightCurve
from tasks.transits.searching.events import SingleEvent
from tasks.transits.searching.points import Points
from tasks.transits.searching.trapezoid import Signal, fit_trapezoid

_MIN_POINTS = 3  # in transit: fewer are bad data
_PERIODS = 2.0  # baselines: a stand-in for the unknown period, at which the light curve has one transit


def measure_single_transits(
    curve: PreparedLightCurve, events: Iterable[SingleEvent], min_snr: float
) -> list[Candidate]:
    """Return the single dimmings that have the points and the signal-to-noise ratio of a transit, strongest first.

    Their period is a stand-in: twice the baseline.
    """
    points = Points(curve.time, curve.flux, curve.noise)
    period = _PERIODS * curve.baseline_days
    fits = [
        fit_trapezoid(points, Signal(period, event.time_days, event.duration_days))
        for event in events
        if not event.is_point
    ]
    candidates = [
        Candidate(
            number=0,
            period_days=period,
            period_uncertainty_days=None,
            transit_time_days=fit.signal.transit_time_days,
            duration_days=fit.signal.duration_days,
            depth=fit.depth,
            depth_uncertainty=fit.depth_uncertainty,
            ingress_fraction=fit.signal.ingress_fraction,
            snr=fit.depth / fit.depth_uncertainty,
            sde=math.nan,
            used=np.ones(len(curve.time), dtype=np.bool_),
            periodogram=Periodogram(np.zeros(0), np.zeros(0)),
        )
        for fit in fits
        if fit.depth > 0.0 and _count_points(points, fit.signal) >= _MIN_POINTS
    ]
    return sorted((each for each in candidates if each.snr >= min_snr), key=lambda each: -each.snr)


def _count_points(points: Points, signal: Signal) -> int:
    return int(np.count_nonzero(signal.compute_shape(points.time) > 0.5))
