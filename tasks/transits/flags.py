"""Raises false-positive flags: one function per flag, each threshold a constant with its source.

A flag is a reason to look at a candidate, not a verdict: grazing planets are V-shaped too. A masked feature never
raises a flag; the table states the reason for its mask.

Robovetter: Thompson et al. (2018), thresholds of Kepler's DR25 catalogue. LEO-Vetter: Kunimoto et al. (2025), the
equivalent for TESS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tasks.transits.candidate import Candidate
from tasks.transits.columns import SEPARATOR, Flag
from tasks.transits.features.chance import compute_threshold_sigma
from tasks.transits.features.folding import has_matching_period
from tasks.transits.features.values import PPM, Features
from tasks.transits.light_curve import PreparedLightCurve
from tasks.transits.orbit import compute_max_transit_share, compute_scaled_axis

MIN_PINK_SNR = 7.1  # Kepler's threshold: one false alarm in 100,000 stars (Jenkins, Caldwell & Borucki 2002)
MIN_TRANSITS = 3  # as in Kepler's pipeline: any two dips define a period
MAX_EVENT_SHARE = 0.8  # Robovetter (SES to MES) and LEO-Vetter
MIN_LEAD_OVER_DIP_SIGMA = 1.0  # LEO-Vetter; Robovetter: 1 or 2, by detrending
MIN_LEAD_OVER_BRIGHTENING_SIGMA = 0.0  # LEO-Vetter; Robovetter: 1 or 4
MIN_AXIS = 1.5  # stellar radii; LEO-Vetter
MAX_DURATION_RATIO = 2.0  # LEO-Vetter; rarely exceeded, even by eccentric orbits with a transit at apastron
ROTATION_TOLERANCE = 0.05  # our own: spots drift, so rotation periods are uncertain by some percent
# Robovetter's SWEET test uses the first three; a rotation faster than the minimum period also shows at the fourth.
ROTATION_MULTIPLES = (0.5, 1.0, 2.0, 3.0)
MAX_ODD_EVEN_SIGMA = 3.0  # LEO-Vetter
MIN_SECONDARY_LEAD_SIGMA = 1.0  # above the threshold for 20,000 targets; Robovetter and LEO-Vetter
TARGETS_SEARCHED = 20_000  # Robovetter and LEO-Vetter: one false alarm per this many targets
MAX_PLANET_SECONDARY = 0.1  # of the transit's depth; Robovetter and LEO-Vetter
MAX_ALBEDO = 1.0  # Robovetter and LEO-Vetter
MAX_RADIUS_EARTH = 25.0  # LEO-Vetter
# Our own, for stars of unknown radius: the deepest transit of a planet of a main-sequence star takes 7 % of its light.
MAX_DEPTH = 0.1
MIN_DISTURBED_SHARE = 0.5  # our own
MAX_DISTURBED_CHANCE = 0.01  # our own: thrusters of K2 fire every 6 hours, so every planet has some transits there
# Robovetter's limit is b + k = 1.04, with b the impact parameter and k the radius ratio from a fit. From a trapezoid
# b + k never exceeds 1, a V (Seager & Mallén-Ornelas 2003); for k = 0.1, 0.4 is b + k = 0.99.
MAX_INGRESS_FRACTION = 0.4
_SUN_IN_EARTH_RADII = 109.076  # nominal values of the IAU (2015)


@dataclass(frozen=True)
class Case:
    """One candidate, and all evidence for and against it."""

    curve: PreparedLightCurve
    candidate: Candidate
    features: Features
    all_candidates: Sequence[Candidate]

    @property
    def transit_share(self) -> float:
        """Return duration over period."""
        return self.candidate.duration_days / self.candidate.period_days


def find_false_positive_flags(
    curve: PreparedLightCurve, candidate: Candidate, features: Features, all_candidates: Sequence[Candidate]
) -> tuple[Flag, ...]:
    """Return the flags of ``candidate`` in the order of :class:`Flag`, given all candidates of the same star."""
    case = Case(curve, candidate, features, all_candidates)
    return tuple(flag for flag in Flag if CHECKS[flag](case))


def format_flags(flags: Sequence[Flag]) -> str:
    """Return the value of the column ``find_false_positive_flags``."""
    return SEPARATOR.join(flags)


def is_weak(case: Case) -> bool:
    """Return True if noise on the time scale of the transit is as strong."""
    snr = case.features.get_number("pink_noise_snr")
    return snr is not None and snr < MIN_PINK_SNR


def has_few_transits(case: Case) -> bool:
    """Return True if too few transits are observed to confirm a period."""
    observed = case.features.get_number("transits_observed")
    return observed is not None and observed < MIN_TRANSITS


def is_single_event(case: Case) -> bool:
    """Return True if one dip dominates the signal; of n equal transits, each has 1/√n of the whole."""
    snr, largest = case.features.get_number("pink_noise_snr"), case.features.evidence.largest_event_snr
    return snr is not None and largest is not None and 0.0 < MAX_EVENT_SHARE * snr < largest


def is_not_unique(case: Case) -> bool:
    """Return True if the folded light curve has similar features elsewhere: noise, a variable star, an instrument."""
    snr, evidence = case.features.get_number("pink_noise_snr"), case.features.evidence
    if snr is None:
        return False
    lead = snr - _compute_chance_sigma(case)
    dip, brightening = evidence.tertiary_significance, evidence.positive_significance
    like_a_dip = dip is not None and lead - dip < MIN_LEAD_OVER_DIP_SIGMA
    return like_a_dip or (brightening is not None and lead - brightening < MIN_LEAD_OVER_BRIGHTENING_SIGMA)


def is_too_long(case: Case) -> bool:
    """Return True if the transit is too long for an orbit outside the star; stricter if the star is known."""
    if case.transit_share > compute_max_transit_share(MIN_AXIS):
        return True
    ratio, star = case.features.get_number("duration_ratio"), case.curve.star
    return bool(star.radius and star.mass) and ratio is not None and ratio > MAX_DURATION_RATIO


def is_near_rotation(case: Case) -> bool:
    """Return True if the period is close to the star's rotation (or a multiple), as with star spots."""
    rotation = case.curve.rotation_days
    if rotation is None or not rotation > 0.0:
        return False
    turns = case.candidate.period_days / rotation
    return any(abs(turns / multiple - 1.0) <= ROTATION_TOLERANCE for multiple in ROTATION_MULTIPLES)


