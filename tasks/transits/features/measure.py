"""Measures all features of one candidate in one light curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.transits.candidate import Candidate, TlsFit
from tasks.transits.columns import TLS_FEATURES, Reason
from tasks.transits.features.chance import compute_false_alarm_probability, count_independent_trials
from tasks.transits.features.disturbances import measure_disturbances
from tasks.transits.features.folding import (
    Events,
    FoldedCurve,
    compute_expected_cycles,
    find_other_bodies,
    fold,
    sum_events,
)
from tasks.transits.features.noise import (
    compute_event_snrs,
    compute_external_error,
    estimate_red_variance,
    measure_depth,
)
from tasks.transits.features.secondary import Secondary, find_secondary
from tasks.transits.features.values import PPM, Evidence, Features, FeatureValue, build_features, get_finite
from tasks.transits.light_curve import PreparedLightCurve
from tasks.transits.orbit import compute_central_duration_days

HALF_PERIOD_TOLERANCE = 0.25  # durations; Robovetter (Thompson et al. 2018) and LEO-Vetter (Kunimoto et al. 2025)
_POSITIVE = ("period_days", "duration_days")


@dataclass(frozen=True)
class _Signal:
    """The common input of the formulas below.

    other_bodies  the other bodies' candidates
    events        every transit with points; at least one, and the level of ``folded`` is finite
    red           σ_r², or the reason why it is unknown
    """

    curve: PreparedLightCurve
    candidate: Candidate
    other_bodies: Sequence[Candidate]
    folded: FoldedCurve
    events: Events
    red: float | Reason


def measure(curve: PreparedLightCurve, candidate: Candidate, others: Sequence[Candidate] = ()) -> Features:
    """Measure the 27 features of ``candidate``, from only those points of ``curve`` in which it was found.

    Depths are measured here, with the candidate's own trapezoid, independently of the search's binning. ``others`` are
    all candidates of the same star, including this one. Their transits count neither as noise nor as a secondary
    eclipse of this candidate, unless they share its period. Raises ValueError for an invalid candidate: no period, no
    duration, or of another light curve.
    """
    _check(curve, candidate)
    bodies = find_other_bodies(curve, candidate, others)
    folded = fold(curve, candidate, bodies)
    expected = compute_expected_cycles(curve, candidate)
    transits = sum_events(folded, expected, candidate.duration_days)
    reason = _find_mask_reason(folded)
    values = {
        **_get_search_values(candidate),
        **_get_tls_values(candidate.tls),
        **_count_transits(folded, expected, transits),
    }
    if reason is not None:
        return build_features({**values, **_mask_depth_features(reason)}, Evidence())
    signal = _Signal(curve, candidate, bodies, folded, transits, estimate_red_variance(folded, candidate.duration_days))
    return _measure_signal(signal, values)


def _measure_signal(signal: _Signal, values: Mapping[str, FeatureValue]) -> Features:
    depth = _measure_depth(signal)
    second = _find_secondary(signal)
    disturbances = measure_disturbances(signal.curve, signal.candidate, signal.events)
    evidence = Evidence(
        largest_event_snr=_find_largest_event(signal),
        tertiary_significance=second.tertiary_significance if isinstance(second, Secondary) else None,
        positive_significance=second.positive_significance if isinstance(second, Secondary) else None,
        half_period_mismatch_sigma=_compute_half_period_mismatch(signal, second),
        disturbed_share=disturbances.share if disturbances else None,
        disturbed_chance=disturbances.chance if disturbances else None,
    )
    return build_features({**values, **depth, **_compare_odd_even(signal), **_get_secondary_values(second)}, evidence)


def _check(curve: PreparedLightCurve, candidate: Candidate) -> None:
    for name in ("period_days", "duration_days", "transit_time_days", "ingress_fraction"):
        value = getattr(candidate, name)
        if not math.isfinite(value) or (value <= 0 and name in _POSITIVE):
            raise ValueError(
                f"{name} of candidate {candidate.number} is {value}; it must be finite, and above 0 for a length"
            )
    if candidate.used.shape != curve.time.shape:
        raise ValueError(
            f"the candidate has {candidate.used.size} points, but the light curve has {curve.time.size}; "
            "give the light curve that was searched"
        )


def _find_mask_reason(folded: FoldedCurve) -> Reason | None:
    """Return the reason if no depth can be measured, else None."""
    if not folded.inside.any():
        return Reason.NO_TRANSIT_POINTS
    return None if folded.outside.any() else Reason.NO_OUT_OF_TRANSIT_POINTS


def _mask_depth_features(reason: Reason) -> dict[str, FeatureValue]:
    names = (
        "depth_ppm depth_uncertainty_ppm radius_ratio snr pink_noise_snr false_alarm_probability duration_ratio "
        "odd_depth_ppm even_depth_ppm odd_even_mismatch_sigma "
        "secondary_depth_ppm secondary_phase secondary_significance"
    )
    return dict.fromkeys(names.split(), reason)


def _get_search_values(candidate: Candidate) -> dict[str, FeatureValue]:
    """Return the values that the search measured."""
    uncertainty = candidate.period_uncertainty_days
    return {
        "period_days": candidate.period_days,
        "period_uncertainty_days": Reason.NOT_MEASURED if uncertainty is None else uncertainty,
        "transit_time_days": candidate.transit_time_days,
        "duration_days": candidate.duration_days,
        "sde": Reason.NOT_MEASURED if math.isnan(candidate.sde) else candidate.sde,
        "ingress_fraction": candidate.ingress_fraction,
    }


def _get_tls_values(fit: TlsFit | None) -> dict[str, FeatureValue]:
    """Return the TLS features, masked if there is no TLS fit."""
    if fit is None:
        return {column.name: Reason.NO_TLS_FIT for column in TLS_FEATURES}
    return {
        "tls_period_days": fit.period_days,
        "tls_sde": fit.sde,
        "tls_depth_ppm": fit.depth * PPM,
        "tls_duration_days": fit.duration_days,
        "tls_chi_square_ratio": fit.chi_square_ratio,
    }


def _count_transits(folded: FoldedCurve, expected: range, transits: Events) -> dict[str, FeatureValue]:
    """Count transits and in-transit points."""
    return {
        "transits_expected": len(expected),
        "transits_observed": int(np.count_nonzero(transits.observed)),
        "in_transit_points": int(np.count_nonzero(folded.inside)),
    }


def _measure_depth(signal: _Signal) -> dict[str, FeatureValue]:
    """Measure the depth and its dependent values. Short light curves need the variance of the level too."""
    level_variance = _compute_level_variance(signal)
    depth, white = measure_depth(signal.events, 0.0)
    sigma = math.sqrt(white + level_variance)
    pink = _compute_pink_snr(signal, level_variance)
    ratio = math.sqrt(depth) if depth > 0.0 else Reason.NO_DIMMING
    return {
        "depth_ppm": depth * PPM,
        "depth_uncertainty_ppm": sigma * PPM,
        "snr": depth / sigma,
        "pink_noise_snr": pink,
        "false_alarm_probability": _compute_false_alarm(signal, pink),
        "radius_ratio": ratio,
        "duration_ratio": _compute_duration_ratio(signal, 0.0 if isinstance(ratio, Reason) else ratio),
    }


def _compute_level_variance(signal: _Signal) -> float:
    """Return the contribution of the level's uncertainty to the variance of the depth."""
    transits = signal.events
    return float(transits.length.sum() / transits.weight.sum()) ** 2 / signal.folded.outside_weight


