"""The search: the strongest signal, then the strongest of what is left when it is masked, and so on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.transits.boxes import BoxSpectrum, search_boxes
from tasks.transits.candidate import Candidate, Periodogram, TlsFit
from tasks.transits.grid import Grid, search_grid
from tasks.transits.light_curve import Flags, Floats, PreparedLightCurve
from tasks.transits.params import TransitParams
from tasks.transits.spectrum import Background, background
from tasks.transits.tls import TlsSearch, flat_chi_square, search_transits
from tasks.transits.trapezoid import Signal, TrapezoidFit, fit_trapezoid

MASKED_DURATIONS = 1.5  # of a found signal's duration, around mid-transit, are left out of further searches
MAX_EVENTS = 8  # single dimmings that may be set aside in one star
# Without its strongest transit, a real signal of two equal transits keeps half of its gain. Less than this share is left
# where one dip (a cosmic ray, a jump, one transit of a long period) makes all of the peak.
EVENT_SHARE = 0.15
PEAKS = 5  # peaks of the box search that transit shapes are fitted to
_MULTIPLES = (2.0, 3.0)
_HARMONICS = (1 / 3, 1 / 2, 2 / 3, 3 / 2, *_MULTIPLES)
_BETTER = 1.02  # a shorter or incommensurate harmonic must raise the gain by this much to take the peak's place
_AS_GOOD = 0.98  # a multiple of the period takes its place with this much: then the transits between fall into gaps
_FINE_STEPS = 10  # trial periods to a step of the grid when a peak is looked at closely
_FINE_BINS = 16


@dataclass(frozen=True)
class SearchResult:
    """What a star holds.

    candidates  strongest first, as they were found
    first       the spectrum before anything was masked; None where it is flat
    events      mid-times in days of single dimmings that were set aside
    """

    candidates: tuple[Candidate, ...]
    first: Periodogram | None
    events: tuple[float, ...]


@dataclass(frozen=True)
class _Curve:
    time: Floats
    flux: Floats
    noise: Floats

    def where(self, used: Flags) -> _Curve:
        return _Curve(self.time[used], self.flux[used], self.noise[used])

    @property
    def arrays(self) -> tuple[Floats, Floats, Floats]:
        return self.time, self.flux, self.noise


@dataclass(frozen=True)
class _Found:
    signal: Signal
    fit: TrapezoidFit
    sde: float


def search(curve: PreparedLightCurve, params: TransitParams) -> SearchResult:
    """Every periodic dimming above the thresholds of ``params``, at most ``max_planets``."""
    whole = _Curve(curve.time, curve.flux, curve.noise)
    grid = _grid(curve, params)
    used = np.ones(len(curve.time), dtype=bool)
    candidates: list[Candidate] = []
    events: list[float] = []
    first: Periodogram | None = None
    while len(candidates) < params.max_planets and len(events) <= MAX_EVENTS:
        left = whole.where(used)
        if np.count_nonzero(used) < len(used) // 2:
            break
        spectrum = search_boxes(*left.arrays, grid)
        ground = background(spectrum)
        if ground is None:
            break
        periodogram = _periodogram(spectrum, ground)
        first = first or periodogram
        found = _strongest(left, grid, spectrum, ground, periodogram, params)
        if found is None:
            break
        event = _single_event(left, found.signal)
        if event is not None:
            events.append(event)
            used &= np.abs(whole.time - event) > MASKED_DURATIONS / 2 * found.signal.duration_days
            continue
        candidate = _candidate(len(candidates) + 1, left, used.copy(), found, periodogram, ground, grid, params)
        if candidate.sde < params.min_sde or candidate.snr < params.min_snr:
            break
        candidates.append(candidate)
        offset = found.signal.offset_days(whole.time)
        used &= np.abs(offset) > MASKED_DURATIONS / 2 * found.signal.duration_days
    return SearchResult(tuple(candidates), first, tuple(events))


def _grid(curve: PreparedLightCurve, params: TransitParams) -> Grid:
    longest = min(params.max_period or curve.baseline_days, curve.baseline_days)
    known = curve.star.mass and curve.star.radius
    return search_grid(curve.baseline_days, params.min_period, longest, curve.star.density if known else None)


def _periodogram(spectrum: BoxSpectrum, ground: Background) -> Periodogram:
    power = ground.efficiency(spectrum.flat - spectrum.gain)
    return Periodogram(
        spectrum.period_days, power, spectrum.duration_days, spectrum.depth, spectrum.transit_time_days
    )


# The strongest peak


def _strongest(
    curve: _Curve, grid: Grid, spectrum: BoxSpectrum, ground: Background, periodogram: Periodogram, params: TransitParams
) -> _Found | None:
    peaks = list(_peaks(periodogram.power, PEAKS if params.run_tls else 1))
    if not peaks:
        return None
    best, sde = peaks[0], float(periodogram.power[peaks[0]])
    signal = _signal_at(periodogram, best)
    if params.run_tls:
        fits = [(peak, _transit_near(curve, periodogram.period_days, peak)) for peak in peaks]
        scored = [(float(ground.efficiency(flat_chi_square(curve.flux, curve.noise) - fit.gain, peak)), peak, fit) for peak, fit in fits if fit]
        if scored:
            sde, best, _ = max(scored, key=lambda entry: entry[0])
            signal = _signal_at(periodogram, best)
    signal = _resolved(curve, grid, signal, best)
    fit = fit_trapezoid(*curve.arrays, signal)
    return _Found(fit.signal, fit, sde)


def _peaks(power: Floats, count: int) -> Iterator[int]:
    """The ``count`` highest points of the spectrum that are not on another one's slope, highest first."""
    left = power.copy()
    for _ in range(count):
        best = int(np.argmax(left))
        if left[best] <= 0:
            return
        yield best
        low, high = best, best
        while low > 0 and left[low - 1] <= left[low]:
            low -= 1
        while high < len(left) - 1 and left[high + 1] <= left[high]:
            high += 1
        left[max(0, min(low, best - 3)) : max(high, best + 3) + 1] = -np.inf


