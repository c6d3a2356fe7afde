"""The best dip away from the transit, and what else is like it: the model-shift test of the Robovetter.

Thompson et al. (2018), with a box as long as the transit in the place of a transit model: it is moved through all
phases, and its depth at each is compared with its uncertainty in pink noise (see ``noise``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tasks.transits.candidate import Candidate
from tasks.transits.columns import Reason
from tasks.transits.features.folding import Folded, run_starts
from tasks.transits.light_curve import Flags, Floats, Indices

STEPS = 8  # positions of the box within its own length: at worst a sixteenth of it is missed
CLEAR_OF_TRANSIT = 1.5  # durations between mid-transit and the middle of a secondary
CLEAR_OF_BOTH = 2.0  # the same for a tertiary dip, and for the transit's neighbourhood in the search of it
CLEAR_FOR_POSITIVE = 3.0  # the same for a brightening: detrending leaves shoulders beside a dip
MIN_WEIGHT = 0.25  # of the median: a box at the edge of a gap in phase is no measurement
MAX_CELLS = 4_000_000  # some 100 MB; real light curves have less than a tenth


@dataclass(frozen=True)
class Secondary:
    """Depths as fractions, significances in sigma; the last two None where no phase is left for them."""

    depth: float
    phase: float
    significance: float
    tertiary_significance: float | None
    positive_significance: float | None


@dataclass(frozen=True)
class _Scan:
    """The box at each phase: ``phase``, ``depth``, ``sigma``, each (m,); phases without enough points left out."""

    phase: Floats
    depth: Floats
    sigma: Floats

    @property
    def significance(self) -> Floats:
        return self.depth / self.sigma


def find_secondary(folded: Folded, candidate: Candidate, red: float) -> Secondary | Reason:
    """The most significant dip more than ``CLEAR_OF_TRANSIT`` durations away from the transit."""
    if candidate.period_days <= 2.0 * CLEAR_OF_TRANSIT * candidate.duration_days:
        return Reason.NO_ROOM_FOR_SECONDARY
    scan = _scan(folded, candidate, red)
    if isinstance(scan, Reason):
        return scan
    share = candidate.duration_days / candidate.period_days
    significance = scan.significance
    best = int(np.argmax(significance))
    phase = float(scan.phase[best])
    others = _clear(scan.phase, [0.0, phase], CLEAR_OF_BOTH * share)
    bright = _clear(scan.phase, [0.0, phase], CLEAR_FOR_POSITIVE * share)
    tertiary, positive = _highest(significance[others]), _highest(-significance[bright])
    return Secondary(float(scan.depth[best]), phase, float(significance[best]), tertiary, positive)


def _scan(folded: Folded, candidate: Candidate, red: float) -> _Scan | Reason:
    """Sums over cells of an eighth of a duration, cycle by cycle; the box is eight of them in a row."""
    cells = math.ceil(STEPS * candidate.period_days / candidate.duration_days)
    summed = _cell_sums(folded, candidate, cells)
    if isinstance(summed, Reason):
        return summed
    weight, dimming = (_boxes(sums) for sums in summed)
    total, squares = weight.sum(axis=0), (weight**2).sum(axis=0)
    middle = (np.arange(len(total)) + 0.5 * STEPS) / cells
    chosen = _clear(middle, [0.0], CLEAR_OF_TRANSIT * candidate.duration_days / candidate.period_days) & (total > 0)
    if not chosen.any():
        return Reason.NO_SECONDARY_COVERAGE
    chosen &= total >= MIN_WEIGHT * np.median(total[chosen])
    total, squares = total[chosen], squares[chosen]
    depth = dimming.sum(axis=0)[chosen] / total
    return _Scan(middle[chosen], depth, np.sqrt(1.0 / total + red * squares / total**2))


def _cell_sums(folded: Folded, candidate: Candidate, cells: int) -> tuple[Floats, Floats] | Reason:
    """(cycles with points, cells) sums of 1/noise² and of (level - flux)/noise²; phase 0 is mid-transit."""
    turns = (folded.time - candidate.transit_time_days) / candidate.period_days
    cycle = np.floor(turns)
    starts = run_starts(cycle.astype(np.int64))
    rows = len(starts)
    if rows * cells > MAX_CELLS:
        return Reason.UNDEFINED
    row = np.repeat(np.arange(rows), np.diff(starts, append=len(turns)))
    column = np.minimum(((turns - cycle) * cells).astype(np.int64), cells - 1)
    cell = row * cells + column
    weight = np.where(folded.lonely, folded.weight, 0.0)
    shape = (rows, cells)
    return _summed(cell, weight, shape), _summed(cell, weight * (folded.level - folded.flux), shape)


def _summed(cell: Indices, values: Floats, shape: tuple[int, int]) -> Floats:
    return np.bincount(cell, values, shape[0] * shape[1]).astype(np.float64, copy=False).reshape(shape)


def _boxes(sums: Floats) -> Floats:
    """(rows, cells - STEPS + 1): sums over ``STEPS`` cells in a row, from each cell on."""
    running = np.zeros((sums.shape[0], sums.shape[1] + 1))
    np.cumsum(sums, axis=1, out=running[:, 1:])
    return running[:, STEPS:] - running[:, :-STEPS]


def _clear(phase: Floats, centres: list[float], margin: float) -> Flags:
    """(m,) whether ``phase`` is at least ``margin`` from all of ``centres``, round the end too."""
    away = np.ones(len(phase), dtype=np.bool_)
    for centre in centres:
        distance = np.abs(phase - centre)
        away &= np.minimum(distance, 1.0 - distance) >= margin
    return away


def _highest(values: Floats) -> float | None:
    return float(values.max()) if len(values) else None
