"""What speaks against a planet: one function a flag, each threshold a constant with its source.

A flag is a reason to look, not a verdict: grazing planets are V-shaped too. What could not be measured raises no flag;
its mask says so in the table.

Robovetter: Thompson et al. (2018), thresholds of Kepler's DR25 catalogue. LEO-Vetter: Kunimoto et al. (2025), the same
for TESS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tasks.transits.candidate import Candidate
from tasks.transits.columns import SEPARATOR, Flag
from tasks.transits.features.chance import threshold_sigma
from tasks.transits.features.folding import keeps_pace
from tasks.transits.features.values import PPM, Features
from tasks.transits.light_curve import PreparedLightCurve
from tasks.transits.orbit import longest_share, scaled_axis

MIN_PINK_SNR = 7.1  # Kepler's threshold: one false alarm in 100,000 stars (Jenkins, Caldwell & Borucki 2002)
MIN_TRANSITS = 3  # as Kepler's pipeline asks for: two dips always make a period
MAX_EVENT_SHARE = 0.8  # Robovetter (SES to MES) and LEO-Vetter
MIN_LEAD_OVER_DIP_SIGMA = 1.0  # LEO-Vetter; Robovetter: 1 or 2, by detrending
MIN_LEAD_OVER_BRIGHTENING_SIGMA = 0.0  # LEO-Vetter; Robovetter: 1 or 4
LEAST_AXIS = 1.5  # stellar radii; LEO-Vetter
MAX_DURATION_RATIO = 2.0  # LEO-Vetter; an eccentric orbit's transit at apastron is rarely that long
ROTATION_TOLERANCE = 0.05  # our own: spots drift, so that rotation periods are known to some percent
# Robovetter's SWEET test has the first three; a rotation faster than the shortest trial period shows at the fourth too.
ROTATION_MULTIPLES = (0.5, 1.0, 2.0, 3.0)
MAX_ODD_EVEN_SIGMA = 3.0  # LEO-Vetter
MIN_SECONDARY_LEAD_SIGMA = 1.0  # above the threshold for 20,000 targets; Robovetter and LEO-Vetter
TARGETS_SEARCHED = 20_000  # Robovetter and LEO-Vetter: one false alarm in so many
MAX_PLANET_SECONDARY = 0.1  # of the transit's depth; Robovetter and LEO-Vetter
MAX_ALBEDO = 1.0  # Robovetter and LEO-Vetter
MAX_RADIUS_EARTH = 25.0  # LEO-Vetter
# Robovetter's limit is b + k = 1.04, with b the impact parameter and k the radius ratio from a fit. From a trapezoid
# b + k never exceeds 1, a V (Seager & Mallén-Ornelas 2003); for k = 0.1, 0.4 is b + k = 0.99.
MAX_INGRESS_FRACTION = 0.4
_SUN_IN_EARTH_RADII = 109.076  # nominal values of the IAU (2015)


@dataclass(frozen=True)
class Case:
    """One candidate, and all that is known for and against it."""

    curve: PreparedLightCurve
    candidate: Candidate
    features: Features
    all_candidates: Sequence[Candidate]

    @property
    def transit_share(self) -> float:
        """Duration over period."""
        return self.candidate.duration_days / self.candidate.period_days


def false_positive_flags(
    curve: PreparedLightCurve, candidate: Candidate, features: Features, all_candidates: Sequence[Candidate]
) -> tuple[Flag, ...]:
    """The flags of ``candidate`` in the order of the vocabulary; ``all_candidates`` are those of the same star."""
    case = Case(curve, candidate, features, all_candidates)
    return tuple(flag for flag in Flag if CHECKS[flag](case))


def flags_text(flags: Sequence[Flag]) -> str:
    """What the column ``false_positive_flags`` holds."""
    return SEPARATOR.join(flags)


def is_weak(case: Case) -> bool:
    """Noise at the length of the transit does as well."""
    snr = case.features.number("pink_noise_snr")
    return snr is not None and snr < MIN_PINK_SNR


def has_few_transits(case: Case) -> bool:
    """Too few transits for a period."""
    observed = case.features.number("transits_observed")
    return observed is not None and observed < MIN_TRANSITS


def is_single_event(case: Case) -> bool:
    """One dip makes the signal; equal transits share it, each with 1/√n of the whole."""
    snr, largest = case.features.number("pink_noise_snr"), case.features.evidence.largest_event_snr
    return snr is not None and largest is not None and 0.0 < MAX_EVENT_SHARE * snr < largest


def is_not_unique(case: Case) -> bool:
    """The folded light curve has other features like it: noise, a variable star, an instrument."""
    snr, evidence = case.features.number("pink_noise_snr"), case.features.evidence
    if snr is None:
        return False
    lead = snr - _chance_sigma(case)
    dip, brightening = evidence.tertiary_significance, evidence.positive_significance
    like_a_dip = dip is not None and lead - dip < MIN_LEAD_OVER_DIP_SIGMA
    return like_a_dip or (brightening is not None and lead - brightening < MIN_LEAD_OVER_BRIGHTENING_SIGMA)


def is_too_long(case: Case) -> bool:
    """Longer than an orbit outside of the star allows; with an assumed star, only where no star would allow it."""
    if case.transit_share > longest_share(LEAST_AXIS):
        return True
    ratio, star = case.features.number("duration_ratio"), case.curve.star
    return bool(star.radius and star.mass) and ratio is not None and ratio > MAX_DURATION_RATIO


def is_near_rotation(case: Case) -> bool:
    """Spots come round with the star."""
    rotation = case.curve.rotation_days
    if rotation is None or not rotation > 0.0:
        return False
    turns = case.candidate.period_days / rotation
    return any(abs(turns / multiple - 1.0) <= ROTATION_TOLERANCE for multiple in ROTATION_MULTIPLES)


def is_odd_even(case: Case) -> bool:
    """Primary and secondary eclipses of a binary in turn."""
    mismatch = case.features.number("odd_even_mismatch_sigma")
    return mismatch is not None and mismatch > MAX_ODD_EVEN_SIGMA


def has_secondary(case: Case) -> bool:
    """What passes behind the star shines by itself."""
    return _secondary_is_real(case) and not has_half_period(case) and not _secondary_is_a_planets(case)


def has_half_period(case: Case) -> bool:
    """Two equal dips a turn: most often one dip a half turn."""
    mismatch = case.features.evidence.half_turn_mismatch_sigma
    return mismatch is not None and mismatch <= MAX_ODD_EVEN_SIGMA and _secondary_is_real(case)


def is_v_shaped(case: Case) -> bool:
    """No flat bottom, as far as the noise lets us see one and an exposure's length leaves one."""
    fraction, snr = case.features.number("ingress_fraction"), case.features.number("pink_noise_snr")
    if fraction is None or snr is None or snr <= 0.0:
        return False
    exposure = min(1.0, case.curve.cadence_days / case.candidate.duration_days)
    sharp = math.sqrt(min(1.0, max(0.0, fraction**2 - exposure**2)))
    # Carter et al. (2008): σ_τ = T √(6 τ/T) / Q, T from the middle of the ingress to that of the egress
    sigma = math.sqrt(6.0 * sharp * (1.0 - sharp)) / snr
    return sharp - sigma > MAX_INGRESS_FRACTION