def _compute_pink_snr(signal: _Signal, level_variance: float) -> float | Reason:
    if isinstance(signal.red, Reason):
        return signal.red
    depth, variance = measure_depth(signal.events, signal.red)
    return depth / math.sqrt(variance + level_variance)


def _compute_duration_ratio(signal: _Signal, radius_ratio: float) -> float | Reason:
    star, candidate = signal.curve.star, signal.candidate
    central = compute_central_duration_days(candidate.period_days, star.density, radius_ratio)
    return central if isinstance(central, Reason) else candidate.duration_days / central


def _compute_false_alarm(signal: _Signal, snr: float | Reason) -> float | Reason:
    if isinstance(snr, Reason):
        return snr
    periods = signal.candidate.periodogram.period_days
    span = (float(periods.min()), float(periods.max())) if len(periods) else (0.0, 0.0)
    trials = count_independent_trials(signal.curve.baseline_days, span, signal.candidate.duration_days)
    return compute_false_alarm_probability(snr, trials)


def _compare_odd_even(signal: _Signal) -> dict[str, FeatureValue]:
    odd, even = _split_odd_even(signal.events)
    return {
        "odd_depth_ppm": _compute_group_depth(odd) if len(odd.cycle) else Reason.NO_ODD_TRANSITS,
        "even_depth_ppm": _compute_group_depth(even) if len(even.cycle) else Reason.NO_EVEN_TRANSITS,
        "odd_even_mismatch_sigma": _compute_mismatch(odd, even, signal.red),
    }


