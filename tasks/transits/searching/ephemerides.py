"""Measures signals at given ephemerides: exact, fitted to the transits, or refined near the given period."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.transits.candidate import Candidate, Periodogram
from tasks.transits.columns import EphemerisUse, Reason
from tasks.transits.given import Ephemeris
from tasks.transits.light_curve import TIME_ZERO_DAYS, Flags, Floats, PreparedLightCurve
from tasks.transits.matching import find_match
from tasks.transits.searching.boxes import search_boxes
from tasks.transits.searching.grid import Grid, build_grid, compute_duration_share
from tasks.transits.searching.harmonics import find_closest_box
from tasks.transits.searching.points import Points
from tasks.transits.searching.trapezoid import Signal, TrapezoidFit, fit_trapezoid, measure_trapezoid

REFINED_PERIODS = (0.8, 1.2)  # of the given period
_MIN_GAIN = 49.0  # 7 sigma: weaker transits cannot be fitted, only measured where they should be
# A refined signal must be better by this factor than the fit at the given values, and that fit must be part of it:
# without the transits of the refined signal, less than this share of the fit's gain remains.
_MIN_GAIN_RATIO = 1.2
_MAX_REST_SHARE = 0.3
_HARMONICS = (1.0, 2.0, 0.5, 3.0, 1 / 3)
_SAME_PERIOD = 0.01
_DURATION_FACTORS = (0.5, 2.0)
_MASKED_DURATIONS = 1.5  # as in the search
_MIN_POINTS = 10


@dataclass(frozen=True)
class GivenSignal:
    """A given candidate as found in a light curve. ``candidate`` has no spectrum and no SDE of its own."""

    candidate: Candidate
    use: EphemerisUse


@dataclass(frozen=True)
class _Trial:
    """A given candidate before others are masked.

    start  its signal with the given values
    free   (n,) points outside transits of stronger signals that are other bodies
    fit    in these points
    """

    number: int
    ephemeris: Ephemeris
    start: Signal
    free: Flags
    fit: TrapezoidFit


def measure_ephemerides(
    curve: PreparedLightCurve, ephemerides: Sequence[Ephemeris], found: Sequence[Candidate] = ()
) -> list[GivenSignal | Reason]:
    """Measure all given candidates of a star, in their order; a reason for those without a period.

    Each is measured without the transits of stronger ones, and of stronger signals that the search ``found`` if these
    are other bodies.
    """
    points = Points(curve.time, curve.flux, curve.noise)
    trials = [_make_trial(points, curve, number, each, found) for number, each in enumerate(ephemerides, 1)]
    ordered = sorted((trial for trial in trials if trial), key=lambda trial: -trial.fit.gain)
    signals: dict[int, GivenSignal] = {}
    for trial in ordered:
        used = _mask_other_bodies(curve, trial, [signal.candidate for signal in signals.values()])
        fit, use = _choose_fit(points, curve, trial, used)
        signals[trial.number] = GivenSignal(_make_candidate(curve, trial.number, fit, used), use)
    return [signals.get(number, Reason.NO_GIVEN_PERIOD) for number in range(1, len(ephemerides) + 1)]


def _make_trial(
    points: Points, curve: PreparedLightCurve, number: int, given: Ephemeris, found: Sequence[Candidate]
) -> _Trial | None:
    if given.period_days is None:
        return None
    free = np.ones(len(curve.time), dtype=np.bool_)
    start = _make_start(points, curve, given, given.period_days)
    trial = _Trial(number, given, start, free, fit_trapezoid(points, start))
    others = [other for other in found if _is_other_body(curve, given, given.period_days, other)]
    stronger = [other for other in others if other.snr**2 > trial.fit.gain]
    if not stronger:
        return trial
    for other in stronger:
        free = _mask(curve.time, free, Signal(other.period_days, other.transit_time_days, other.duration_days))
    start = _make_start(points.select(free), curve, given, given.period_days)
    return _Trial(number, given, start, free, fit_trapezoid(points.select(free), start))


def _mask_other_bodies(curve: PreparedLightCurve, trial: _Trial, stronger: Sequence[Candidate]) -> Flags:
    """Return the points (n,) of a given candidate: without the transits of stronger ones, unless they are its own."""
    used = trial.free
    own = _make_candidate(curve, trial.number, trial.fit, used)
    for other in stronger:
        if find_match(curve, own, [other]) is None:
            used = _mask(curve.time, used, Signal(other.period_days, other.transit_time_days, other.duration_days))
    return used


def _is_other_body(curve: PreparedLightCurve, given: Ephemeris, period_days: float, other: Candidate) -> bool:
    """Return True if a signal of the search is not the given candidate, by its period or its transit times."""
    ratio = other.period_days / period_days
    is_harmonic = any(abs(ratio / harmonic - 1.0) < _SAME_PERIOD for harmonic in _HARMONICS)
    if not is_harmonic and not REFINED_PERIODS[0] <= ratio <= REFINED_PERIODS[1]:
        return True
    epoch = _get_epoch(curve, given)
    if epoch is None or not curve.time[0] <= epoch <= curve.time[-1]:
        return False
    # A signal at twice the given period has a transit at every other given one.
    cycles = [epoch + cycle * period_days for cycle in range(3)]
    signal = Signal(other.period_days, other.transit_time_days, other.duration_days)
    offsets = np.abs(signal.compute_offset_days(np.array(cycles if is_harmonic else cycles[:1])))
    return bool(offsets.min() > max(other.duration_days, given.duration_days or 0.0))


def _get_epoch(curve: PreparedLightCurve, given: Ephemeris) -> float | None:
    """Return the given epoch in the time system of the light curve."""
    return None if given.epoch_bjd is None else given.epoch_bjd - TIME_ZERO_DAYS[curve.segments[0].time_system]


def _make_start(points: Points, curve: PreparedLightCurve, given: Ephemeris, period_days: float) -> Signal:
    """Return the given signal; an unknown duration is that of a central transit, an unknown epoch the best one."""
    duration = given.duration_days or _estimate_duration(curve, period_days)
    epoch = _get_epoch(curve, given)
    if epoch is not None:
        return Signal(period_days, epoch, duration)
    share = np.array([min(duration / period_days, 0.3)])
    box = search_boxes(points, Grid(np.array([period_days]), *_spread_shares(share, given)))
    return box.get_signal(0) if box.gain[0] > 0.0 else Signal(period_days, float(points.time[0]), duration)


def _estimate_duration(curve: PreparedLightCurve, period_days: float) -> float:
    return float(compute_duration_share(np.array([period_days]), curve.star.density)[0]) * period_days


def _spread_shares(share: Floats, given: Ephemeris) -> tuple[Floats, Floats]:
    """Return the shortest and longest duration to try, as shares of the period."""
    low, high = _DURATION_FACTORS if given.duration_days else (0.34, 2.0)
    return low * share, np.minimum(high * share, 0.4)


def _choose_fit(
    points: Points, curve: PreparedLightCurve, trial: _Trial, used: Flags
) -> tuple[TrapezoidFit, EphemerisUse]:
    """Return the fit of a given candidate without the points of stronger ones."""
    rest = points.select(used)
    if len(rest.time) < _MIN_POINTS:
        return measure_trapezoid(points, trial.start), EphemerisUse.EXACT
    fit = fit_trapezoid(rest, trial.start)
    refined = _refine(rest, curve, trial)
    if refined is not None and _is_preferred(rest, refined, fit):
        return refined, EphemerisUse.REFINED
    if fit.gain >= _MIN_GAIN and fit.depth > 0.0:
        return fit, EphemerisUse.FITTED
    return measure_trapezoid(rest, trial.start), EphemerisUse.EXACT


def _refine(points: Points, curve: PreparedLightCurve, trial: _Trial) -> TrapezoidFit | None:
    """Return the best signal near the given period that agrees with the given epoch; None if there is none."""
    low, high = (factor * trial.start.period_days for factor in REFINED_PERIODS)
    high = min(high, curve.baseline_days)
    if low >= high:
        return None
    grid = build_grid(curve.baseline_days, low, high)
    share = trial.start.duration_days / grid.period_days
    grid = Grid(grid.period_days, *_spread_shares(np.minimum(share, 0.3), trial.ephemeris))
    boxes = search_boxes(points, grid)
    best = int(np.argmax(boxes.gain))
    if boxes.gain[best] < _MIN_GAIN:
        return None
    box = find_closest_box(points, grid, float(grid.period_days[best]), float(boxes.duration_days[best]))
    fit = fit_trapezoid(points, box.signal)
    return fit if fit.depth > 0.0 and _has_epoch(fit.signal, curve, trial) else None


def _has_epoch(signal: Signal, curve: PreparedLightCurve, trial: _Trial) -> bool:
    """Return True if the signal has a transit at the given epoch; an epoch outside the light curve says little."""
    epoch = trial.start.transit_time_days
    if trial.ephemeris.epoch_bjd is None or not curve.time[0] <= epoch <= curve.time[-1]:
        return True
    offset = abs(float(signal.compute_offset_days(np.array([epoch]))[0]))
    return offset <= max(signal.duration_days, trial.start.duration_days)


def _is_preferred(points: Points, refined: TrapezoidFit, fit: TrapezoidFit) -> bool:
    """Return True if the fit at the given values is worse, and only shows parts of the refined signal's transits.

    Otherwise the refined signal is another body.
    """
    if refined.gain <= _MIN_GAIN_RATIO * fit.gain:
        return False
    others = points.select(_mask(points.time, np.ones(len(points.time), dtype=np.bool_), refined.signal))
    rest = measure_trapezoid(others, fit.signal).gain
    return fit.gain < _MIN_GAIN or rest < max(_MIN_GAIN, _MAX_REST_SHARE * fit.gain)


def _mask(time: Floats, used: Flags, signal: Signal) -> Flags:
    masked = np.abs(signal.compute_offset_days(time)) <= _MASKED_DURATIONS / 2 * signal.duration_days
    return used & ~masked


def _make_candidate(curve: PreparedLightCurve, number: int, fit: TrapezoidFit, used: Flags) -> Candidate:
    signal = fit.signal
    has_noise = math.isfinite(fit.depth_uncertainty)
    return Candidate(
        number=number,
        period_days=signal.period_days,
        period_uncertainty_days=fit.period_uncertainty_days,
        transit_time_days=signal.find_first_transit(float(curve.time[0])),
        duration_days=signal.duration_days,
        depth=fit.depth,
        depth_uncertainty=fit.depth_uncertainty,
        ingress_fraction=signal.ingress_fraction,
        snr=fit.depth / fit.depth_uncertainty if has_noise else 0.0,
        sde=math.nan,
        used=used.copy(),
        periodogram=Periodogram(np.zeros(0), np.zeros(0)),
    )