def is_too_large(case: Case) -> bool:
    """A star's size; said only where the star's own size is known."""
    radius = _radius_earth(case)
    return case.curve.star.radius is not None and radius is not None and radius > MAX_RADIUS_EARTH


def has_same_period(case: Case) -> bool:
    """The ephemerides keep their distance over the whole light curve: two views of one orbit."""
    earlier = (other for other in case.all_candidates if other.number < case.candidate.number)
    return any(keeps_pace(case.curve, case.candidate, other) for other in earlier)


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
}


def _chance_sigma(case: Case, targets: int = 1) -> float:
    """Sigma that the best of the independent phases of ``targets`` stars is expected to reach by chance."""
    return threshold_sigma(min(1.0, case.transit_share) / targets)


def _secondary_is_real(case: Case) -> bool:
    """Robovetter's three: significant, above every other dip, above every brightening."""
    second, evidence = case.features.number("secondary_significance"), case.features.evidence
    if second is None:
        return False
    others = (evidence.tertiary_significance, evidence.positive_significance)
    unique = all(other is None or second - other > _chance_sigma(case) for other in others)
    return unique and second - _chance_sigma(case, TARGETS_SEARCHED) > MIN_SECONDARY_LEAD_SIGMA


def _secondary_is_a_planets(case: Case) -> bool:
    """Shallow, of a body of a planet's size, and no more than all of the star's light thrown back."""
    depth, second = case.features.number("depth_ppm"), case.features.number("secondary_depth_ppm")
    ratio, radius = case.features.number("radius_ratio"), _radius_earth(case)
    if depth is None or second is None or ratio is None or radius is None or is_v_shaped(case):
        return False
    axis = scaled_axis(case.candidate.period_days, case.curve.star.density)
    albedo = second / PPM * (axis / ratio) ** 2
    return second < MAX_PLANET_SECONDARY * depth and albedo < MAX_ALBEDO and radius < MAX_RADIUS_EARTH


def _radius_earth(case: Case) -> float | None:
    """Of the candidate; of a star like the Sun where its radius is unknown."""
    ratio = case.features.number("radius_ratio")
    return None if ratio is None else ratio * (case.curve.star.radius or 1.0) * _SUN_IN_EARTH_RADII
