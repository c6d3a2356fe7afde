"""Refines a peak and resolves its harmonics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.transits.searching.boxes import search_boxes
from tasks.transits.searching.grid import Grid
from tasks.transits.searching.points import Points
from tasks.transits.searching.trapezoid import Signal

_MULTIPLES = (2.0, 3.0)
_HARMONICS = (1 / 3, 1 / 2, 2 / 3, 3 / 2, *_MULTIPLES)
_MIN_GAIN_RATIO = 1.02  # by which a shorter or incommensurate harmonic must beat the peak
_MIN_GAIN_RATIO_OF_MULTIPLE = 0.98  # a multiple of the period wins with less: then the transits between fall into gaps
_STEPS = 2  # of the grid, on either side of a peak
_FINE_STEPS = 10  # trial periods per step of the grid
_FINE_BINS = 16  # phase bins in the shortest box
_MAX_SHARE = 0.3  # of the period


@dataclass(frozen=True)
class Box:
    """The best box near a period; ``gain`` as in :class:`~tasks.transits.searching.boxes.BoxSpectrum`."""

    signal: Signal
    gain: float


def resolve_harmonics(points: Points, grid: Grid, signal: Signal) -> Box:
    """Return the best box near the period of ``signal``, or near a harmonic that explains the curve better."""
    best = find_closest_box(points, grid, signal.period_days, signal.duration_days)
    for factor in _HARMONICS:
        period = signal.period_days * factor
        if grid.period_days[0] <= period <= grid.period_days[-1]:
            other = find_closest_box(points, grid, period, signal.duration_days)
            if other.gain > best.gain * (_MIN_GAIN_RATIO_OF_MULTIPLE if factor in _MULTIPLES else _MIN_GAIN_RATIO):
                best = other
    return best


def find_closest_box(points: Points, grid: Grid, period_days: float, duration_days: float) -> Box:
    """Return the best box within two steps of ``grid`` of the period, half to twice as long as ``duration_days``."""
    steps = np.arange(-_STEPS * _FINE_STEPS, _STEPS * _FINE_STEPS + 1) / _FINE_STEPS
    periods = period_days + grid.get_step_days(period_days) * steps
    share = duration_days / periods
    spectrum = search_boxes(points, Grid(periods, 0.5 * share, np.minimum(2.0 * share, _MAX_SHARE)), _FINE_BINS)
    best = int(np.argmax(spectrum.gain))
    return Box(spectrum.get_signal(best), float(spectrum.gain[best]))
