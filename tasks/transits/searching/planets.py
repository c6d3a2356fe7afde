"""The search: the strongest signal, then the strongest of what is left when it is masked, and so on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tasks.transits.candidate import Candidate, Periodogram, TlsFit
from tasks.transits.features import measure
from tasks.transits.light_curve import PreparedLightCurve, divided
from tasks.transits.params import TransitParams
from tasks.transits.searching.events import single_event
from tasks.transits.searching.grid import Grid, search_grid
from tasks.transits.searching.harmonics import Box, resolved
from tasks.transits.searching.peaks import Spectrum, searched, strongest, transits_near
from tasks.transits.searching.points import Points
from tasks.transits.searching.sines import better_sine
from tasks.transits.searching.trapezoid import Signal, TrapezoidFit, fit_trapezoid

_MASKED_DURATIONS = 1.5  # of a found signal, around mid-transit, are left out of further searches
_MAX_EVENTS = 8  # single dimmings that may be set aside in one star
_MAX_SINES = 8  # smooth variations
_REMARKABLE_GAIN = 49.0  # 7 sigma: what is weaker hides no planet, whatever it is
_FEWEST_POINTS = 10
_LEAST_POINTS = 0.5  # of the curve must be left to search in it once more


@dataclass(frozen=True)
class SearchResult:
    """What a star holds.

    curve       what candidates were found in: without the smooth variations that were divided out
    candidates  strongest first, as they were found
    first       the spectrum before anything was masked; None where it is flat
    events      mid-times in days of single dimmings that were set aside
    sines       periods in days of smooth variations that were divided out
    """

    curve: PreparedLightCurve
    candidates: tuple[Candidate, ...]
    first: Periodogram | None = None
    events: tuple[float, ...] = ()
    sines: tuple[float, ...] = ()


def search(curve: PreparedLightCurve, params: TransitParams) -> SearchResult:
    """Every periodic dimming above the thresholds of ``params``, at most ``max_planets``.

    Nothing, where the curve is shorter than the shortest period.
    """
    if len(curve.time) < 2 or curve.baseline_days < params.min_period:
        return SearchResult(curve, ())
    return _Search(curve, params).run()


class _Search:
    """The state of one star's search: what is masked, and what was found."""

    def __init__(self, curve: PreparedLightCurve, params: TransitParams) -> None:
        self.params = params
        self.curve = curve
        self.grid = _grid(curve, params)
        self.used = np.ones(len(curve.time), dtype=bool)
        self.candidates: list[Candidate] = []
        self.events: list[float] = []
        self.sines: list[float] = []
        self.first: Periodogram | None = None

    def run(self) -> SearchResult:
        while len(self.candidates) < self.params.max_planets and self._has_patience():
            if not self._next():
                break
        return SearchResult(self.curve, tuple(self.candidates), self.first, tuple(self.events), tuple(self.sines))

    def _has_patience(self) -> bool:
        tried = len(self.events) > _MAX_EVENTS or len(self.sines) > _MAX_SINES
        left = np.count_nonzero(self.used)
        return not tried and bool(left >= max(_FEWEST_POINTS, _LEAST_POINTS * len(self.used)))

    def _next(self) -> bool:
        """Find one more candidate, or set aside what is none; False where neither is there."""
        curve = self.curve
        points = Points(curve.time, curve.flux, curve.noise).where(self.used)
        spectrum = searched(points, self.grid, self.params)
        self.first = self.first or spectrum.periodogram
        nomination = strongest(spectrum)
        if nomination is None:
            return False
        box = resolved(points, self.grid, nomination.signal)
        fit = fit_trapezoid(points, box.signal)
        if fit.gain > _REMARKABLE_GAIN and self._set_aside(points, fit):
            return True
        if nomination.sde < self.params.min_sde:
            return False
        candidate = self._candidate(fit, nomination.sde, spectrum)
        if self._snr(candidate) < self.params.min_snr:
            return False
        if self.params.run_tls:
            candidate = replace(candidate, tls=_tls_fit(points, fit.signal, spectrum, box))
        self.candidates.append(candidate)
        self._mask(np.abs(fit.signal.offset_days(curve.time)), fit.signal.duration_days)
        return True

    def _set_aside(self, points: Points, fit: TrapezoidFit) -> bool:
        """Mask a single dimming, divide a smooth variation out; False where the signal is neither."""
        event = single_event(points, fit.signal)
        if event is not None:
            self.events.append(event)
            self._mask(np.abs(self.curve.time - event), fit.signal.duration_days)
            return True
        sine = better_sine(points, fit.signal.period_days, fit.gain)
        if sine is None:
            return False
        self.sines.append(float(sine.period_days))
        self.curve = divided(self.curve, sine.flux(self.curve.time))
        return True

    def _snr(self, candidate: Candidate) -> float:
        """In pink noise: what is left of a spacecraft's drifts repeats by chance more often than white noise does."""
        pink = measure(self.curve, candidate, self.candidates).number("pink_noise_snr")
        return candidate.snr if pink is None else pink

    def _mask(self, distance: np.ndarray, duration_days: float) -> None:
        self.used = self.used & (distance > _MASKED_DURATIONS / 2 * duration_days)

    def _candidate(self, fit: TrapezoidFit, sde: float, spectrum: Spectrum) -> Candidate:
        signal, periodogram = fit.signal, spectrum.periodogram
        assert periodogram is not None
        return Candidate(
            number=len(self.candidates) + 1,
            period_days=signal.period_days,
            period_uncertainty_days=fit.period_uncertainty_days,
            transit_time_days=signal.first_after(float(self.curve.time[0])),
            duration_days=signal.duration_days,
            depth=fit.depth,
            depth_uncertainty=fit.depth_uncertainty,
            ingress_fraction=signal.ingress_fraction,
            snr=fit.depth / fit.depth_uncertainty,
            sde=sde,
            used=self.used.copy(),
            periodogram=periodogram,
        )


def _grid(curve: PreparedLightCurve, params: TransitParams) -> Grid:
    longest = min(params.max_period or curve.baseline_days, curve.baseline_days)
    known = curve.star.mass and curve.star.radius
    return search_grid(curve.baseline_days, params.min_period, longest, curve.star.density if known else None)


def _tls_fit(points: Points, signal: Signal, spectrum: Spectrum, box: Box) -> TlsFit | None:
    """The candidate as transit shapes see it; its SDE on the scale of the spectrum that was searched."""
    found = transits_near(points, spectrum.grid, signal.period_days)
    if found is None:
        return None
    flat = points.flat_chi_square()
    return TlsFit(
        period_days=found.period_days,
        transit_time_days=found.transit_time_days,
        duration_days=found.duration_days,
        depth=found.depth,
        sde=spectrum.transit_sde(flat - found.gain, found.period_days),
        chi_square_ratio=(flat - found.gain) / (flat - box.gain),
    )
