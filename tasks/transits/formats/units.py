"""Converts magnitudes and parts per million to flux."""

from __future__ import annotations

import math

import numpy as np

from tasks.transits.formats.products import Unit
from tasks.transits.light_curve import Floats

_MAGNITUDES_PER_FACTOR = 2.5 / math.log(10.0)


def convert_to_flux(values: Floats, errors: Floats, unit: Unit) -> tuple[Floats, Floats]:
    """Return flux and errors (n,) of values in ``unit``.

    Magnitudes become the flux over that at their median: a dimming is an increase in magnitude. Parts per million are
    deviations from the mean flux; values about one million include it.
    """
    finite = values[np.isfinite(values)]
    if unit == "flux" or not len(finite):
        return values, errors
    middle = float(np.median(finite))
    if unit == "magnitude":
        flux = 10.0 ** (-0.4 * (values - middle))
        return flux, flux * errors / _MAGNITUDES_PER_FACTOR
    return values / 1e6 + (1.0 if middle < 0.5e6 else 0.0), errors / 1e6
