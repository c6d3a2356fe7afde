"""Which signal a spectrum holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.transits.candidate import Periodogram
from tasks.transits.params import TransitParams
from tasks.transits.searching.boxes import BoxSpectrum, search_boxes
from tasks.transits.searching.grid import Grid
from tasks.transits.searching.points import Points
from tasks.transits.searching.spectrum import Background, background
from tasks.transits.searching.tls import TlsSearch, search_transits
from tasks.transits.searching.trapezoid import Signal

_REACH = 3  # steps of the grid to either side of a peak that belong to it
_OVERSAMPLING = 9  # of transit shapes near a peak, where TLS takes 3 over all periods


@dataclass(frozen=True)
class Nomination:
    """The strongest signal of a spectrum, before it is looked at closely. ``sde``: how far it stands out of it."""

    signal: Signal
    sde: float


@dataclass(frozen=True)
class Spectrum:
    """What was searched, and the scale on which further fits are put.

    boxes, ground  of the box search; None where it was not asked for
    transits       of transit shapes over all periods; None where it was not asked for, or found nothing
    """

    grid: Grid
    boxes: BoxSpectrum | None
    ground: Background | None
    transits: TlsSearch | None

    @property
    def periodogram(self) -> Periodogram | None:
        """Of the box search, else of transit shapes; None where there is nothing but a flat line."""
        if self.boxes is not None and self.ground is not None:
            power = self.ground.efficiency(self.boxes.flat - self.boxes.gain)
            return Periodogram(self.boxes.period_days, power)
        return Periodogram(self.transits.period_days_grid, self.transits.power) if self.transits else None

    def transit_sde(self, chi_square: float, period_days: float) -> float:
        """SDE of a transit shape with ``chi_square``: over the boxes' background, where only peaks were fitted."""
        if self.transits is not None:
            index = int(np.argmin(np.abs(self.transits.period_days_grid - period_days)))
            return float(self.transits.power[max(0, index - _REACH) : index + _REACH + 1].max())
        assert self.ground is not None
        index = int(np.argmin(np.abs(self.grid.period_days - period_days)))
        return float(self.ground.efficiency(chi_square, index))


def searched(points: Points, grid: Grid, params: TransitParams) -> Spectrum:
    """Search all periods of ``grid`` in the ways that ``params`` ask for."""
    boxes = search_boxes(points, grid) if params.run_bls else None
    in_full = params.run_tls and (params.tls_scope == "full" or not params.run_bls)
    shortest, longest = float(grid.period_days[0]), float(grid.period_days[-1])
    transits = search_transits(points, shortest, longest) if in_full else None
    return Spectrum(grid, boxes, background(boxes, float(np.ptp(points.time))) if boxes else None, transits)


def strongest(spectrum: Spectrum) -> Nomination | None:
    """The signal that stands out most; None where there is none."""
    found = [_of_transits(spectrum.transits)] if spectrum.transits else []
    if spectrum.boxes is not None and spectrum.ground is not None:
        found.append(_of_boxes(spectrum.boxes, spectrum.ground))
    return max(found, key=lambda nomination: nomination.sde, default=None)


def transits_near(points: Points, grid: Grid, period_days: float) -> TlsSearch | None:
    """The best transit shape within a few steps of the grid around a period."""
    reach = _REACH * grid.step_days(period_days)
    return search_transits(points, period_days - reach, period_days + reach, _OVERSAMPLING)


def _of_transits(found: TlsSearch) -> Nomination:
    return Nomination(Signal(found.period_days, found.transit_time_days, found.duration_days), found.sde)


def _of_boxes(boxes: BoxSpectrum, ground: Background) -> Nomination:
    power = ground.efficiency(boxes.flat - boxes.gain)
    peak = int(np.argmax(power))
    return Nomination(boxes.signal(peak), float(power[peak]))
