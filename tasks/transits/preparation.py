"""From a light curve as it was observed to one that can be searched."""

from __future__ import annotations

import numba
import numpy as np
from wotan import flatten

from tasks.transits.light_curve import Flags, Floats, LightCurve, PreparedLightCurve
from tasks.transits.params import TransitParams
from tasks.transits.unsearchable import Unsearchable

__all__ = ["Unsearchable", "prepare"]

MIN_POINTS = 50
BREAK_DAYS = 0.5
UPWARD_SIGMA = 4.0
_MAD_TO_SIGMA = 1.4826


def prepare(curve: LightCurve, params: TransitParams) -> PreparedLightCurve:
    """Detrended, without upward outliers, with the noise of each segment."""
    _check(curve, params)
    trend = _trend(curve, params)
    flat = curve.flux / trend
    noise = _noise(flat, curve)
    keep = np.isfinite(flat) & (flat - 1 < UPWARD_SIGMA * noise)
    return _prepared(curve, keep, trend, flat, noise)


def _prepared(curve: LightCurve, keep: Flags, trend: Floats, flat: Floats, noise: Floats) -> PreparedLightCurve:
    parts = (curve.time, flat, noise, trend, curve.flux)
    time, flux, scatter, slow, observed = (np.ascontiguousarray(part[keep]) for part in parts)
    return PreparedLightCurve(
        time, flux, scatter, slow, observed, curve.segment[keep], curve.segments, curve.star, None
    )


def _check(curve: LightCurve, params: TransitParams) -> None:
    count = len(curve.time)
    if count < MIN_POINTS:
        raise Unsearchable("too_few_points", f"{count} points, and at least {MIN_POINTS} are needed")
    if np.ptp(curve.flux) == 0 or np.median(np.abs(np.diff(curve.flux))) == 0:
        raise Unsearchable("constant_flux", "the flux does not change from one point to the next")
    baseline = curve.time[-1] - curve.time[0]
    if baseline < 2 * params.min_period:
        raise Unsearchable("short_baseline", f"{baseline:.3f} days, for periods from {params.min_period} days")


def _trend(curve: LightCurve, params: TransitParams) -> Floats:
    trend = np.ones_like(curve.flux)
    if params.detrend == "none":
        return trend
    numba.set_num_threads(1)
    for index in range(len(curve.segments)):
        mine = curve.segment == index
        if mine.any():
            trend[mine] = flatten(
                curve.time[mine],
                curve.flux[mine],
                method=params.detrend,
                window_length=params.window_days,
                break_tolerance=BREAK_DAYS,
                edge_cutoff=0,
                return_trend=True,
            )[1]
    return trend


def _noise(flat: Floats, curve: LightCurve) -> Floats:
    noise = np.empty_like(flat)
    for index in range(len(curve.segments)):
        mine = curve.segment == index
        if mine.any():
            values = flat[mine]
            noise[mine] = _MAD_TO_SIGMA * np.median(np.abs(values - np.median(values)))
    floor = float(np.median(noise)) or 1e-6
    return np.where(noise > 0, noise, floor)
