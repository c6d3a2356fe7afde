"""A trapezoid fitted to a periodic dimming: exact period, time and duration, and how steep its sides are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from tasks.transits.light_curve import Floats
from tasks.transits.searching.points import Points

MAX_INGRESS = 0.5  # of the whole duration: a V
_STARTS = (0.1, 0.35)  # ingress fractions to start from
_REACH = 1.5  # durations on either side of mid-transit that take part in the fit


@dataclass(frozen=True)
class Signal:
    """A strictly periodic dimming. ``transit_time_days`` is some mid-transit, ``duration_days`` T14."""

    period_days: float
    transit_time_days: float
    duration_days: float
    ingress_fraction: float = 0.1

    def first_after(self, time_days: float) -> float:
        """Mid-transit of the first transit at or after ``time_days``."""
        cycles = math.ceil((time_days - self.transit_time_days) / self.period_days)
        return self.transit_time_days + cycles * self.period_days

    def offset_days(self, time: Floats) -> Floats:
        """(n,) days from the nearest mid-transit, from minus to plus half a period."""
        cycles = (time - self.transit_time_days) / self.period_days
        return np.asarray((cycles - np.round(cycles)) * self.period_days)

    def shape(self, time: Floats) -> Floats:
        """(n,) share of the full depth at each time: 0 outside, 1 between second and third contact."""
        ingress = max(self.ingress_fraction, 1e-6) * self.duration_days
        inside = (self.duration_days / 2 - np.abs(self.offset_days(time))) / ingress
        return np.asarray(np.clip(inside, 0.0, 1.0))


@dataclass(frozen=True)
class TrapezoidFit:
    """The best trapezoid.

    depth, depth_uncertainty   as fractions; at the trapezoid's bottom
    period_uncertainty_days    from the fit's curvature; None where the data do not hold it
    gain                       chi-square of a flat line minus that of the trapezoid, in the points near transits
    """

    signal: Signal
    depth: float
    depth_uncertainty: float
    period_uncertainty_days: float | None
    gain: float


def fit_trapezoid(points: Points, start: Signal) -> TrapezoidFit:
    """Fit period, time, duration and ingress by least squares; the depth follows linearly at each step.

    ``start`` must lie within a fraction of a duration of the truth at both ends of the curve. Where no point is near
    any of its transits, it comes back with a depth of 0 that is infinitely uncertain.
    """
    near = points.where(np.abs(start.offset_days(points.time)) < _REACH * start.duration_days)
    if not len(near.time):
        return TrapezoidFit(start, depth=0.0, depth_uncertainty=math.inf, period_uncertainty_days=None, gain=0.0)
    curve = (near.time, (1.0 - near.flux) / near.noise, 1.0 / near.noise)
    fits = [_fit(curve, start, ingress) for ingress in _STARTS]
    return max(fits, key=lambda fit: fit.gain)


def _fit(curve: tuple[Floats, Floats, Floats], start: Signal, ingress: float) -> TrapezoidFit:
    time, deficit, weight = curve
    reference = _middle_transit(time, start)
    cycles = max(1.0, float(np.abs(time - reference).max()) / start.period_days)
    # One unit of each parameter moves the model alike: by a duration in time, at the far end for the period.
    scale = np.array([start.duration_days / cycles, start.duration_days, start.duration_days, 1.0])
    origin = np.array([start.period_days, reference, start.duration_days, 0.0])

    def signal_of(x: Floats) -> Signal:
        period, middle, duration, fraction = (float(value) for value in origin + scale * x)
        return Signal(period, middle, duration, fraction)

    def residual(x: Floats) -> Floats:
        model = signal_of(x).shape(time) * weight
        return deficit - _depth(model, deficit) * model

    longest = min(2.0, 0.5 * start.period_days / start.duration_days) - 1.0
    bounds = ([-0.5, -0.5, -0.7, 0.02], [0.5, 0.5, max(longest, 0.1), MAX_INGRESS])
    x0 = np.array([0.0, 0.0, 0.0, ingress])
    found = least_squares(
        residual, x0, bounds=bounds, diff_step=1e-3, max_nfev=40, x_scale=np.array([0.1, 0.1, 0.2, 0.2])
    )
    signal = signal_of(found.x)
    model = signal.shape(time) * weight
    power = float(model @ model)
    gain = float(deficit @ deficit - found.fun @ found.fun)
    spread = _spread(found.jac)
    return TrapezoidFit(
        signal,
        depth=_depth(model, deficit),
        depth_uncertainty=power**-0.5 if power > 0 else float("inf"),
        period_uncertainty_days=None if spread is None else spread * float(scale[0]),
        gain=gain,
    )


def _middle_transit(time: Floats, start: Signal) -> float:
    """The transit nearest to the middle of the curve: there, errors of period and time are least entangled."""
    cycle = round((float(time.mean()) - start.transit_time_days) / start.period_days)
    return start.transit_time_days + cycle * start.period_days


def _depth(model: Floats, deficit: Floats) -> float:
    power = float(model @ model)
    return float(model @ deficit) / power if power > 0 else 0.0


def _spread(jacobian: Floats) -> float | None:
    """One sigma of the first parameter."""
    try:
        variance = float(np.linalg.inv(jacobian.T @ jacobian)[0, 0])
    except np.linalg.LinAlgError:
        return None
    return variance**0.5 if np.isfinite(variance) and variance > 0 else None
