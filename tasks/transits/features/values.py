"""The values of a candidate's features: each is either a number or a reason why it has none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tasks.transits.columns import FEATURES, Reason

FeatureValue: TypeAlias = float | int | Reason

PPM = 1e6
SINGLE_TRANSIT_FEATURES = frozenset({
    "transit_time_days", "duration_days", "depth_ppm", "depth_uncertainty_ppm", "radius_ratio", "snr", "pink_noise_snr",
    "transits_expected", "transits_observed", "in_transit_points", "ingress_fraction",
})  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """Measurements that flags use besides the features; None if a value could not be measured.

    largest_event_snr       signal-to-noise of the best single transit, in pink noise
    tertiary_significance   sigma of the best dip clear of the transit and the secondary
    positive_significance   sigma of the best brightening clear of both
    half_turn_mismatch_sigma
                            difference in depth to a dip half a period later; None without such a secondary
    disturbed_share         share of the observed transits at dumps, scattered light or edges of gaps
    disturbed_chance        probability of at least as many such transits by chance
    """

    largest_event_snr: float | None = None
    tertiary_significance: float | None = None
    positive_significance: float | None = None
    half_period_mismatch_sigma: float | None = None
    disturbed_share: float | None = None
    disturbed_chance: float | None = None


@dataclass(frozen=True)
class Features:
    """The 27 features of one candidate.

    values    every name of ``FEATURES`` in that order; finite, or None
    masks     the names whose value is None, and why
    """

    values: Mapping[str, float | int | None]
    masks: Mapping[str, Reason]
    evidence: Evidence = Evidence()

    def get_number(self, name: str) -> float | None:
        """Return the value of one feature as a float; None if it is masked."""
        value = self.values[name]
        return None if value is None else float(value)


def build_features(measured: Mapping[str, FeatureValue], evidence: Evidence) -> Features:
    """Build the features from measurements of all 27 names. Non-finite values are masked as ``undefined``."""
    checked = {name: _check_value(measured[name]) for name in FEATURES}
    masks = {name: value for name, value in checked.items() if isinstance(value, Reason)}
    values = {name: None if isinstance(value, Reason) else value for name, value in checked.items()}
    return Features(values, masks, evidence)


def mask_periodic_features(features: Features) -> Features:
    """Return the features of a single transit: those that need a period are masked."""
    masks = dict.fromkeys((name for name in FEATURES if name not in SINGLE_TRANSIT_FEATURES), Reason.SINGLE_TRANSIT)
    values = {name: None if name in masks else value for name, value in features.values.items()}
    kept = {name: reason for name, reason in features.masks.items() if name not in masks}
    return Features(values, {**kept, **masks}, features.evidence)


def mask_all_features(reason: str) -> Features:
    """Return features that are all masked for one reason: the row of a star without a candidate.

    Raises ValueError if ``reason`` is not a :class:`~tasks.transits.columns.Reason`.
    """
    word = Reason(reason)
    return Features(dict.fromkeys(FEATURES), dict.fromkeys(FEATURES, word))


def get_finite(value: FeatureValue) -> float | None:
    """Return ``value`` if it is a finite number, else None."""
    value = _check_value(value)
    return None if isinstance(value, Reason) else float(value)


def _check_value(value: FeatureValue) -> FeatureValue:
    """Convert ``value`` to a plain Python number, or to a reason if it is not finite."""
    if isinstance(value, Reason):
        return value
    if isinstance(value, int):
        return int(value)
    return float(value) if math.isfinite(value) else Reason.UNDEFINED
