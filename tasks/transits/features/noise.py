"""Estimates noise on the time scale of a transit, and the resulting uncertainty of a depth.

Pont, Zucker & Queloz (2006): the mean of n consecutive points has the variance V(n) = σ_w²/n + σ_r², and a depth over
the transits k has Σ n_k² V(n_k) / (Σ n_k)². With the points' own noise and the trapezoid's shape s, W = Σ s²/noise² and
L = Σ s/noise² instead of n/σ_w², this becomes 1/W + σ_r² Σ L_k² / W².
"""

from __future__ import annotations

import math

import numpy as np

from tasks.transits.columns import Reason
from tasks.transits.features.folding import Events, FoldedCurve, find_run_starts
from tasks.transits.light_curve import Floats

MIN_BINS = 10  # with fewer bins, the scatter is off by more than a third
_MIN_BIN_SHARE = 0.5  # minimum share of points in a bin; a mean of fewer does not represent the length
_MAD_TO_SIGMA = 1.482602218505602  # of a normal distribution


def estimate_red_variance(folded: FoldedCurve, duration_days: float) -> float | Reason:
    """Estimate σ_r²: the variance of the means of bins of one transit duration, in excess of white noise.

    Bins cover the outside only. Their scatter is the median absolute deviation, so that flares and the transits of
    planets not yet found do not count as noise.
    """
    means, weights = _average_bins(folded, duration_days)
    if len(means) < MIN_BINS:
        return Reason.NO_NOISE_ESTIMATE
    scatter = _MAD_TO_SIGMA * float(np.median(np.abs(means - np.median(means))))
    return max(0.0, scatter**2 - float(np.median(1.0 / weights)))


def measure_depth(events: Events, red: float) -> tuple[float, float]:
    """Return the depth of all ``events`` together, a fraction, and its variance in pink noise without the level's."""
    total = float(events.weight.sum())
    variance = 1.0 / total + red * float((events.length**2).sum()) / total**2
    return float(events.dimming.sum()) / total, variance


def compute_event_snrs(events: Events, red: float) -> Floats:
    """Return the signal-to-noise ratio (k,) of each transit."""
    return events.depths / _compute_sigmas(events, red)


def compute_external_error(groups: list[Events], red: float) -> float:
    """Return the ratio of the scatter of depths within ``groups`` to their uncertainties, at least 1 (Birge 1932).

    Stellar spots and detrending change single transits; without this factor, two groups of such transits would differ
    significantly.
    """
    squares = sum(float((_compute_deviations(group, red) ** 2).sum()) for group in groups)
    freedom = sum(len(group.cycle) - 1 for group in groups)
    return math.sqrt(max(1.0, squares / freedom)) if freedom >= 2 else 1.0


def _compute_deviations(group: Events, red: float) -> Floats:
    mean, _ = measure_depth(group, red)
    return (group.depths - mean) / _compute_sigmas(group, red)


def _compute_sigmas(events: Events, red: float) -> Floats:
    return np.sqrt(1.0 / events.weight + red * (events.length / events.weight) ** 2)


def _average_bins(folded: FoldedCurve, duration_days: float) -> tuple[Floats, Floats]:
    """Return mean flux and weight of each bin of the outside with enough points; no bin spans two segments."""
    outside = folded.outside
    time, weight = folded.time[outside], folded.weight[outside]
    if not len(time):
        return np.zeros(0), np.zeros(0)
    number = np.floor((time - time[0]) / duration_days).astype(np.int64)
    starts = find_run_starts(number, folded.segment[outside])
    points = np.diff(starts, append=len(time))
    full = points >= np.maximum(1.0, _MIN_BIN_SHARE * duration_days / folded.cadence_days[outside][starts])
    weights = np.add.reduceat(weight, starts)
    means = np.add.reduceat(weight * folded.flux[outside], starts) / weights
    return means[full], weights[full]
