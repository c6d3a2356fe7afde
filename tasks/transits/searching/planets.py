"""The search loop: find the strongest signal, mask it, search the rest again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tasks.transits.candidate import Candidate, Periodogram, TlsFit
from tasks.transits.features import measure
from tasks.transits.light_curve import PreparedLightCurve, divide_out
from tasks.transits.params import TransitParams
from tasks.transits.searching.events import SingleEvent, find_single_event
from tasks.transits.searching.grid import Grid, build_grid
from tasks.transits.searching.harmonics import resolve_harmonics
from tasks.transits.searching.peaks import Spectrum, find_strongest_peak, search_periods, search_transits_near
from tasks.transits.searching.points import Points
from tasks.transits.searching.sines import find_better_sine
from tasks.transits.searching.trapezoid import TrapezoidFit, fit_trapezoid

_MASKED_DURATIONS = 1.5  # around mid-transit, in durations of the signal; later searches skip these points
_MAX_EVENTS = 8  # single dimmings to exclude per star
_MAX_SINES = 8  # smooth variations to remove per star
_MIN_EXCLUDED_GAIN = 49.0  # 7 sigma; weaker variations cannot hide a planet
_MIN_POINTS = 10
_MIN_UNMASKED_SHARE = 0.5  # of the curve, for another search


@dataclass(frozen=True)
class SearchResult:
    """Candidates of one star, and the variations that the search excluded.

    curve       the curve that was searched: without the smooth variations in ``sines``
    candidates  in order of detection, strongest first
    first       the spectrum before masking; None if it is flat
    spectrum    the same with its background, on whose scale other signals are compared
    events      excluded single dimmings
    sines       periods in days of removed smooth variations
    """

    curve: PreparedLightCurve
    candidates: tuple[Candidate, ...]
    first: Periodogram | None = None
    spectrum: Spectrum | None = None
    events: tuple[SingleEvent, ...] = ()
    sines: tuple[float, ...] = ()


def search(curve: PreparedLightCurve, params: TransitParams) -> SearchResult:
    """Find all periodic dimmings above the thresholds of ``params``, at most ``max_planets``.

    The result is empty if the curve is shorter than the shortest period.
    """
    if len(curve.time) < 2 or curve.baseline_days < params.min_period:
        return SearchResult(curve, ())
    return _Search(curve, params).run()


class _Search:
    """The state of one star's search: the mask and the results so far."""

    def __init__(self, curve: PreparedLightCurve, params: TransitParams) -> None:
        self.params = params
        self.curve = curve
        self.grid = _build_grid(curve, params)
        self.used = np.ones(len(curve.time), dtype=bool)
        self.candidates: list[Candidate] = []
        self.events: list[SingleEvent] = []
        self.sines: list[float] = []
        self.first: Periodogram | None = None
        self.spectrum: Spectrum | None = None

    def run(self) -> SearchResult:
        while len(self.candidates) < self.params.max_planets and self._can_continue():
            if not self._find_next():
                break
        found = (tuple(self.candidates), self.first, self.spectrum, tuple(self.events), tuple(self.sines))
        return SearchResult(self.curve, *found)

    def _can_continue(self) -> bool:
        exhausted = len(self.events) > _MAX_EVENTS or len(self.sines) > _MAX_SINES
        unmasked = np.count_nonzero(self.used)
        return not exhausted and bool(unmasked >= max(_MIN_POINTS, _MIN_UNMASKED_SHARE * len(self.used)))

    def _find_next(self) -> bool:
        """Find one more candidate, or exclude a signal of another kind; False if neither exists."""
        curve = self.curve
        points = Points(curve.time, curve.flux, curve.noise).select(self.used)
        spectrum = search_periods(points, self.grid, self.params)
        if self.first is None:
            self.first, self.spectrum = spectrum.periodogram, spectrum
        peak = find_strongest_peak(spectrum)
        if peak is None:
            return False
        box = resolve_harmonics(points, self.grid, peak.signal)
        fit = fit_trapezoid(points, box.signal)
        if fit.gain > _MIN_EXCLUDED_GAIN and self._exclude(points, fit):
            return True
        if peak.sde < self.params.min_sde:
            return False
        candidate = self._make_candidate(fit, peak.sde, spectrum)
        if self._compute_pink_snr(candidate) < self.params.min_snr:
            return False
        if self.params.run_tls:
            candidate = replace(candidate, tls=fit_tls(points, fit.signal.period_days, spectrum, box.gain))
        self.candidates.append(candidate)
        self._mask(np.abs(fit.signal.compute_offset_days(curve.time)), fit.signal.duration_days)
        return True

    def _exclude(self, points: Points, fit: TrapezoidFit) -> bool:
        """Mask a single dimming or divide out a smooth variation; False if the signal is neither."""
        event = find_single_event(points, fit.signal)
        if event is not None:
            self.events.append(event)
            self._mask(np.abs(self.curve.time - event.time_days), event.duration_days)
            return True
        sine = find_better_sine(points, fit.signal.period_days, fit.gain)
        if sine is None:
            return False
        self.sines.append(float(sine.period_days))
        self.curve = divide_out(self.curve, sine.compute_flux(self.curve.time))
        return True

    def _compute_pink_snr(self, candidate: Candidate) -> float:
        """Return the SNR in pink noise: spacecraft drifts repeat by chance more often than white noise."""
        pink = measure(self.curve, candidate, self.candidates).get_number("pink_noise_snr")
        return candidate.snr if pink is None else pink

    def _mask(self, distance: np.ndarray, duration_days: float) -> None:
        self.used = self.used & (distance > _MASKED_DURATIONS / 2 * duration_days)

    def _make_candidate(self, fit: TrapezoidFit, sde: float, spectrum: Spectrum) -> Candidate:
        signal, periodogram = fit.signal, spectrum.periodogram
        assert periodogram is not None
        return Candidate(
            number=len(self.candidates) + 1,
            period_days=signal.period_days,
            period_uncertainty_days=fit.period_uncertainty_days,
            transit_time_days=signal.find_first_transit(float(self.curve.time[0])),
            duration_days=signal.duration_days,
            depth=fit.depth,
            depth_uncertainty=fit.depth_uncertainty,
            ingress_fraction=signal.ingress_fraction,
            snr=fit.depth / fit.depth_uncertainty,
            sde=sde,
            used=self.used.copy(),
            periodogram=periodogram,
        )


def _build_grid(curve: PreparedLightCurve, params: TransitParams) -> Grid:
    longest = min(params.max_period or curve.baseline_days, curve.baseline_days)
    has_density = curve.star.mass and curve.star.radius
    return build_grid(curve.baseline_days, params.min_period, longest, curve.star.density if has_density else None)


def fit_tls(points: Points, period_days: float, spectrum: Spectrum, box_gain: float) -> TlsFit | None:
    """Fit transit shapes near a period, with the SDE on the scale of ``spectrum``; None if no transit fits.

    ``box_gain``: of the best box near the period, in the same points.
    """
    transit = search_transits_near(points, spectrum.grid, period_days)
    if transit is None:
        return None
    flat = points.compute_flat_chi_square()
    return TlsFit(
        period_days=transit.period_days,
        transit_time_days=transit.transit_time_days,
        duration_days=transit.duration_days,
        depth=transit.depth,
        sde=spectrum.compute_transit_sde(flat - transit.gain, transit.period_days),
        chi_square_ratio=(flat - transit.gain) / (flat - box_gain),
    )