def is_odd_even(case: Case) -> bool:
    """Return True if odd and even depths differ, as with alternating eclipses of a binary."""
    mismatch = case.features.get_number("odd_even_mismatch_sigma")
    return mismatch is not None and mismatch > MAX_ODD_EVEN_SIGMA


def has_secondary(case: Case) -> bool:
    """Return True if the secondary eclipse shows a self-luminous body."""
    return _has_real_secondary(case) and not has_half_period(case) and not _has_planetary_secondary(case)


def has_half_period(case: Case) -> bool:
    """Return True if there are two equal dips per period, which usually means half the period."""
    mismatch = case.features.evidence.half_period_mismatch_sigma
    return mismatch is not None and mismatch <= MAX_ODD_EVEN_SIGMA and _has_real_secondary(case)


def is_v_shaped(case: Case) -> bool:
    """Return True if the transit has no flat bottom, beyond the effects of noise and exposure time."""
    fraction, snr = case.features.get_number("ingress_fraction"), case.features.get_number("pink_noise_snr")
    if fraction is None or snr is None or snr <= 0.0:
        return False
    exposure = min(1.0, case.curve.cadence_days / case.candidate.duration_days)
    sharp = math.sqrt(min(1.0, max(0.0, fraction**2 - exposure**2)))
    # Carter et al. (2008): σ_τ = T √(6 τ/T) / Q, T from the middle of the ingress to that of the egress
    sigma = math.sqrt(6.0 * sharp * (1.0 - sharp)) / snr
    return sharp - sigma > MAX_INGRESS_FRACTION


