"""Folds and bins a light curve at a period, and computes the models to draw over it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tasks.transits.candidate import Candidate, TlsFit
from tasks.transits.light_curve import Flags, Floats, Indices, PreparedLightCurve

_BINS_PER_TRANSIT = 8
_DISC_STEPS = 41
# Limb darkening and planet of the default template of TLS: Hippke & Heller 2019, A&A 623, A39, section 3.
_LIMB_DARKENING = (0.4804, 0.1867)
_TEMPLATE_RADIUS_RATIO = 0.03


@dataclass(frozen=True)
class FoldedCurve:
    """The points within a window around mid-transit.

    hours  (m,) from mid-transit
    flux   (m,) detrended
    noise  (m,) one-sigma scatter
    epoch  (m,) number of periods after the first transit
    """

    hours: Floats
    flux: Floats
    noise: Floats
    epoch: Indices

    def select(self, chosen: Flags) -> FoldedCurve:
        """Return the points for which ``chosen`` (m,) is True."""
        return FoldedCurve(self.hours[chosen], self.flux[chosen], self.noise[chosen], self.epoch[chosen])


@dataclass(frozen=True)
class Bins:
    """Means of points. ``error`` is the standard error of each, from the points' noise."""

    hours: Floats
    flux: Floats
    error: Floats


def fold(curve: PreparedLightCurve, candidate: Candidate, shift_days: float, half_width_days: float) -> FoldedCurve:
    """Return the points used for ``candidate``, within ``half_width_days`` of ``shift_days`` after mid-transit."""
    period = candidate.period_days
    since = curve.time - (candidate.transit_time_days + shift_days)
    epoch = np.round(since / period).astype(np.int64)
    away = since - epoch * period
    near = candidate.used & (np.abs(away) <= half_width_days)
    return FoldedCurve(24 * away[near], curve.flux[near], curve.noise[near], epoch[near])


def find_in_transit(time: Floats, candidate: Candidate) -> Flags:
    """Return flags of ``time``: True within half a duration of a transit."""
    period = candidate.period_days
    away = (time - candidate.transit_time_days + period / 2) % period - period / 2
    return np.asarray(np.abs(away) <= candidate.duration_days / 2)


def average_bins(folded: FoldedCurve, width_hours: float) -> Bins:
    """Average in bins of ``width_hours``, one centred on mid-transit, weighted by the inverse variances."""
    numbers = np.round(folded.hours / width_hours).astype(np.int64)
    distinct, index = np.unique(numbers, return_inverse=True)
    weight = folded.noise**-2.0
    total = np.bincount(index, weight, len(distinct))
    flux = np.bincount(index, weight * folded.flux, len(distinct)) / total
    hours = np.bincount(index, weight * folded.hours, len(distinct)) / total
    return Bins(hours, flux, np.asarray(1 / np.sqrt(total)))


def compute_bin_width_hours(duration_days: float) -> float:
    """Return the bin width for eight bins per transit."""
    return 24 * duration_days / _BINS_PER_TRANSIT


def make_trapezoid(candidate: Candidate, half_width_hours: float) -> tuple[Floats, Floats]:
    """Return the corners of the best trapezoid, as hours from mid-transit and flux; a box without ingress."""
    half = 12 * candidate.duration_days
    flat = half * (1 - 2 * min(max(candidate.ingress_fraction, 0.0), 0.5))
    edge = max(half_width_hours, half)
    hours = np.array([-edge, -half, -flat, flat, half, edge])
    bottom = 1 - candidate.depth
    return hours, np.array([1.0, 1.0, bottom, bottom, 1.0, 1.0])


def make_tls_transit(
    fit: TlsFit, candidate: Candidate, middle_days: float, half_width_hours: float
) -> tuple[Floats, Floats]:
    """Return the transit of TLS as hours from the candidate's mid-transit and flux, with the times of its own fit.

    If the periods differ, the two drift apart; the result is for the time ``middle_days``.
    """
    steps, shape = _compute_template()
    cycles = round((middle_days - candidate.transit_time_days) / candidate.period_days)
    late = fit.transit_time_days - (candidate.transit_time_days + cycles * candidate.period_days)
    late -= round(late / fit.period_days) * fit.period_days
    hours = 24 * (late + steps * fit.duration_days / 2)
    edge = max(half_width_hours, float(np.abs(hours).max()))
    return np.concatenate([[-edge], hours, [edge]]), np.concatenate([[1.0], 1 - fit.depth * shape, [1.0]])


@functools.lru_cache(maxsize=1)
def _compute_template() -> tuple[Floats, Floats]:
    """Return the relative depth against the time from mid-transit over half the duration, from -1 to 1.

    A small planet crosses the middle of a star with quadratic limb darkening and hides the mean brightness under its
    disc (Mandel & Agol 2002, ApJ 580, L171, section 5), here summed on a grid over that disc.
    """
    steps = np.linspace(-1.0, 1.0, 121)
    grid = np.linspace(-1, 1, _DISC_STEPS) * _TEMPLATE_RADIUS_RATIO
    columns, rows = np.meshgrid(grid, grid)
    covered = np.hypot(columns, rows) <= _TEMPLATE_RADIUS_RATIO
    across, along = columns[covered], rows[covered]
    hidden = _compute_brightness(np.hypot(steps[:, None] * (1 + _TEMPLATE_RADIUS_RATIO) + across, along)).mean(axis=1)
    return steps, hidden / hidden.max()


def _compute_brightness(radius: Floats) -> Floats:
    """Return the brightness of the star's disc at ``radius`` (1 is the limb), 0 outside."""
    cosine = np.sqrt(np.clip(1 - radius**2, 0, None))
    first, second = _LIMB_DARKENING
    return np.where(radius < 1, 1 - first * (1 - cosine) - second * (1 - cosine) ** 2, 0.0)


def list_transit_times(curve: PreparedLightCurve, candidate: Candidate) -> Floats:
    """Return the mid-times of the transits with points, ascending."""
    points = curve.time[find_in_transit(curve.time, candidate)]
    epochs = np.unique(np.round((points - candidate.transit_time_days) / candidate.period_days))
    return np.asarray(candidate.transit_time_days + epochs * candidate.period_days)


def split_runs(curve: PreparedLightCurve, max_gap_days: float) -> Iterator[slice]:
    """Yield the runs of points of one segment without a longer gap."""
    ends = np.flatnonzero((np.diff(curve.time) > max_gap_days) | (np.diff(curve.segment) != 0)) + 1
    edges = [0, *ends.tolist(), len(curve.time)]
    return (slice(start, stop) for start, stop in pairwise(edges))
