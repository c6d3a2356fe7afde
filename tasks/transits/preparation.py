"""From a light curve as it was observed to one that can be searched.

The trend is a robust running location (of those that Hippke et al. 2019, AJ 158, 143, compare, the biweight in a window
of time keeps most transits), of each piece between gaps alone, and in bins of half an hour: a dip that is lost in the
scatter of two-minute points stands out of that of such bins, so that the biweight takes it for an outlier.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
from wotan import flatten

from tasks.transits.light_curve import Flags, Floats, Indices, LightCurve, PreparedLightCurve, Star
from tasks.transits.orbit import compute_max_transit_share, compute_scaled_axis
from tasks.transits.params import TransitParams
from tasks.transits.rotation import rotation_period
from tasks.transits.unsearchable import Unsearchable

__all__ = ["Unsearchable", "least_window_days", "longest_transit_days", "prepare"]

MIN_POINTS = 50
# A longer gap lets the trend begin anew: spacecraft point anew, cool and warm in it.
GAP_DAYS = 0.5
BIN_DAYS = 1 / 48
WINDOWS_PER_TRANSIT = 3.0
UPWARD_SIGMA = 4.0
# The first and last points of a piece are not searched. In 17 quarters of Kepler the means of 0.1 days scatter there by
# 0.95 of one point's noise, and by 0.6 everywhere else: a spacecraft that settles, and a trend that sees one side only.
# A piece of less than LONG_PIECE_DAYS has none to spare.
EDGE_DAYS = 0.1
LONG_PIECE_DAYS = 5.0
MIN_TREND = 0.05
MAD_TO_SIGMA = 1.4826
# Of the noise, far below any photometer's: a flux that scatters less does not scatter.
_MIN_NOISE = 1e-8


@dataclass(frozen=True)
class _Piece:
    """Points ``start`` to ``end`` (exclusive) of a light curve: of one segment, without a gap."""

    start: int
    end: int
    days: float

    @property
    def points(self) -> slice:
        return slice(self.start, self.end)


def longest_transit_days(period_days: float, star: Star) -> float:
    """First to fourth contact of a small planet on a circular orbit that crosses the middle of its star.

    T14 = P / pi * asin(R / a), with R / a from Kepler's third law (Seager & Mallen-Ornelas 2003, ApJ 585, 1038): 13
    hours for the Earth. ``star.density`` is the Sun's where it is unknown.
    """
    return period_days * compute_max_transit_share(max(compute_scaled_axis(period_days, star.density), 1.0))


def least_window_days(period_days: float, star: Star) -> float:
    """The shortest window of a detrending that leaves transits of periods up to ``period_days`` in place.

    Three times the longest transit (Hippke et al. 2019, section 4.4): in a shorter window, too much of it is transit.
    """
    return WINDOWS_PER_TRANSIT * longest_transit_days(period_days, star)


def window_of(curve: LightCurve, params: TransitParams) -> float:
    """Days of the detrending's window: ``params.window_days``, widened to what the longest period searched needs."""
    return max(params.window_days, least_window_days(_longest_period(curve, params), curve.star))


def _longest_period(curve: LightCurve, params: TransitParams) -> float:
    """Days; where none is asked for, that of which there is room for three transits."""
    baseline = float(curve.time[-1] - curve.time[0])
    return min(params.max_period, baseline) if params.max_period else baseline / 2


def prepare(curve: LightCurve, params: TransitParams, in_transit: Flags | None = None) -> PreparedLightCurve:
    """``curve`` over its trend, without upward outliers, with the noise of each segment.

    ``in_transit`` (n,) are points of ``curve`` that the trend must not follow: with the transits that a search found, a
    second call gives their depth without what the trend took of it.

    Left out, besides flares and cosmic rays above 4 sigma: the first and last 0.1 days of long pieces between gaps, and
    pieces shorter than the longest transit, in which no trend can be told from one. Nothing is ever left out for being
    low. Raises Unsearchable.
    """
    _check(curve, params)
    pieces = _pieces(curve.time, curve.segment)
    trend = _trend(curve, pieces, params, in_transit)
    keep = _searchable(curve, pieces, params) & (trend > MIN_TREND)
    if np.count_nonzero(keep) < MIN_POINTS:
        raise Unsearchable("nonpositive_flux", "the trend is zero or negative nearly everywhere")
    flat = curve.flux / np.where(keep, trend, 1.0)
    noise = _noise(flat, keep, curve.segment)
    keep &= flat - 1.0 < UPWARD_SIGMA * noise
    return _kept(curve, keep, trend, flat, noise)


