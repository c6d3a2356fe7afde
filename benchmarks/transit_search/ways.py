"""Ways to search a light curve, each from the flux as it was observed to its strongest signal.

headrace         as it is by default
lightkurve BLS   ``flatten().to_periodogram(method="bls")``, nothing set
TLS              the call of wotan's documentation (biweight, 0.5 days), then TLS with nothing set but one thread
TLS, prepared    the same TLS, on the light curve that Headrace has prepared: the search alone is compared
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

# What a search would report with every threshold at its lowest: the strongest signal that is not a single dip.
_STRONGEST = TransitParams(min_sde=0.0, min_snr=0.0, max_planets=1)
_WOTAN_WINDOW_DAYS = 0.5


@dataclass(frozen=True)
class Detection:
    """The strongest signal of a light curve; 0 where there is none, or where a way does not tell."""

    period_days: float = 0.0
    sde: float = 0.0
    snr: float = 0.0
    pink_noise_snr: float = 0.0


def headrace(curve: LightCurve) -> Detection:
    """Search with this project's defaults."""
    prepared = prepare(curve, _STRONGEST)
    result = search(prepared, _STRONGEST)
    if not result.candidates:
        return Detection()
    found = result.candidates[0]
    pink = measure(result.curve, found).get_number("pink_noise_snr")
    return Detection(found.period_days, found.sde, found.snr, found.snr if pink is None else pink)


def lightkurve_bls(curve: LightCurve) -> Detection:
    """What a notebook writes. Its SDE: the highest power over the mean, in standard deviations (Kovács 2002, eq. 6)."""
    import lightkurve

    _quiet()
    flat = lightkurve.LightCurve(time=curve.time, flux=curve.flux, flux_err=curve.flux_error).flatten()
    found = flat.to_periodogram(method="bls")
    power = np.asarray(found.power)
    best = int(np.argmax(power))
    sde = (power[best] - power.mean()) / power.std()
    return Detection(float(found.period[best].value), float(sde), float(found.snr[best]))


def tls(curve: LightCurve) -> Detection:
    """Search with TLS after wotan, as in their documentation."""
    from wotan import flatten

    _quiet()
    flux = flatten(curve.time, curve.flux, method="biweight", window_length=_WOTAN_WINDOW_DAYS)
    return _tls(curve.time, flux)


def tls_prepared(curve: LightCurve) -> Detection:
    """Search with TLS after Headrace's preparation."""
    prepared = prepare(curve, _STRONGEST)
    return _tls(prepared.time, prepared.flux)


def _tls(time: Floats, flux: Floats) -> Detection:
    found = full_tls(time, flux)
    if not math.isfinite(float(found.SDE)) or not math.isfinite(float(found.period)):
        return Detection()
    snr = float(found.snr)
    return Detection(float(found.period), float(found.SDE), snr if math.isfinite(snr) else 0.0)


def full_tls(time: Floats, flux: Floats) -> Any:
    """Search with TLS over all its periods, with default settings but one thread."""
    from transitleastsquares import cleaned_array, transitleastsquares

    model = transitleastsquares(*cleaned_array(time, flux), verbose=False)
    return model.power(use_threads=1, show_progress_bar=False, verbose=False)


def _quiet() -> None:
    logging.getLogger("lightkurve").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


OURS = "headrace"
LIGHTKURVE, TLS, TLS_PREPARED = "lightkurve BLS", "TLS", "TLS, prepared"
WAYS: dict[str, Callable[[LightCurve], Detection]] = {
    OURS: headrace,
    LIGHTKURVE: lightkurve_bls,
    TLS: tls,
    TLS_PREPARED: tls_prepared,
}
