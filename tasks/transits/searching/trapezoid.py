"""Fits a trapezoid to a periodic dimming: exact period, time and duration, and the steepness of its sides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from tasks.transits.light_curve import Floats
from tasks.transits.searching.points import Points

MAX_INGRESS = 0.5  # of the whole duration; V-shaped
_STARTS = (0.1, 0.35)  # initial ingress fractions
_REACH = 1.5  # durations on either side of mid-transit to fit


@dataclass(frozen=True)
class Signal:
    """A strictly periodic dimming. ``transit_time_days`` is any mid-transit, ``duration_days`` is T14."""

    period_days: float
    transit_time_days: float
    duration_days: float
    ingress_fraction: float = 0.1

    def find_first_transit(self, time_days: float) -> float:
        """Return mid-transit of the first transit at or after ``time_days``."""
        cycles = math.ceil((time_days - self.transit_time_days) / self.period_days)
        return self.transit_time_days + cycles * self.period_days

    def compute_offset_days(self, time: Floats) -> Floats:
        """Return days (n,) from the nearest mid-transit, from minus to plus half a period."""
        cycles = (time - self.transit_time_days) / self.period_days
        return np.asarray((cycles - np.round(cycles)) * self.period_days)

    def compute_shape(self, time: Floats) -> Floats:
        """Return the share (n,) of the full depth at each time: 0 outside, 1 between second and third contact."""
        ingress = max(self.ingress_fraction, 1e-6) * self.duration_days
        inside = (self.duration_days / 2 - np.abs(self.compute_offset_days(time))) / ingress
        return np.asarray(np.clip(inside, 0.0, 1.0))


@dataclass(frozen=True)
class TrapezoidFit:
    """The best trapezoid.

    depth, depth_uncertainty   fractions, at the trapezoid's bottom
    period_uncertainty_days    from the fit's curvature; None if the data do not constrain the period
    gain                       chi-square of a flat line minus that of the trapezoid, in the points near transits
    """

    signal: Signal
    depth: float
    depth_uncertainty: float
    period_uncertainty_days: float | None
    gain: float


def fit_trapezoid(points: Points, start: Signal) -> TrapezoidFit:
    """Fit period, time, duration and ingress by least squares, and the depth linearly at each step.

    ``start`` must lie within a fraction of a duration of the truth at both ends of the curve. If its transits contain
    no point, the result is ``start`` with a depth of 0 and an infinite uncertainty.
    """
    near = points.select(np.abs(start.compute_offset_days(points.time)) < _REACH * start.duration_days)
    if not len(near.time):
        return TrapezoidFit(start, depth=0.0, depth_uncertainty=math.inf, period_uncertainty_days=None, gain=0.0)
    curve = (near.time, (1.0 - near.flux) / near.noise, 1.0 / near.noise)
    fits = [_fit(curve, start, ingress) for ingress in _STARTS]
    return max(fits, key=lambda fit: fit.gain)


def measure_trapezoid(points: Points, signal: Signal) -> TrapezoidFit:
    """Measure the depth of ``signal`` as it is, without fitting its period, time or shape."""
    near = points.select(np.abs(signal.compute_offset_days(points.time)) < _REACH * signal.duration_days)
    deficit, weight = (1.0 - near.flux) / near.noise, 1.0 / near.noise
    model = signal.compute_shape(near.time) * weight
    power = float(model @ model)
    if power <= 0.0:
        return TrapezoidFit(signal, depth=0.0, depth_uncertainty=math.inf, period_uncertainty_days=None, gain=0.0)
    depth = _fit_depth(model, deficit)
    return TrapezoidFit(signal, depth, power**-0.5, None, gain=depth * abs(depth) * power)


def _fit(curve: tuple[Floats, Floats, Floats], start: Signal, ingress: float) -> TrapezoidFit:
    time, deficit, weight = curve
    reference = _find_middle_transit(time, start)
    cycles = max(1.0, float(np.abs(time - reference).max()) / start.period_days)
    # One unit of each parameter shifts the model by about one duration (for the period: at the far end).
    scale = np.array([start.duration_days / cycles, start.duration_days, start.duration_days, 1.0])
    origin = np.array([start.period_days, reference, start.duration_days, 0.0])

    def make_signal(x: Floats) -> Signal:
        period, middle, duration, fraction = (float(value) for value in origin + scale * x)
        return Signal(period, middle, duration, fraction)

    def compute_residual(x: Floats) -> Floats:
        model = make_signal(x).compute_shape(time) * weight
        return deficit - _fit_depth(model, deficit) * model

    max_stretch = min(2.0, 0.5 * start.period_days / start.duration_days) - 1.0
    bounds = ([-0.5, -0.5, -0.7, 0.02], [0.5, 0.5, max(max_stretch, 0.1), MAX_INGRESS])
    x0 = np.array([0.0, 0.0, 0.0, ingress])
    solution = least_squares(
        compute_residual, x0, bounds=bounds, diff_step=1e-3, max_nfev=40, x_scale=np.array([0.1, 0.1, 0.2, 0.2])
    )
    signal = make_signal(solution.x)
    model = signal.compute_shape(time) * weight
    power = float(model @ model)
    gain = float(deficit @ deficit - solution.fun @ solution.fun)
    sigma = _estimate_sigma(solution.jac)
    return TrapezoidFit(
        signal,
        depth=_fit_depth(model, deficit),
        depth_uncertainty=power**-0.5 if power > 0 else float("inf"),
        period_uncertainty_days=None if sigma is None else sigma * float(scale[0]),
        gain=gain,
    )


def _find_middle_transit(time: Floats, start: Signal) -> float:
    """Return the transit nearest to the middle of the curve, where errors of period and time are least correlated."""
    cycle = round((float(time.mean()) - start.transit_time_days) / start.period_days)
    return start.transit_time_days + cycle * start.period_days


def _fit_depth(model: Floats, deficit: Floats) -> float:
    power = float(model @ model)
    return float(model @ deficit) / power if power > 0 else 0.0


def _estimate_sigma(jacobian: Floats) -> float | None:
    """Return one sigma of the first parameter; None if the fit does not constrain it."""
    try:
        variance = float(np.linalg.inv(jacobian.T @ jacobian)[0, 0])
    except np.linalg.LinAlgError:
        return None
    return variance**0.5 if np.isfinite(variance) and variance > 0 else None
