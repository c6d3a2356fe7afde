"""Box least squares: the best box-shaped dimming at each trial period (Kovács, Zucker & Mazeh 2002).

The likelihood is that of ``astropy.timeseries.BoxLeastSquares``, the reference in the tests. This implementation
differs in three points: durations depend on the period, a box of any duration may wrap around the folded curve (in
astropy only the shortest may), and dense curves are binned as far as the shortest duration allows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from tasks.transits.light_curve import Floats
from tasks.transits.searching.grid import Grid
from tasks.transits.searching.points import Points
from tasks.transits.searching.trapezoid import Signal

BINS_PER_DURATION = 6  # phase bins in the shortest box; a box misses at most 1/12 of a transit at either end
WIDTH_STEP = 1.2  # ratio of neighbouring trial durations; costs at most 5 % of the signal-to-noise ratio
_POINTS_PER_DURATION = 6  # minimum points in the shortest box after binning a dense curve


@dataclass(frozen=True)
class BoxSpectrum:
    """The best box at each trial period.

    gain              (m,) chi-square of a flat line minus that of the box; 0 without a dimming
    duration_days     (m,)
    depth             (m,) level outside minus level inside, as a fraction
    transit_time_days (m,) middle of the box, from 0 to the period after the first point
    flat              chi-square of the flat line
    """

    period_days: Floats
    gain: Floats
    duration_days: Floats
    depth: Floats
    transit_time_days: Floats
    flat: float

    def get_signal(self, index: int) -> Signal:
        """Return the box at one trial period."""
        return Signal(
            float(self.period_days[index]), float(self.transit_time_days[index]), float(self.duration_days[index])
        )


def search_boxes(points: Points, grid: Grid, bins_per_duration: int = BINS_PER_DURATION) -> BoxSpectrum:
    """Find the best box at each period of ``grid``. ``bins_per_duration``: phase bins in the shortest box."""
    time, flux, noise = points.time, points.flux, points.noise
    weight = noise**-2
    deficit = weight * (1.0 - flux)
    since = time - time[0]
    results = np.zeros((4, len(grid)))
    factors = _choose_bin_factors(since, grid)
    for factor in np.unique(factors):
        chosen = np.flatnonzero(factors == factor)
        curve = _bin_curve(since, weight, deficit, int(factor))
        part = np.zeros((4, len(chosen)))
        trial = (grid.period_days[chosen], grid.min_share[chosen], grid.max_share[chosen])
        _scan(*curve, *trial, bins_per_duration, *part)
        results[:, chosen] = part
    gain, share, phase, depth = results
    level = deficit.sum() / weight.sum()
    flat = float(np.sum(weight * (1.0 - flux - level) ** 2))
    period = grid.period_days
    return BoxSpectrum(period, gain, share * period, depth, time[0] + (phase % 1.0) * period, flat)


def _choose_bin_factors(since: Floats, grid: Grid) -> Floats:
    """Return how many points to bin at each period: a power of 2 that keeps enough points in the shortest box."""
    cadence = float(np.median(np.diff(since)))
    room = grid.min_share * grid.period_days / (_POINTS_PER_DURATION * cadence)
    return np.asarray(2.0 ** np.floor(np.log2(np.maximum(room, 1.0))))


def _bin_curve(since: Floats, weight: Floats, deficit: Floats, factor: int) -> tuple[Floats, Floats, Floats]:
    """Bin the curve by ``factor`` cadences. Bins are even in time, so no bin spans a gap."""
    if factor == 1:
        return since, weight, deficit
    cadence = float(np.median(np.diff(since)))
    number = np.floor(since / (factor * cadence)).astype(np.int64)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    joined = np.add.reduceat(weight, starts)
    middle = np.add.reduceat(weight * since, starts) / joined
    return middle, joined, np.add.reduceat(deficit, starts)


@numba.njit(cache=True, error_model="numpy")
def _scan(
    time: Floats,
    weight: Floats,
    deficit: Floats,
    period: Floats,
    min_share: Floats,
    max_share: Floats,
    narrowest: int,
    gain: Floats,
    share: Floats,
    phase: Floats,
    depth: Floats,
) -> None:  # pragma: no cover - compiled
    """Fill the last four arrays; ``narrowest``: bins in the shortest box.

    With s the sum of w (1 - f - level) in the box, r that of w in it, W that of all w, the gain is s² W / (r (W - r)).
    """
    total = weight.sum()
    level = deficit.sum() / total
    max_bins = 0
    for j in range(period.size):
        bins = int(np.ceil(narrowest / min_share[j]))
        max_bins = max(max_bins, bins + max(int(max_share[j] * bins), narrowest) + 2)
    r = np.empty(max_bins)
    s = np.empty(max_bins)
    for j in range(period.size):
        bins = int(np.ceil(narrowest / min_share[j]))
        widest = max(int(max_share[j] * bins), narrowest)
        r[: bins + widest + 2] = 0.0
        s[: bins + widest + 2] = 0.0
        frequency = 1.0 / period[j]
        for i in range(time.size):
            turns = time[i] * frequency
            k = int((turns - np.floor(turns)) * bins) + 1
            r[k] += weight[i]
            s[k] += deficit[i] - level * weight[i]
        r[1] += r[bins + 1]  # rounding can give a phase of 1
        s[1] += s[bins + 1]
        for k in range(1, widest + 1):  # repeat the start, for boxes that wrap around
            r[bins + k] = r[k]
            s[bins + k] = s[k]
        for k in range(1, bins + widest + 1):
            r[k] += r[k - 1]
            s[k] += s[k - 1]
        best, best_first, best_width = 0.0, 0, 0
        width = narrowest
        while width <= widest:
            for k in range(0, bins, max(1, width // narrowest)):
                inside = r[k + width] - r[k]
                dimming = s[k + width] - s[k]
                scale = inside * (total - inside)
                if dimming > 0.0 and dimming * dimming > best * scale and scale > 0.0:
                    best, best_first, best_width = dimming * dimming / scale, k, width
            width = max(width + 1, int(width * WIDTH_STEP + 0.5))
        if best_width:
            inside = r[best_first + best_width] - r[best_first]
            dimming = s[best_first + best_width] - s[best_first]
            gain[j] = best * total
            share[j] = best_width / bins
            phase[j] = (best_first + 0.5 * best_width) / bins
            depth[j] = dimming / inside + dimming / (total - inside)
