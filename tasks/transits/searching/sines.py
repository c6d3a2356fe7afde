"""Detects smooth variations (pulsation, rotation, ellipsoidal variation): a sine explains them better than a transit.

A box search finds the minima of a sine at the sine's period, and every second or third minimum at two or three times
this period. A transit takes a small share of its period, so a sine at any of these periods explains at most a quarter
of the gain of a box. For a smooth variation, the sine explains several times the gain of the box (the SWEET test of
Thompson et al. 2018, ApJS 235, 38, section A.3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.transits.light_curve import Floats
from tasks.transits.searching.points import Points

_MULTIPLES = (1 / 3, 1 / 2, 1.0, 2.0)  # periods of sines to try, in periods of the dimming
_PROMISING = 0.5  # of the transit's gain at the exact multiple; such sines are refined
_STEPS = 10  # periods to try on either side, over one resolution of the baseline


@dataclass(frozen=True)
class Sine:
    """One sine: ``level + a cos + b sin`` of ``2 pi (time - origin) / period``; ``gain`` in chi-square."""

    period_days: float
    origin_days: float
    level: float
    cosine: float
    sine: float
    gain: float

    def compute_flux(self, time: Floats) -> Floats:
        """Return the flux (n,) of the star, about 1."""
        phase = 2 * np.pi * (time - self.origin_days) / self.period_days
        return np.asarray(self.level + self.cosine * np.cos(phase) + self.sine * np.sin(phase))


def find_better_sine(points: Points, period_days: float, gain: float) -> Sine | None:
    """Return a sine that explains more than ``gain`` of a transit of ``period_days``; None if there is none."""
    sines = [fit_sine(points, period_days * multiple) for multiple in _MULTIPLES]
    promising = [_refine_sine(points, sine) for sine in sines if sine.gain > _PROMISING * gain]
    return max((sine for sine in promising if sine.gain > gain), key=lambda sine: sine.gain, default=None)


def fit_sine(points: Points, period_days: float) -> Sine:
    """Fit a sine of one period by weighted linear least squares."""
    origin = float(points.time[0])
    phase = 2 * np.pi * (points.time - origin) / period_days
    weight = 1.0 / points.noise
    design = np.stack([weight, weight * np.cos(phase), weight * np.sin(phase)], axis=1)
    target = weight * (points.flux - 1.0)
    normal = design.T @ design
    solution = np.linalg.lstsq(normal, design.T @ target, rcond=None)[0]
    flat = float(weight @ target) ** 2 / float(weight @ weight)
    level, cosine, sine = (float(value) for value in solution)
    return Sine(period_days, origin, 1.0 + level, cosine, sine, float(solution @ normal @ solution) - flat)


def _refine_sine(points: Points, sine: Sine) -> Sine:
    """Return the best sine within one resolution of the baseline."""
    baseline = float(points.time[-1] - points.time[0])
    shifts = np.arange(-_STEPS, _STEPS + 1) / (_STEPS * baseline)
    frequencies = 1.0 / sine.period_days + shifts
    return max((fit_sine(points, 1.0 / f) for f in frequencies[frequencies > 0]), key=lambda trial: trial.gain)