def is_too_large(case: Case) -> bool:
    """Return True if the body is as large as a star. False if the radius of the star is unknown."""
    radius = _compute_radius_earth(case)
    return case.curve.star.radius is not None and radius is not None and radius > MAX_RADIUS_EARTH


def has_same_period(case: Case) -> bool:
    """Return True if an earlier candidate has the same period over the whole light curve."""
    earlier = (other for other in case.all_candidates if other.number < case.candidate.number)
    return any(has_matching_period(case.curve, case.candidate, other) for other in earlier)


def is_too_deep(case: Case) -> bool:
    """Return True if a planet would have to be larger than any known one. False if the radius of the star is known."""
    depth = case.features.get_number("depth_ppm")
    return case.curve.star.radius is None and depth is not None and depth > MAX_DEPTH * PPM


def is_at_dumps_or_edges(case: Case) -> bool:
    """Return True if more transits than expected by chance are at times of bad data."""
    share, chance = case.features.evidence.disturbed_share, case.features.evidence.disturbed_chance
    if share is None or chance is None:
        return False
    return share >= MIN_DISTURBED_SHARE and chance < MAX_DISTURBED_CHANCE


CHECKS: Mapping[Flag, Callable[[Case], bool]] = {
    Flag.WEAK: is_weak,
    Flag.FEW_TRANSITS: has_few_transits,
    Flag.SINGLE_EVENT: is_single_event,
    Flag.NOT_UNIQUE: is_not_unique,
    Flag.TOO_LONG: is_too_long,
    Flag.NEAR_ROTATION: is_near_rotation,
    Flag.ODD_EVEN: is_odd_even,
    Flag.SECONDARY: has_secondary,
    Flag.HALF_PERIOD: has_half_period,
    Flag.V_SHAPE: is_v_shaped,
    Flag.TOO_LARGE: is_too_large,
    Flag.SAME_PERIOD: has_same_period,
    Flag.TOO_DEEP: is_too_deep,
    Flag.AT_DUMPS_OR_EDGES: is_at_dumps_or_edges,
}


def _compute_chance_sigma(case: Case, targets: int = 1) -> float:
    """Return the sigma that the best of the independent phases of ``targets`` stars reaches by chance."""
    return compute_threshold_sigma(min(1.0, case.transit_share) / targets)


def _has_real_secondary(case: Case) -> bool:
    """Return True for Robovetter's three criteria: significant, above all other dips, above all brightenings."""
    second, evidence = case.features.get_number("secondary_significance"), case.features.evidence
    if second is None:
        return False
    others = (evidence.tertiary_significance, evidence.positive_significance)
    is_unique = all(other is None or second - other > _compute_chance_sigma(case) for other in others)
    return is_unique and second - _compute_chance_sigma(case, TARGETS_SEARCHED) > MIN_SECONDARY_LEAD_SIGMA


def _has_planetary_secondary(case: Case) -> bool:
    """Return True for a shallow eclipse of a planet-sized body with an albedo below 1."""
    depth, second = case.features.get_number("depth_ppm"), case.features.get_number("secondary_depth_ppm")
    ratio, radius = case.features.get_number("radius_ratio"), _compute_radius_earth(case)
    if depth is None or second is None or ratio is None or radius is None or is_v_shaped(case):
        return False
    axis = compute_scaled_axis(case.candidate.period_days, case.curve.star.density)
    albedo = second / PPM * (axis / ratio) ** 2
    return second < MAX_PLANET_SECONDARY * depth and albedo < MAX_ALBEDO and radius < MAX_RADIUS_EARTH


def _compute_radius_earth(case: Case) -> float | None:
    """Return the radius of the candidate, for a star of one solar radius if the radius is unknown."""
    ratio = case.features.get_number("radius_ratio")
    return None if ratio is None else ratio * (case.curve.star.radius or 1.0) * _SUN_IN_EARTH_RADII
