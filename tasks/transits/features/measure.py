"""All features of one candidate in one light curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.transits.candidate import Candidate, TlsFit
from tasks.transits.columns import TLS_FEATURES, Reason
from tasks.transits.features.chance import false_alarm_probability, independent_trials
from tasks.transits.features.folding import Events, Folded, distinct, events, expected_cycles, fold
from tasks.transits.features.noise import depth_and_variance, external_error, red_variance, snr_of_events
from tasks.transits.features.secondary import Secondary, find_secondary
from tasks.transits.features.values import PPM, Evidence, Features, Measured, collected, known
from tasks.transits.light_curve import PreparedLightCurve
from tasks.transits.orbit import central_duration_days

HALF_TURN_TOLERANCE = 0.25  # durations; Robovetter (Thompson et al. 2018) and LEO-Vetter (Kunimoto et al. 2025)
_POSITIVE = ("period_days", "duration_days")


@dataclass(frozen=True)
class _Signal:
    """What the formulas below share.

    distinct  the other bodies' candidates
    events    every transit with points; ``level`` of ``folded`` is finite and there is at least one
    red       σ_r², or why it is not known
    """

    curve: PreparedLightCurve
    candidate: Candidate
    distinct: Sequence[Candidate]
    folded: Folded
    events: Events
    red: float | Reason


def measure(curve: PreparedLightCurve, candidate: Candidate, others: Sequence[Candidate] = ()) -> Features:
    """The 27 features of ``candidate``, from the points of ``curve`` that it was found in and no others.

    Depths are measured here, with the candidate's own trapezoid, whatever the search's binning. ``others`` are all
    candidates of the same star, itself too: their transits are no noise and no secondary eclipse of this one, unless
    they share its period.
    Raises ValueError for a candidate that is none: no period, no duration, or of another light curve.
    """
    _check(curve, candidate)
    bodies = distinct(curve, candidate, others)
    folded = fold(curve, candidate, bodies)
    expected = expected_cycles(curve, candidate)
    found = events(folded, expected, candidate.duration_days)
    lacking = _lacking(folded)
    given = {**_given(candidate), **_tls(candidate.tls), **_counts(folded, expected, found)}
    if lacking is not None:
        return collected({**given, **_unmeasured(lacking)}, Evidence())
    signal = _Signal(curve, candidate, bodies, folded, found, red_variance(folded, candidate.duration_days))
    return _measured(signal, given)


def _measured(signal: _Signal, given: Mapping[str, Measured]) -> Features:
    depth = _depth(signal)
    second = _secondary(signal)
    evidence = Evidence(
        largest_event_snr=_largest_event(signal),
        tertiary_significance=second.tertiary_significance if isinstance(second, Secondary) else None,
        positive_significance=second.positive_significance if isinstance(second, Secondary) else None,
        half_turn_mismatch_sigma=_half_turn_mismatch(signal, second),
    )
    return collected({**given, **depth, **_odd_even(signal), **_secondary_values(second)}, evidence)


def _check(curve: PreparedLightCurve, candidate: Candidate) -> None:
    for name in ("period_days", "duration_days", "transit_time_days", "ingress_fraction"):
        value = getattr(candidate, name)
        if not math.isfinite(value) or (value <= 0 and name in _POSITIVE):
            raise ValueError(f"{name} of candidate {candidate.number} is {value}; it must be finite, a length above 0")
    if candidate.used.shape != curve.time.shape:
        raise ValueError(
            f"candidate of a light curve of {candidate.used.size} points given with one of {curve.time.size}"
        )


def _lacking(folded: Folded) -> Reason | None:
    """Why no depth can be measured at all."""
    if not folded.inside.any():
        return Reason.NO_TRANSIT_POINTS
    return None if folded.outside.any() else Reason.NO_OUT_OF_TRANSIT_POINTS


def _unmeasured(reason: Reason) -> dict[str, Measured]:
    names = (
        "depth_ppm depth_uncertainty_ppm radius_ratio snr pink_noise_snr false_alarm_probability duration_ratio "
        "odd_depth_ppm even_depth_ppm odd_even_mismatch_sigma "
        "secondary_depth_ppm secondary_phase secondary_significance"
    )
    return dict.fromkeys(names.split(), reason)


def _given(candidate: Candidate) -> dict[str, Measured]:
    """What the search has measured."""
    uncertainty = candidate.period_uncertainty_days
    return {
        "period_days": candidate.period_days,
        "period_uncertainty_days": Reason.NOT_MEASURED if uncertainty is None else uncertainty,
        "transit_time_days": candidate.transit_time_days,
        "duration_days": candidate.duration_days,
        "sde": candidate.sde,
        "ingress_fraction": candidate.ingress_fraction,
    }


def _tls(fit: TlsFit | None) -> dict[str, Measured]:
    if fit is None:
        return {column.name: Reason.NO_TLS_FIT for column in TLS_FEATURES}
    return {
        "tls_period_days": fit.period_days,
        "tls_sde": fit.sde,
        "tls_depth_ppm": fit.depth * PPM,
        "tls_duration_days": fit.duration_days,
        "tls_chi_square_ratio": fit.chi_square_ratio,
    }


def _counts(folded: Folded, expected: range, found: Events) -> dict[str, Measured]:
    return {
        "transits_expected": len(expected),
        "transits_observed": int(np.count_nonzero(found.observed)),
        "in_transit_points": int(np.count_nonzero(folded.inside)),
    }


def _depth(signal: _Signal) -> dict[str, Measured]:
    """Depth and what follows from it. The level's own variance counts too: it is not small in a short light curve."""
    level_variance = _level_variance(signal)
    depth, white = depth_and_variance(signal.events, 0.0)
    sigma = math.sqrt(white + level_variance)
    pink = _pink_snr(signal, level_variance)
    ratio = math.sqrt(depth) if depth > 0.0 else Reason.NO_DIMMING
    return {
        "depth_ppm": depth * PPM,
        "depth_uncertainty_ppm": sigma * PPM,
        "snr": depth / sigma,
        "pink_noise_snr": pink,
        "false_alarm_probability": _false_alarm(signal, pink),
        "radius_ratio": ratio,
        "duration_ratio": _duration_ratio(signal, 0.0 if isinstance(ratio, Reason) else ratio),
    }


