"""Matches candidates of the target list with signals of the blind search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tasks.transits.candidate import Candidate
from tasks.transits.light_curve import PreparedLightCurve

# Periods in these ratios are of one body: a search may find a multiple or a fraction of the true period.
_RATIOS = tuple(map(Fraction, ("1", "2", "1/2", "3", "1/3", "3/2", "2/3")))


@dataclass(frozen=True)
class Match:
    """The other candidate, and its period over that of this candidate."""

    number: int
    harmonic: float


def find_match(curve: PreparedLightCurve, candidate: Candidate, others: Sequence[Candidate]) -> Match | None:
    """Return the first of ``others`` with the same period, else with a harmonic of it; None without a match."""
    for ratio in _RATIOS:
        for other in others:
            if is_harmonic(curve, candidate, other, ratio):
                return Match(other.number, float(ratio))
    return None


def is_harmonic(curve: PreparedLightCurve, candidate: Candidate, other: Candidate, ratio: Fraction) -> bool:
    """Return True if the period of ``other`` is ``ratio`` times the candidate's, and their transits coincide.

    Both must hold over the whole light curve, to within a duration.
    """
    duration = max(candidate.duration_days, other.duration_days)
    common_days = ratio.numerator * candidate.period_days  # the period at which transits of both coincide
    drift = abs(ratio.denominator * other.period_days - common_days)
    if drift * curve.baseline_days / common_days > duration:
        return False
    times = (other.transit_time_days + cycle * other.period_days for cycle in range(ratio.denominator))
    return any(abs(_compute_offset(candidate, time)) <= duration for time in times)


def _compute_offset(candidate: Candidate, time: float) -> float:
    """Return the days from the candidate's nearest mid-transit."""
    turns = (time - candidate.transit_time_days) / candidate.period_days
    return (turns - round(turns)) * candidate.period_days
