"""Transit least squares: a search with the shape of a real transit (Hippke & Heller 2019)."""

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
    sde           as TLS computes it; meaningful only over a wide range of periods
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
    points: Points, min_period_days: float, max_period_days: float, oversampling: int = OVERSAMPLING
) -> TlsSearch | None:
    """Search the periods between the limits with one thread; None if no transit fits.

    ``oversampling``: trial frequencies per shift of one transit duration over the baseline.
    """
    points = points.select(points.flux > 0.0)  # TLS skips the others, so its gain must not include them
    with warnings.catch_warnings():  # of small grids and of transits without data; the features report these
        warnings.simplefilter("ignore")
        try:
            search = transitleastsquares(points.time, points.flux, points.noise, verbose=False)
            results = search.power(
                period_min=min_period_days,
                period_max=max_period_days,
                n_transits_min=1,  # the limits above ensure two transits
                oversampling_factor=oversampling,
                use_threads=1,
                show_progress_bar=False,
                verbose=False,
            )
        except ValueError:  # no trial period between the limits, or fewer than three points
            return None
    if not np.isfinite(results.T0) or not 0.0 < results.depth < 1.0:
        return None
    return _make_result(results, points)


def _make_result(results: Any, points: Points) -> TlsSearch:
    # TLS normalises the noise to a mean of 1; its chi-square accounts for points that it bins for speed.
    min_chi_square = float(results.chi2_min) / float(np.mean(points.noise)) ** 2
    order = np.argsort(results.periods)
    return TlsSearch(
        period_days=float(results.period),
        transit_time_days=float(results.T0),
        duration_days=float(results.duration),
        depth=1.0 - float(results.depth),
        gain=points.compute_flat_chi_square() - min_chi_square,
        sde=float(results.SDE),
        period_days_grid=np.asarray(results.periods)[order],
        power=np.asarray(results.power)[order],
    )
