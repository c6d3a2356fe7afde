"""Prepares an observed light curve for the search.

The trend is a robust running location of each piece between gaps. Of the methods that Hippke et al. 2019 (AJ 158, 143)
compare, the biweight in a time window preserves most transits. Points are binned to half an hour first: a dip that is
hidden in the scatter of two-minute points stands out in such bins, so that the biweight treats it as an outlier.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numba
import numpy as np
from wotan import flatten

from tasks.transits.light_curve import Flags, Floats, Indices, LightCurve, PreparedLightCurve, Star
from tasks.transits.orbit import compute_max_transit_share, compute_scaled_axis
from tasks.transits.outliers import find_short_dips
from tasks.transits.params import TransitParams
from tasks.transits.rotation import measure_rotation_period
from tasks.transits.unsearchable import Unsearchable

__all__ = ["Unsearchable", "compute_max_transit_days", "compute_min_window_days", "prepare"]

MIN_POINTS = 50
# The trend restarts after a longer gap, in which the spacecraft changes its pointing and temperature.
GAP_DAYS = 0.5
BIN_DAYS = 1 / 48
WINDOWS_PER_TRANSIT = 3.0
UPWARD_SIGMA = 4.0
# The first and last points of a piece are not searched. In 17 quarters of Kepler the means of 0.1 days scatter there by
# 0.95 of one point's noise, and by 0.6 elsewhere, due to a settling spacecraft and a one-sided trend. A piece shorter
# than LONG_PIECE_DAYS keeps all its points.
EDGE_DAYS = 0.1
LONG_PIECE_DAYS = 5.0
MIN_TREND = 0.05
MAD_TO_SIGMA = 1.4826
# Far below the noise of any photometer: a flux with less scatter is constant.
_MIN_NOISE = 1e-8


@dataclass(frozen=True)
class _Piece:
    """Points ``start`` to ``end`` (exclusive) of a light curve: part of one segment, without a gap."""

    start: int
    end: int
    days: float

    @property
    def points(self) -> slice:
        return slice(self.start, self.end)


def compute_max_transit_days(period_days: float, star: Star) -> float:
    """Return T14 of a small planet on a circular orbit that crosses the middle of its star.

    T14 = P / pi * asin(R / a), with R / a from Kepler's third law (Seager & Mallen-Ornelas 2003, ApJ 585, 1038): 13
    hours for the Earth. An unknown ``star.density`` is that of the Sun.
    """
    return period_days * compute_max_transit_share(max(compute_scaled_axis(period_days, star.density), 1.0))


def compute_min_window_days(period_days: float, star: Star) -> float:
    """Return the minimum detrending window that preserves transits of periods up to ``period_days``.

    Three times the longest transit (Hippke et al. 2019, section 4.4): in a shorter window, the transit takes too large
    a share.
    """
    return WINDOWS_PER_TRANSIT * compute_max_transit_days(period_days, star)


def compute_window_days(curve: LightCurve, params: TransitParams) -> float:
    """Return the detrending window in days: ``params.window_days``, widened as the maximum period requires."""
    return max(params.window_days, compute_min_window_days(_get_max_period(curve, params), curve.star))


def _get_max_period(curve: LightCurve, params: TransitParams) -> float:
    """Return the maximum period in days; by default, the baseline has room for three of its transits."""
    baseline = float(curve.time[-1] - curve.time[0])
    return min(params.max_period, baseline) if params.max_period else baseline / 2


def prepare(curve: LightCurve, params: TransitParams, in_transit: Flags | None = None) -> PreparedLightCurve:
    """Return ``curve`` over its trend, without upward outliers, with the noise of each segment.

    ``in_transit`` (n,) marks points of ``curve`` that the trend must not follow: given the transits of a search, a
    second call restores the depth that the trend absorbed.

    The result excludes flares and cosmic rays above 4 sigma, the first and last 0.1 days of long pieces between gaps,
    and pieces shorter than the longest transit, in which a trend is indistinguishable from a transit. Of low points, it
    excludes only those that are too short for a transit (:mod:`tasks.transits.outliers`). Raises Unsearchable.
    """
    _check(curve, params)
    pieces = _split_pieces(curve.time, curve.segment)
    trend = _fit_trend(curve, pieces, params, in_transit)
    keep = _find_searchable(curve, pieces, params) & (trend > MIN_TREND)
    if np.count_nonzero(keep) < MIN_POINTS:
        raise Unsearchable("nonpositive_flux", "the trend is zero or negative nearly everywhere")
    flat = curve.flux / np.where(keep, trend, 1.0)
    noise = _estimate_noise(flat, keep, curve.segment)
    keep &= flat - 1.0 < UPWARD_SIGMA * noise
    dips = find_short_dips(curve.time, flat, noise, keep, curve.segment)
    prepared = _select_points(curve, keep & ~dips, trend, flat, noise)
    edges = [time for piece in pieces for time in (curve.time[piece.start], curve.time[piece.end - 1])]
    return replace(
        prepared,
        rotation_days=measure_rotation_period(curve.time[~dips], curve.flux[~dips], curve.segment[~dips]),
        disturbed=curve.disturbed,
        edges=np.array(edges),
        nonpositive=curve.nonpositive,
        short_dips=int(np.count_nonzero(dips)),
    )


def _check(curve: LightCurve, params: TransitParams) -> None:
    count = len(curve.time)
    if count < MIN_POINTS:
        raise Unsearchable("too_few_points", f"{count} points; at least {MIN_POINTS} are needed")
    if np.ptp(curve.flux) < _MIN_NOISE:
        raise Unsearchable("constant_flux", "every point has the same flux")
    baseline = float(curve.time[-1] - curve.time[0])
    if baseline < 2 * params.min_period:
        raise Unsearchable("short_baseline", f"{baseline:.3f} days, of which {2 * params.min_period} are needed")


def _split_pieces(time: Floats, segment: Indices) -> list[_Piece]:
    """Split the light curve at gaps and between segments, in time order."""
    cuts = np.flatnonzero((np.diff(time) > GAP_DAYS) | (np.diff(segment) != 0)) + 1
    bounds = [0, *cuts.tolist(), len(time)]
    return [_Piece(start, end, float(time[end - 1] - time[start])) for start, end in pairwise(bounds)]


def _fit_trend(curve: LightCurve, pieces: Sequence[_Piece], params: TransitParams, masked: Flags | None) -> Floats:
    """Return the trend (n,) of the flux; 1 without detrending."""
    trend = np.ones(len(curve.flux))
    if params.detrend == "none":
        return trend
    window = compute_window_days(curve, params)
    # wotan's kernel is parallel; with several threads it spends four times the CPU on waiting.
    numba.set_num_threads(1)
    for piece in pieces:
        mask = None if masked is None else masked[piece.points]
        trend[piece.points] = _fit_piece_trend(curve.time[piece.points], curve.flux[piece.points], params, window, mask)
    return trend


def _fit_piece_trend(time: Floats, flux: Floats, params: TransitParams, window: float, masked: Flags | None) -> Floats:
    """Return the trend (n,), interpolated between bins; a mask of all points is ignored."""
    free = slice(None) if masked is None or masked.all() else ~masked
    centres, means = _bin_points(time[free], flux[free])
    trend = _compute_running_location(centres, means, params, window)
    # Repeat for the residuals (Tukey's twicing): the slope of a variable star widens the scatter in a window, and
    # without it, shallower dips stand out.
    trend += _compute_running_location(centres, means - trend + 1.0, params, window) - 1.0
    finite = np.isfinite(trend)
    return np.interp(time, centres[finite], trend[finite]) if finite.any() else np.full(len(time), np.nan)


def _compute_running_location(time: Floats, flux: Floats, params: TransitParams, window: float) -> Floats:
    """Return wotan's running location (n,), ignoring gaps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of nonpositive trends, which the caller handles
        _, trend = flatten(
            time, flux, method=params.detrend, window_length=window, break_tolerance=0, return_trend=True
        )
    return np.asarray(trend, dtype=np.float64)