def _split_odd_even(transits: Events) -> tuple[Events, Events]:
    observed = transits.select(transits.observed)
    is_odd = observed.cycle % 2 == 0  # cycle 0 is the first transit
    return observed.select(is_odd), observed.select(~is_odd)


def _compute_group_depth(group: Events) -> float:
    return measure_depth(group, 0.0)[0] * PPM


def _compute_mismatch(odd: Events, even: Events, red: float | Reason) -> float | Reason:
    if not len(odd.cycle):
        return Reason.NO_ODD_TRANSITS
    if not len(even.cycle):
        return Reason.NO_EVEN_TRANSITS
    if isinstance(red, Reason):
        return red
    (odd_depth, odd_variance), (even_depth, even_variance) = (measure_depth(group, red) for group in (odd, even))
    sigma = math.sqrt(odd_variance + even_variance) * compute_external_error([odd, even], red)
    return abs(odd_depth - even_depth) / sigma


def _compute_half_period_mismatch(signal: _Signal, second: Secondary | Reason) -> float | None:
    """Return the odd-even mismatch at half the period, of transits and a secondary at phase 0.5; None elsewhere."""
    candidate = signal.candidate
    reach = HALF_PERIOD_TOLERANCE * candidate.duration_days / candidate.period_days
    if isinstance(second, Reason) or isinstance(signal.red, Reason) or abs(second.phase - 0.5) > reach:
        return None
    half = replace(candidate, period_days=0.5 * candidate.period_days)
    folded = fold(signal.curve, half, signal.other_bodies)
    transits = sum_events(folded, compute_expected_cycles(signal.curve, half), half.duration_days)
    return get_finite(_compute_mismatch(*_split_odd_even(transits), signal.red))


def _find_largest_event(signal: _Signal) -> float | None:
    if isinstance(signal.red, Reason):
        return None
    return get_finite(float(compute_event_snrs(signal.events, signal.red).max()))


def _find_secondary(signal: _Signal) -> Secondary | Reason:
    if isinstance(signal.red, Reason):
        return signal.red
    return find_secondary(signal.folded, signal.candidate, signal.red)


def _get_secondary_values(secondary: Secondary | Reason) -> dict[str, FeatureValue]:
    if isinstance(secondary, Reason):
        return dict.fromkeys(("secondary_depth_ppm", "secondary_phase", "secondary_significance"), secondary)
    return {
        "secondary_depth_ppm": secondary.depth * PPM,
        "secondary_phase": secondary.phase,
        "secondary_significance": secondary.significance,
    }