def _signal_at(periodogram: Periodogram, index: int) -> Signal:
    return Signal(
        float(periodogram.period_days[index]),
        float(periodogram.transit_time_days[index]),
        float(periodogram.duration_days[index]),
    )


def _transit_near(curve: _Curve, periods: Floats, index: int) -> TlsSearch | None:
    low, high = periods[max(index - 3, 0)], periods[min(index + 3, len(periods) - 1)]
    return search_transits(*curve.arrays, float(low), float(high))


# Harmonics


def _resolved(curve: _Curve, grid: Grid, signal: Signal, index: int) -> Signal:
    """``signal``, or the harmonic of its period that explains the curve better, looked at closely."""
    step = _step_share(grid, signal.period_days)
    best, best_gain = _closely(curve, signal.period_days, signal.duration_days, step)
    for factor in _HARMONICS:
        period = signal.period_days * factor
        if grid.period_days[0] <= period <= grid.period_days[-1]:
            other, gain = _closely(curve, period, signal.duration_days, step * factor ** (1 / 3))
            if gain > best_gain * (_AS_GOOD if factor in _MULTIPLES else _BETTER):
                best, best_gain = other, gain
    return best


def _step_share(grid: Grid, period: float) -> float:
    """Step of the grid at ``period``, as a share of it."""
    index = int(np.clip(np.searchsorted(grid.period_days, period), 1, len(grid) - 1))
    return float(grid.period_days[index] / grid.period_days[index - 1] - 1.0)


def _closely(curve: _Curve, period: float, duration: float, step: float) -> tuple[Signal, float]:
    """The best box within two steps of the grid around ``period``, and its gain."""
    periods = period * (1 + step * np.arange(-2 * _FINE_STEPS, 2 * _FINE_STEPS + 1) / _FINE_STEPS)
    share = duration / periods
    spectrum = search_boxes(*curve.arrays, Grid(periods, 0.5 * share, np.minimum(2.0 * share, 0.3)), _FINE_BINS)
    best = int(np.argmax(spectrum.gain))
    found = Signal(
        float(periods[best]), float(spectrum.transit_time_days[best]), float(spectrum.duration_days[best])
    )
    return found, float(spectrum.gain[best])


# Single dimmings


def _single_event(curve: _Curve, signal: Signal) -> float | None:
    """The mid-time of the one transit that makes nearly all of the signal; None where several do."""
    shape = signal.shape(curve.time) / curve.noise
    near = np.flatnonzero(shape > 0)
    cycle = np.round((curve.time[near] - signal.transit_time_days) / signal.period_days).astype(np.int64)
    cycle -= cycle.min()
    power = np.bincount(cycle, shape[near] ** 2)
    pull = np.bincount(cycle, shape[near] * (1.0 - curve.flux[near]) / curve.noise[near])
    strongest = int(np.argmax(np.where(power > 0, pull**2 / np.maximum(power, 1e-300), 0.0)))
    whole = pull.sum() ** 2 / power.sum()
    rest_pull, rest_power = pull.sum() - pull[strongest], power.sum() - power[strongest]
    rest = max(rest_pull, 0.0) ** 2 / rest_power if rest_power > 0 else 0.0
    if rest >= EVENT_SHARE * whole:
        return None
    inside = near[cycle == strongest]
    return float(np.average(curve.time[inside], weights=shape[inside] ** 2))


# The candidate


def _candidate(
    number: int,
    curve: _Curve,
    used: Flags,
    found: _Found,
    periodogram: Periodogram,
    ground: Background,
    grid: Grid,
    params: TransitParams,
) -> Candidate:
    fit, signal = found.fit, found.signal
    start = curve.time[0]
    first = signal.transit_time_days - np.floor((signal.transit_time_days - start) / signal.period_days) * signal.period_days
    candidate = Candidate(
        number=number,
        period_days=signal.period_days,
        period_uncertainty_days=fit.period_uncertainty_days,
        transit_time_days=float(first),
        duration_days=signal.duration_days,
        depth=fit.depth,
        depth_uncertainty=fit.depth_uncertainty,
        ingress_fraction=signal.ingress_fraction,
        snr=fit.depth / fit.depth_uncertainty,
        sde=found.sde,
        used=used,
        periodogram=periodogram,
    )
    return replace(candidate, tls=_tls_fit(curve, candidate, ground, grid)) if params.run_tls else candidate


def _tls_fit(curve: _Curve, candidate: Candidate, ground: Background, grid: Grid) -> TlsFit | None:
    period = candidate.period_days
    reach = 3 * _step_share(grid, period) * period
    found = search_transits(*curve.arrays, period - reach, period + reach)
    if found is None:
        return None
    index = int(np.argmin(np.abs(grid.period_days - found.period_days)))
    sde = float(ground.efficiency(flat_chi_square(curve.flux, curve.noise) - found.gain, index))
    box = _closely(curve, period, candidate.duration_days, _step_share(grid, period))[1]
    flat = flat_chi_square(curve.flux, curve.noise)
    return TlsFit(
        found.period_days,
        found.transit_time_days,
        found.duration_days,
        found.depth,
        sde,
        (flat - found.gain) / (flat - box),
    )
