"""Transit least squares: the same search with the shape of a real transit (Hippke & Heller 2019)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from transitleastsquares import transitleastsquares

from tasks.transits.light_curve import Floats


@dataclass(frozen=True)
class TlsSearch:
    """The strongest transit between two periods.

    gain          chi-square of a star without any transit minus that with the best one
    sde           as TLS gives it: it means something over a wide range of periods alone
    period_days_grid, power
                  (m,) the spectrum, ascending in period
    """

    period_days: float
    transit_time_days: float
    duration_days: float
    depth: float
    gain: float
    sde: float
    period_days_grid: Floats
    power: Floats


def search_transits(
    time: Floats, flux: Floats, noise: Floats, shortest_days: float, longest_days: float
) -> TlsSearch | None:
    """Search the periods between the two; None where no transit fits. One thread."""
    with warnings.catch_warnings():  # of small grids and of transits without data, which the features tell of
        warnings.simplefilter("ignore")
        search = transitleastsquares(time, flux, noise, verbose=False)
        try:
            found = search.power(
                period_min=shortest_days,
                period_max=longest_days,
                n_transits_min=1,  # the periods are chosen above; two transits fit into any of them
                use_threads=1,
                show_progress_bar=False,
                verbose=False,
            )
        except ValueError:  # no trial period between the two
            return None
    if not np.isfinite(found.T0) or not 0.0 < found.depth < 1.0:
        return None
    return _result(found, flux, noise)


def _result(found: Any, flux: Floats, noise: Floats) -> TlsSearch:
    # TLS takes the mean of the noise for 1; points joined for speed are accounted for in its chi-square.
    least = float(found.chi2_min) / float(np.mean(noise)) ** 2
    order = np.argsort(found.periods)
    return TlsSearch(
        period_days=float(found.period),
        transit_time_days=float(found.T0),
        duration_days=float(found.duration),
        depth=1.0 - float(found.depth),
        gain=flat_chi_square(flux, noise) - least,
        sde=float(found.SDE),
        period_days_grid=np.asarray(found.periods)[order],
        power=np.asarray(found.power)[order],
    )


def flat_chi_square(flux: Floats, noise: Floats) -> float:
    """Chi-square of a star without any transit."""
    return float(np.sum(((1.0 - flux) / noise) ** 2))
