"""Noise at the length of a transit, and what it makes of a depth's uncertainty.

Pont, Zucker & Queloz (2006): the mean of n points taken together has the variance V(n) = σ_w²/n + σ_r², and a depth
over the transits k has Σ n_k² V(n_k) / (Σ n_k)². With the points' own noise and the trapezoid's shape s, W =
Σ s²/noise² and L = Σ s/noise² in the place of n/σ_w², that is 1/W + σ_r² Σ L_k² / W².
"""

from __future__ import annotations

import math

import numpy as np

from tasks.transits.columns import Reason
from tasks.transits.features.folding import Events, Folded, run_starts
from tasks.transits.light_curve import Floats

MIN_STRETCHES = 10  # a scatter from fewer is off by more than a third
_FULL = 0.5  # a stretch counts with this share of its points: a mean of a few says nothing of the length
_MAD_TO_SIGMA = 1.482602218505602  # of a normal distribution


def red_variance(folded: Folded, duration_days: float) -> float | Reason:
    """σ_r²: the variance of the means of stretches as long as a transit, beyond what white noise gives.

    Stretches of the outside alone; their scatter by the median absolute deviation, so that a flare or the transits of a
    planet not yet found do not count as noise.
    """
    means, weights = _stretches(folded, duration_days)
    if len(means) < MIN_STRETCHES:
        return Reason.NO_NOISE_ESTIMATE
    scatter = _MAD_TO_SIGMA * float(np.median(np.abs(means - np.median(means))))
    return max(0.0, scatter**2 - float(np.median(1.0 / weights)))


def depth_and_variance(events: Events, red: float) -> tuple[float, float]:
    """Depth of all of ``events`` together, a fraction, and its variance in pink noise without that of the level."""
    total = float(events.weight.sum())
    variance = 1.0 / total + red * float((events.length**2).sum()) / total**2
    return float(events.dimming.sum()) / total, variance


def snr_of_events(events: Events, red: float) -> Floats:
    """(k,) signal-to-noise of each transit alone."""
    return events.depths / _sigmas(events, red)


def external_error(groups: list[Events], red: float) -> float:
    """By how much depths scatter more within ``groups`` than their uncertainties say: at least 1 (Birge 1932).

    Stellar spots and detrending change single transits; without this, two groups of such transits differ significantly.
    """
    squares = sum(float((_deviations(group, red) ** 2).sum()) for group in groups)
    freedom = sum(len(group.cycle) - 1 for group in groups)
    return math.sqrt(max(1.0, squares / freedom)) if freedom >= 2 else 1.0


def _deviations(group: Events, red: float) -> Floats:
    mean, _ = depth_and_variance(group, red)
    return (group.depths - mean) / _sigmas(group, red)


def _sigmas(events: Events, red: float) -> Floats:
    return np.sqrt(1.0 / events.weight + red * (events.length / events.weight) ** 2)


def _stretches(folded: Folded, duration_days: float) -> tuple[Floats, Floats]:
    """Mean flux and weight of each stretch of the outside with enough points; none spans two segments."""
    outside = folded.outside
    time, weight = folded.time[outside], folded.weight[outside]
    if not len(time):
        return np.zeros(0), np.zeros(0)
    number = np.floor((time - time[0]) / duration_days).astype(np.int64)
    starts = run_starts(number, folded.segment[outside])
    points = np.diff(starts, append=len(time))
    full = points >= np.maximum(1.0, _FULL * duration_days / folded.cadence_days[outside][starts])
    weights = np.add.reduceat(weight, starts)
    means = np.add.reduceat(weight * folded.flux[outside], starts) / weights
    return means[full], weights[full]
