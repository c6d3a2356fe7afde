"""Measures the given candidates of a star after its blind search, and puts them on the scale of its spectrum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tasks.transits.candidate import Candidate
from tasks.transits.columns import Reason
from tasks.transits.given import Ephemeris
from tasks.transits.light_curve import LightCurve, PreparedLightCurve
from tasks.transits.matching import find_match
from tasks.transits.params import TransitParams
from tasks.transits.preparation import WINDOWS_PER_TRANSIT, compute_window_days, prepare
from tasks.transits.searching import SearchResult
from tasks.transits.searching.ephemerides import GivenSignal, measure_ephemerides
from tasks.transits.searching.harmonics import find_closest_box
from tasks.transits.searching.planets import fit_tls
from tasks.transits.searching.points import Points

_REACH = 3  # steps of the grid on either side of a period that belong to its peak
_FIRST_OTHER = 1000  # numbers of signals of the search among given candidates


def measure_given(
    observed: LightCurve, result: SearchResult, ephemerides: Sequence[Ephemeris], params: TransitParams
) -> tuple[PreparedLightCurve, list[GivenSignal | Reason]]:
    """Return the given candidates in their order, and the light curve in which they were measured.

    That is the curve of the search, unless a given transit is too long for its detrending window.
    """
    curve = _prepare_for(observed, result, ephemerides, params)
    signals = measure_ephemerides(curve, ephemerides, result.candidates)
    return curve, [
        signal if isinstance(signal, Reason) else _add_spectrum(signal, curve, result, params) for signal in signals
    ]


def list_candidates(signals: Sequence[GivenSignal | Reason]) -> list[Candidate]:
    """Return the candidates among ``signals``."""
    return [signal.candidate for signal in signals if not isinstance(signal, Reason)]


def list_others(curve: PreparedLightCurve, result: SearchResult, given: Sequence[Candidate]) -> list[Candidate]:
    """Return the signals of the search that match no given candidate, with numbers that no given candidate has."""
    others = [candidate for candidate in result.candidates if find_match(curve, candidate, given) is None]
    return [replace(candidate, number=_FIRST_OTHER + candidate.number) for candidate in others]


def _prepare_for(
    observed: LightCurve, result: SearchResult, ephemerides: Sequence[Ephemeris], params: TransitParams
) -> PreparedLightCurve:
    longest = max((given.duration_days or 0.0 for given in ephemerides), default=0.0)
    window = WINDOWS_PER_TRANSIT * longest
    if params.detrend == "none" or window <= compute_window_days(observed, params):
        return result.curve
    return prepare(observed, params.model_copy(update={"window_days": window}))


def _add_spectrum(
    signal: GivenSignal, curve: PreparedLightCurve, result: SearchResult, params: TransitParams
) -> GivenSignal:
    """Return the signal with its SDE and TLS fit: those of the same signal in the search, else measured here."""
    candidate = signal.candidate
    if result.first is not None:
        candidate = replace(candidate, periodogram=result.first, sde=_find_sde(candidate.period_days, result))
    match = find_match(curve, candidate, result.candidates)
    if match is not None and match.harmonic == 1.0:
        same = next(other for other in result.candidates if other.number == match.number)
        return replace(signal, candidate=replace(candidate, sde=same.sde, tls=same.tls))
    is_on_scale = curve is result.curve and result.spectrum is not None and not math.isnan(candidate.sde)
    if params.run_tls and is_on_scale:
        assert result.spectrum is not None
        points = Points(curve.time, curve.flux, curve.noise).select(candidate.used)
        box = find_closest_box(points, result.spectrum.grid, candidate.period_days, candidate.duration_days)
        candidate = replace(candidate, tls=fit_tls(points, candidate.period_days, result.spectrum, box.gain))
    return replace(signal, candidate=candidate)


def _find_sde(period_days: float, result: SearchResult) -> float:
    """Return the height of the search's spectrum at a period; NaN outside the spectrum."""
    assert result.first is not None
    periods = result.first.period_days
    if not periods[0] <= period_days <= periods[-1]:
        return math.nan
    index = int(np.argmin(np.abs(periods - period_days)))
    return float(result.first.power[max(0, index - _REACH) : index + _REACH + 1].max())
