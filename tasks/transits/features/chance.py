"""How often noise alone does as well."""

from __future__ import annotations

import math
import sys
from statistics import NormalDist

SMALLEST = sys.float_info.min  # stands for every probability below it: a table with zeros has no logarithm


def false_alarm_probability(snr: float, trials: float) -> float:
    """Chance that the best of ``trials`` independent normal numbers is at least ``snr``: 1 - (1 - Q)^N.

    The distribution of the extreme value of N independent trials, as in Jenkins, Caldwell & Borucki (2002); through
    logarithms, since 1 - Q is 1 in doubles from 8.3 sigma on.
    """
    tail = 0.5 * math.erfc(snr / math.sqrt(2.0))
    if tail >= 1.0:
        return 1.0
    return max(SMALLEST, -math.expm1(trials * math.log1p(-tail)))


def independent_trials(baseline_days: float, period_range_days: tuple[float, float], duration_days: float) -> float:
    """Number of boxes of one duration that share little of their points, over all periods and phases.

    Two frequencies are independent where the last transits are a duration D apart: D f/T, T the baseline (Ofir 2014);
    there are 1/(D f) phases at each. The integral over f of T/(D f)² is T (P_max - P_min) / D². For four years of
    Kepler and transits of six hours that is 1.6e7: one false alarm above 7.1 sigma in 100,000 stars, which is how
    Jenkins, Caldwell & Borucki (2002) set the threshold of that mission. At least the phases of one period.
    """
    shortest, longest = period_range_days
    phases = baseline_days / duration_days
    return max(1.0, phases, phases * (longest - shortest) / duration_days)


def threshold_sigma(share: float) -> float:
    """Sigma that noise exceeds either way with the probability ``share``, 0 to 1: √2 erfc⁻¹(share)."""
    return -NormalDist().inv_cdf(0.5 * share)