def _level_variance(signal: _Signal) -> float:
    """What the uncertainty of the level adds to the variance of the depth."""
    found = signal.events
    return float(found.length.sum() / found.weight.sum()) ** 2 / signal.folded.outside_weight


def _pink_snr(signal: _Signal, level_variance: float) -> float | Reason:
    if isinstance(signal.red, Reason):
        return signal.red
    depth, variance = depth_and_variance(signal.events, signal.red)
    return depth / math.sqrt(variance + level_variance)


def _duration_ratio(signal: _Signal, radius_ratio: float) -> float | Reason:
    star, candidate = signal.curve.star, signal.candidate
    central = central_duration_days(candidate.period_days, star.density, radius_ratio)
    return central if isinstance(central, Reason) else candidate.duration_days / central


def _false_alarm(signal: _Signal, snr: float | Reason) -> float | Reason:
    if isinstance(snr, Reason):
        return snr
    tried = signal.candidate.periodogram.period_days
    span = (float(tried.min()), float(tried.max())) if len(tried) else (0.0, 0.0)
    trials = independent_trials(signal.curve.baseline_days, span, signal.candidate.duration_days)
    return false_alarm_probability(snr, trials)


def _odd_even(signal: _Signal) -> dict[str, Measured]:
    odd, even = _odd_and_even(signal.events)
    return {
        "odd_depth_ppm": _group_depth(odd) if len(odd.cycle) else Reason.NO_ODD_TRANSITS,
        "even_depth_ppm": _group_depth(even) if len(even.cycle) else Reason.NO_EVEN_TRANSITS,
        "odd_even_mismatch_sigma": _mismatch(odd, even, signal.red),
    }


def _odd_and_even(found: Events) -> tuple[Events, Events]:
    observed = found.select(found.observed)
    is_odd = observed.cycle % 2 == 0  # cycle 0 is the first transit
    return observed.select(is_odd), observed.select(~is_odd)


def _group_depth(group: Events) -> float:
    return depth_and_variance(group, 0.0)[0] * PPM


def _mismatch(odd: Events, even: Events, red: float | Reason) -> float | Reason:
    if not len(odd.cycle):
        return Reason.NO_ODD_TRANSITS
    if not len(even.cycle):
        return Reason.NO_EVEN_TRANSITS
    if isinstance(red, Reason):
        return red
    (odd_depth, odd_variance), (even_depth, even_variance) = (depth_and_variance(group, red) for group in (odd, even))
    sigma = math.sqrt(odd_variance + even_variance) * external_error([odd, even], red)
    return abs(odd_depth - even_depth) / sigma


def _half_turn_mismatch(signal: _Signal, second: Secondary | Reason) -> float | None:
    """Odd-even mismatch at half the period: of the transits against the secondary, where that is half a turn later."""
    candidate = signal.candidate
    reach = HALF_TURN_TOLERANCE * candidate.duration_days / candidate.period_days
    if isinstance(second, Reason) or isinstance(signal.red, Reason) or abs(second.phase - 0.5) > reach:
        return None
    half = replace(candidate, period_days=0.5 * candidate.period_days)
    found = events(fold(signal.curve, half, signal.distinct), expected_cycles(signal.curve, half), half.duration_days)
    return known(_mismatch(*_odd_and_even(found), signal.red))


def _largest_event(signal: _Signal) -> float | None:
    if isinstance(signal.red, Reason):
        return None
    return known(float(snr_of_events(signal.events, signal.red).max()))


def _secondary(signal: _Signal) -> Secondary | Reason:
    if isinstance(signal.red, Reason):
        return signal.red
    return find_secondary(signal.folded, signal.candidate, signal.red)


def _secondary_values(found: Secondary | Reason) -> dict[str, Measured]:
    if isinstance(found, Reason):
        return dict.fromkeys(("secondary_depth_ppm", "secondary_phase", "secondary_significance"), found)
    return {
        "secondary_depth_ppm": found.depth * PPM,
        "secondary_phase": found.phase,
        "secondary_significance": found.significance,
    }