def _bin_points(time: Floats, flux: Floats) -> tuple[Floats, Floats]:
    """Return mean time and flux of each half-hour bin with points; sparser points stay single."""
    number = ((time - time[0]) / BIN_DAYS).astype(np.int64)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    counts = np.diff(starts, append=len(time))
    return np.add.reduceat(time, starts) / counts, np.add.reduceat(flux, starts) / counts


def _find_searchable(curve: LightCurve, pieces: Sequence[_Piece], params: TransitParams) -> Flags:
    """Return flags (n,): False at the edges of long pieces and in pieces as short as a transit."""
    max_transit = compute_max_transit_days(_get_max_period(curve, params), curve.star)
    keep = np.zeros(len(curve.time), dtype=np.bool_)
    for piece in pieces:
        time = curve.time[piece.points]
        edge = EDGE_DAYS if piece.days >= LONG_PIECE_DAYS else 0.0
        keep[piece.points] = (piece.days > max_transit) & (time - time[0] >= edge) & (time[-1] - time >= edge)
    return keep if np.count_nonzero(keep) >= MIN_POINTS else np.ones_like(keep)


def _estimate_noise(flat: Floats, keep: Flags, segment: Indices) -> Floats:
    """Return 1.4826 MAD (n,) of each segment; the standard deviation if more than half of its points are equal."""
    noise = np.zeros(len(flat))
    for index in np.unique(segment):
        mine = segment == index
        values = flat[mine & keep]
        noise[mine] = _measure_scatter(values) if len(values) > 1 else 0.0
    largest = float(noise.max())
    if largest < _MIN_NOISE:
        raise Unsearchable("constant_flux", "the flux is its own trend: it does not scatter")
    return np.where(noise < _MIN_NOISE, largest, noise)


def _measure_scatter(values: Floats) -> float:
    robust = MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))
    return robust if robust >= _MIN_NOISE else float(values.std())


def _select_points(curve: LightCurve, keep: Flags, trend: Floats, flat: Floats, noise: Floats) -> PreparedLightCurve:
    return PreparedLightCurve(
        time=curve.time[keep],
        flux=flat[keep],
        noise=noise[keep],
        trend=trend[keep],
        observed=curve.flux[keep],
        segment=curve.segment[keep],
        segments=curve.segments,
        star=curve.star,
    )
