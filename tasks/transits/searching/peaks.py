"""Computes the spectra of a search and picks their strongest signal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.transits.candidate import Periodogram
from tasks.transits.params import TransitParams
from tasks.transits.searching.boxes import BoxSpectrum, search_boxes
from tasks.transits.searching.grid import Grid
from tasks.transits.searching.points import Points
from tasks.transits.searching.spectrum import Background, estimate_background
from tasks.transits.searching.tls import TlsSearch, search_transits
from tasks.transits.searching.trapezoid import Signal

_REACH = 3  # steps of the grid on either side of a peak that belong to it
_OVERSAMPLING = 9  # for TLS near a peak; over all periods TLS uses 3


@dataclass(frozen=True)
class Peak:
    """The strongest signal of a spectrum, before it is refined. ``sde``: height of the peak over the background."""

    signal: Signal
    sde: float


@dataclass(frozen=True)
class Spectrum:
    """The spectra of a search, and the scale for the SDE of later fits.

    boxes, background  the box search; None if it is off
    transits           the search for transit shapes over all periods; None if it is off or found no transit
    """

    grid: Grid
    boxes: BoxSpectrum | None
    background: Background | None
    transits: TlsSearch | None

    @property
    def periodogram(self) -> Periodogram | None:
        """Return the periodogram of the box search, else of TLS; None if the curve is flat."""
        if self.boxes is not None and self.background is not None:
            power = self.background.compute_sde(self.boxes.flat - self.boxes.gain)
            return Periodogram(self.boxes.period_days, power)
        return Periodogram(self.transits.period_days_grid, self.transits.power) if self.transits else None

    def compute_transit_sde(self, chi_square: float, period_days: float) -> float:
        """Return the SDE of a transit shape: over the background of the box search if TLS ran near peaks only."""
        if self.transits is not None:
            index = int(np.argmin(np.abs(self.transits.period_days_grid - period_days)))
            return float(self.transits.power[max(0, index - _REACH) : index + _REACH + 1].max())
        assert self.background is not None
        index = int(np.argmin(np.abs(self.grid.period_days - period_days)))
        return float(self.background.compute_sde(chi_square, index))


def search_periods(points: Points, grid: Grid, params: TransitParams) -> Spectrum:
    """Search all periods of ``grid`` with the methods that ``params`` select."""
    boxes = search_boxes(points, grid) if params.run_bls else None
    in_full = params.run_tls and (params.tls_scope == "full" or not params.run_bls)
    shortest, longest = float(grid.period_days[0]), float(grid.period_days[-1])
    transits = search_transits(points, shortest, longest) if in_full else None
    return Spectrum(grid, boxes, estimate_background(boxes, float(np.ptp(points.time))) if boxes else None, transits)


def find_strongest_peak(spectrum: Spectrum) -> Peak | None:
    """Return the signal with the highest SDE; None if there is no signal."""
    peaks = [_pick_transit_peak(spectrum.transits)] if spectrum.transits else []
    if spectrum.boxes is not None and spectrum.background is not None:
        peaks.append(_pick_box_peak(spectrum.boxes, spectrum.background))
    return max(peaks, key=lambda peak: peak.sde, default=None)


def search_transits_near(points: Points, grid: Grid, period_days: float) -> TlsSearch | None:
    """Search for the best transit shape within a few steps of the grid around a period."""
    reach = _REACH * grid.get_step_days(period_days)
    return search_transits(points, period_days - reach, period_days + reach, _OVERSAMPLING)


def _pick_transit_peak(transit: TlsSearch) -> Peak:
    return Peak(Signal(transit.period_days, transit.transit_time_days, transit.duration_days), transit.sde)


def _pick_box_peak(boxes: BoxSpectrum, background: Background) -> Peak:
    power = background.compute_sde(boxes.flat - boxes.gain)
    index = int(np.argmax(power))
    return Peak(boxes.get_signal(index), float(power[index]))
