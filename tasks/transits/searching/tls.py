"""Transit least squares: the same search with the shape of a real transit (Hippke & Heller 2019)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from transitleastsquares import transitleastsquares

from tasks.transits.light_curve import Floats
from tasks.transits.searching.grid import OVERSAMPLING
from tasks.transits.searching.points import Points


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
    points: Points, shortest_days: float, longest_days: float, oversampling: int = OVERSAMPLING
) -> TlsSearch | None:
    """Search the periods between the two; None where no transit fits. One thread.

    ``oversampling``: trial frequencies per shift of one transit duration over the baseline.
    """
    points = points.where(points.flux > 0.0)  # TLS leaves out the others, so they must not count as explained by it
    with warnings.catch_warnings():  # of small grids and of transits without data, which the features tell of
        warnings.simplefilter("ignore")
        try:
            search = transitleastsquares(points.time, points.flux, points.noise, verbose=False)
            found = search.power(
                period_min=shortest_days,
                period_max=longest_days,
                n_transits_min=1,  # the periods are chosen above; two transits fit into any of them
                oversampling_factor=oversampling,
                use_threads=1,
                show_progress_bar=False,
                verbose=False,
            )
        except ValueError:  # no trial period between the two, or fewer than three points
            return None
    if not np.isfinite(found.T0) or not 0.0 < found.depth < 1.0:
        return None
    return _result(found, points)


def _result(found: Any, points: Points) -> TlsSearch:
    # TLS takes the mean of the noise for 1; points joined for speed are accounted for in its chi-square.
    least = float(found.chi2_min) / float(np.mean(points.noise)) ** 2
    order = np.argsort(found.periods)
    return TlsSearch(
        period_days=float(found.period),
        transit_time_days=float(found.T0),
        duration_days=float(found.duration),
        depth=1.0 - float(found.depth),
        gain=points.flat_chi_square() - least,
        sde=float(found.SDE),
        period_days_grid=np.asarray(found.periods)[order],
        power=np.asarray(found.power)[order],
    )
