"""What is measured of a candidate: a value or a reason for each feature, never neither and never both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tasks.transits.columns import FEATURES, Reason

Measured: TypeAlias = float | int | Reason

PPM = 1e6


@dataclass(frozen=True)
class Evidence:
    """What flags look at beside the features; None where it could not be measured.

    largest_event_snr       signal-to-noise of the best single transit, in pink noise
    tertiary_significance   sigma of the best dip clear of the transit and the secondary
    positive_significance   sigma of the best brightening clear of both
    half_turn_mismatch_sigma
                            by how much a dip half a turn later differs in depth; None where the secondary is not there
    """

    largest_event_snr: float | None = None
    tertiary_significance: float | None = None
    positive_significance: float | None = None
    half_turn_mismatch_sigma: float | None = None


@dataclass(frozen=True)
class Features:
    """The 27 features of one candidate.

    values    every name of ``FEATURES`` in that order; finite, or None
    masks     the names whose value is None, and why
    """

    values: Mapping[str, float | int | None]
    masks: Mapping[str, Reason]
    evidence: Evidence = Evidence()

    def number(self, name: str) -> float | None:
        """The value of one feature as a number, None where it is masked."""
        value = self.values[name]
        return None if value is None else float(value)


def collected(measured: Mapping[str, Measured], evidence: Evidence) -> Features:
    """Features of what was measured: all 27 names. What is not finite is masked as ``undefined``."""
    sound = {name: _sound(measured[name]) for name in FEATURES}
    values = {name: None if isinstance(value, Reason) else value for name, value in sound.items()}
    return Features(values, {name: value for name, value in sound.items() if isinstance(value, Reason)}, evidence)


def masked_features(reason: str) -> Features:
    """All 27 masked for one reason: the row of a star without a candidate.

    Raises ValueError where ``reason`` is no word of :class:`~tasks.transits.columns.Reason`.
    """
    word = Reason(reason)
    return Features(dict.fromkeys(FEATURES), dict.fromkeys(FEATURES, word))


def known(value: Measured) -> float | None:
    """``value`` where it is a finite number."""
    value = _sound(value)
    return None if isinstance(value, Reason) else float(value)


def _sound(value: Measured) -> Measured:
    """Plain Python numbers, and a reason for what is not finite."""
    if isinstance(value, Reason):
        return value
    if isinstance(value, int):
        return int(value)
    return float(value) if math.isfinite(value) else Reason.UNDEFINED
