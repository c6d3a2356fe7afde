"""Search methods: each finds the strongest signal of an observed light curve.

headrace         with default options
lightkurve BLS   ``flatten().to_periodogram(method="bls")``, default options
TLS              the call in wotan's documentation (biweight, 0.5 days), then TLS with default options on one thread
TLS, prepared    the same TLS on a light curve that Headrace has prepared, to compare only the search
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.transits.features import measure
from tasks.transits.light_curve import Floats, LightCurve
from tasks.transits.params import TransitParams
from tasks.transits.preparation import prepare
from tasks.transits.searching import search

# All thresholds at their minimum: the search returns the strongest signal that is not a single dip.
_STRONGEST = TransitParams(min_sde=0.0, min_snr=0.0, max_planets=1)
_WOTAN_WINDOW_DAYS = 0.5


@dataclass(frozen=True)
class Detection:
    """The strongest signal of a light curve; 0 if there is none, or if the method does not report it."""

    period_days: float = 0.0
    sde: float = 0.0
    snr: float = 0.0
    pink_noise_snr: float = 0.0


def search_headrace(curve: LightCurve) -> Detection:
    """Search with this project's defaults."""
    prepared = prepare(curve, _STRONGEST)
    result = search(prepared, _STRONGEST)
    if not result.candidates:
        return Detection()
    candidate = result.candidates[0]
    pink = measure(result.curve, candidate).get_number("pink_noise_snr")
    return Detection(candidate.period_days, candidate.sde, candidate.snr, candidate.snr if pink is None else pink)


def search_lightkurve_bls(curve: LightCurve) -> Detection:
    """Search as notebooks do. SDE: highest power over the mean, in standard deviations (Kovács 2002, eq. 6)."""
    import lightkurve

    _silence_warnings()
    flat = lightkurve.LightCurve(time=curve.time, flux=curve.flux, flux_err=curve.flux_error).flatten()
    periodogram = flat.to_periodogram(method="bls")
    power = np.asarray(periodogram.power)
    best = int(np.argmax(power))
    sde = (power[best] - power.mean()) / power.std()
    return Detection(float(periodogram.period[best].value), float(sde), float(periodogram.snr[best]))


def search_tls(curve: LightCurve) -> Detection:
    """Search with TLS after wotan, as in their documentation."""
    from wotan import flatten

    _silence_warnings()
    flux = flatten(curve.time, curve.flux, method="biweight", window_length=_WOTAN_WINDOW_DAYS)
    return _run_tls(curve.time, flux)


def search_tls_prepared(curve: LightCurve) -> Detection:
    """Search with TLS after Headrace's preparation."""
    prepared = prepare(curve, _STRONGEST)
    return _run_tls(prepared.time, prepared.flux)


def _run_tls(time: Floats, flux: Floats) -> Detection:
    result = run_full_tls(time, flux)
    if not math.isfinite(float(result.SDE)) or not math.isfinite(float(result.period)):
        return Detection()
    snr = float(result.snr)
    return Detection(float(result.period), float(result.SDE), snr if math.isfinite(snr) else 0.0)


def run_full_tls(time: Floats, flux: Floats) -> Any:
    """Search with TLS over all its periods, with default settings but one thread."""
    from transitleastsquares import cleaned_array, transitleastsquares

    model = transitleastsquares(*cleaned_array(time, flux), verbose=False)
    return model.power(use_threads=1, show_progress_bar=False, verbose=False)


def _silence_warnings() -> None:
    logging.getLogger("lightkurve").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


OURS = "headrace"
LIGHTKURVE, TLS, TLS_PREPARED = "lightkurve BLS", "TLS", "TLS, prepared"
METHODS: dict[str, Callable[[LightCurve], Detection]] = {
    OURS: search_headrace,
    LIGHTKURVE: search_lightkurve_bls,
    TLS: search_tls,
    TLS_PREPARED: search_tls_prepared,
}
