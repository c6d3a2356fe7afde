"""Computes how often noise alone reaches a signal-to-noise ratio."""

from __future__ import annotations

import math
import sys
from statistics import NormalDist

MIN_PROBABILITY = sys.float_info.min  # lower limit of probabilities, so that their logarithm is finite


def compute_false_alarm_probability(snr: float, trials: float) -> float:
    """Return the chance that the best of ``trials`` independent normal numbers is at least ``snr``: 1 - (1 - Q)^N.

    This is the extreme value distribution of N independent trials, as in Jenkins, Caldwell & Borucki (2002). It is
    computed through logarithms, since 1 - Q rounds to 1 in doubles above 8.3 sigma.
    """
    tail = 0.5 * math.erfc(snr / math.sqrt(2.0))
    if tail >= 1.0:
        return 1.0
    return max(MIN_PROBABILITY, -math.expm1(trials * math.log1p(-tail)))


def count_independent_trials(
    baseline_days: float, period_range_days: tuple[float, float], duration_days: float
) -> float:
    """Return the number of nearly independent boxes of one duration, over all periods and phases.

    Two frequencies are independent if the last transits are a duration D apart: D f/T, T the baseline (Ofir 2014);
    there are 1/(D f) phases at each. The integral over f of T/(D f)² is T (P_max - P_min) / D². For four years of
    Kepler and transits of six hours that is 1.6e7: one false alarm above 7.1 sigma in 100,000 stars. Jenkins, Caldwell
    & Borucki (2002) set the threshold of that mission this way. The result is at least the number of phases of one
    period.
    """
    min_period, max_period = period_range_days
    phases = baseline_days / duration_days
    return max(1.0, phases, phases * (max_period - min_period) / duration_days)


def compute_threshold_sigma(share: float) -> float:
    """Return the two-sided sigma that noise exceeds with the probability ``share``, 0 to 1: √2 erfc⁻¹(share)."""
    return -NormalDist().inv_cdf(0.5 * share)