def _check(curve: LightCurve, params: TransitParams) -> None:
    count = len(curve.time)
    if count < MIN_POINTS:
        raise Unsearchable("too_few_points", f"{count} points; at least {MIN_POINTS} are needed")
    if np.ptp(curve.flux) < _MIN_NOISE:
        raise Unsearchable("constant_flux", "every point has the same flux")
    baseline = float(curve.time[-1] - curve.time[0])
    if baseline < 2 * params.min_period:
        raise Unsearchable("short_baseline", f"{baseline:.3f} days, of which {2 * params.min_period} are needed")


def _pieces(time: Floats, segment: Indices) -> list[_Piece]:
    """What lies between gaps and between segments, in order of time."""
    cuts = np.flatnonzero((np.diff(time) > GAP_DAYS) | (np.diff(segment) != 0)) + 1
    bounds = [0, *cuts.tolist(), len(time)]
    return [_Piece(start, end, float(time[end - 1] - time[start])) for start, end in pairwise(bounds)]


def _trend(curve: LightCurve, pieces: Sequence[_Piece], params: TransitParams, masked: Flags | None) -> Floats:
    """(n,) of the flux; 1 without detrending."""
    trend = np.ones(len(curve.flux))
    if params.detrend == "none":
        return trend
    window = window_of(curve, params)
    # wotan's kernel is parallel: with more threads than one it spends four times the work on waiting.
    numba.set_num_threads(1)
    for piece in pieces:
        mask = None if masked is None else masked[piece.points]
        trend[piece.points] = _piece_trend(curve.time[piece.points], curve.flux[piece.points], params, window, mask)
    return trend


def _piece_trend(time: Floats, flux: Floats, params: TransitParams, window: float, masked: Flags | None) -> Floats:
    """(n,) between the trend of bins; where all is masked, as if nothing were."""
    free = slice(None) if masked is None or masked.all() else ~masked
    centres, means = _binned(time[free], flux[free])
    trend = _running(centres, means, params, window)
    # Once more, of what is left (Tukey's twicing): without the slope of a variable star, which widens the scatter in a
    # window, dips stand out of it that did not before.
    trend += _running(centres, means - trend + 1.0, params, window) - 1.0
    known = np.isfinite(trend)
    return np.interp(time, centres[known], trend[known]) if known.any() else np.full(len(time), np.nan)


def _running(time: Floats, flux: Floats, params: TransitParams, window: float) -> Floats:
    """wotan's running location (n,), without a look at gaps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of trends that are not positive: seen to by the caller
        _, trend = flatten(
            time, flux, method=params.detrend, window_length=window, break_tolerance=0, return_trend=True
        )
    return np.asarray(trend, dtype=np.float64)


def _binned(time: Floats, flux: Floats) -> tuple[Floats, Floats]:
    """Mean time and flux of each bin of half an hour that has points: of each point, where those are farther apart."""
    number = ((time - time[0]) / BIN_DAYS).astype(np.int64)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    counts = np.diff(starts, append=len(time))
    return np.add.reduceat(time, starts) / counts, np.add.reduceat(flux, starts) / counts


def _searchable(curve: LightCurve, pieces: Sequence[_Piece], params: TransitParams) -> Flags:
    """(n,) False at the edges of long pieces and in pieces that a transit can fill; all, where that leaves none."""
    longest = longest_transit_days(_longest_period(curve, params), curve.star)
    keep = np.zeros(len(curve.time), dtype=np.bool_)
    for piece in pieces:
        time = curve.time[piece.points]
        edge = EDGE_DAYS if piece.days >= LONG_PIECE_DAYS else 0.0
        keep[piece.points] = (piece.days > longest) & (time - time[0] >= edge) & (time[-1] - time >= edge)
    return keep if np.count_nonzero(keep) >= MIN_POINTS else np.ones_like(keep)


def _noise(flat: Floats, keep: Flags, segment: Indices) -> Floats:
    """(n,) 1.4826 MAD of each segment; the standard deviation, where more than half of its points are equal."""
    noise = np.zeros(len(flat))
    for index in np.unique(segment):
        mine = segment == index
        values = flat[mine & keep]
        noise[mine] = _scatter(values) if len(values) > 1 else 0.0
    largest = float(noise.max())
    if largest < _MIN_NOISE:
        raise Unsearchable("constant_flux", "the flux is its own trend: it does not scatter")
    return np.where(noise < _MIN_NOISE, largest, noise)


def _scatter(values: Floats) -> float:
    robust = MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))
    return robust if robust >= _MIN_NOISE else float(values.std())


def _kept(curve: LightCurve, keep: Flags, trend: Floats, flat: Floats, noise: Floats) -> PreparedLightCurve:
    return PreparedLightCurve(
        time=curve.time[keep],
        flux=flat[keep],
        noise=noise[keep],
        trend=trend[keep],
        observed=curve.flux[keep],
        segment=curve.segment[keep],
        segments=curve.segments,
        star=curve.star,
        rotation_days=rotation_period(curve.time, curve.flux, curve.segment),
    )
