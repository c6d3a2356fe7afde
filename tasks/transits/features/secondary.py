"""Finds the best dip away from the transit, and compares it to other dips: the model-shift test of the Robovetter.

Thompson et al. (2018), with a box as long as the transit instead of a transit model: the box is moved through all
phases, and its depth at each is compared to its uncertainty in pink noise (see ``noise``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tasks.transits.candidate import Candidate
from tasks.transits.columns import Reason
from tasks.transits.features.folding import FoldedCurve, find_run_starts
from tasks.transits.light_curve import Flags, Floats, Indices

STEPS_PER_DURATION = 8  # positions of the box per length of the box; it misses at most a sixteenth
CLEAR_OF_TRANSIT = 1.5  # durations between mid-transit and the middle of a secondary
CLEAR_OF_BOTH = 2.0  # durations between a tertiary dip and the transit or the secondary
CLEAR_FOR_POSITIVE = 3.0  # the same for a brightening: detrending leaves shoulders next to a dip
MIN_WEIGHT = 0.25  # of the median; excludes boxes at the edge of a gap in phase
MAX_CELLS = 4_000_000  # about 100 MB; real light curves use less than a tenth


@dataclass(frozen=True)
class Secondary:
    """Depths as fractions, significances in sigma; the last two are None if they have no phases to search."""

    depth: float
    phase: float
    significance: float
    tertiary_significance: float | None
    positive_significance: float | None


@dataclass(frozen=True)
class _Scan:
    """The box at each phase: ``phase``, ``depth``, ``sigma``, each (m,), without phases that have too few points."""

    phase: Floats
    depth: Floats
    sigma: Floats

    @property
    def significance(self) -> Floats:
        return self.depth / self.sigma


def find_secondary(folded: FoldedCurve, candidate: Candidate, red: float) -> Secondary | Reason:
    """Find the most significant dip more than ``CLEAR_OF_TRANSIT`` durations away from the transit."""
    if candidate.period_days <= 2.0 * CLEAR_OF_TRANSIT * candidate.duration_days:
        return Reason.NO_ROOM_FOR_SECONDARY
    scan = _scan_phases(folded, candidate, red)
    if isinstance(scan, Reason):
        return scan
    share = candidate.duration_days / candidate.period_days
    significance = scan.significance
    best = int(np.argmax(significance))
    phase = float(scan.phase[best])
    others = _is_clear(scan.phase, [0.0, phase], CLEAR_OF_BOTH * share)
    bright = _is_clear(scan.phase, [0.0, phase], CLEAR_FOR_POSITIVE * share)
    tertiary, positive = _get_max(significance[others]), _get_max(-significance[bright])
    return Secondary(float(scan.depth[best]), phase, float(significance[best]), tertiary, positive)


def _scan_phases(folded: FoldedCurve, candidate: Candidate, red: float) -> _Scan | Reason:
    """Sum cells of an eighth of a duration, cycle by cycle, and then boxes of eight consecutive cells."""
    cells = math.ceil(STEPS_PER_DURATION * candidate.period_days / candidate.duration_days)
    cell_sums = _sum_cells(folded, candidate, cells)
    if isinstance(cell_sums, Reason):
        return cell_sums
    weight, dimming = (_sum_boxes(sums) for sums in cell_sums)
    total, squares = weight.sum(axis=0), (weight**2).sum(axis=0)
    middle = (np.arange(len(total)) + 0.5 * STEPS_PER_DURATION) / cells
    chosen = _is_clear(middle, [0.0], CLEAR_OF_TRANSIT * candidate.duration_days / candidate.period_days) & (total > 0)
    if not chosen.any():
        return Reason.NO_SECONDARY_COVERAGE
    chosen &= total >= MIN_WEIGHT * np.median(total[chosen])
    total, squares = total[chosen], squares[chosen]
    depth = dimming.sum(axis=0)[chosen] / total
    return _Scan(middle[chosen], depth, np.sqrt(1.0 / total + red * squares / total**2))


def _sum_cells(folded: FoldedCurve, candidate: Candidate, cells: int) -> tuple[Floats, Floats] | Reason:
    """Return (cycles with points, cells) sums of 1/noise² and of (level - flux)/noise²; phase 0 is mid-transit."""
    turns = (folded.time - candidate.transit_time_days) / candidate.period_days
    cycle = np.floor(turns)
    starts = find_run_starts(cycle.astype(np.int64))
    rows = len(starts)
    if rows * cells > MAX_CELLS:
        return Reason.UNDEFINED
    row = np.repeat(np.arange(rows), np.diff(starts, append=len(turns)))
    column = np.minimum(((turns - cycle) * cells).astype(np.int64), cells - 1)
    cell = row * cells + column
    weight = np.where(folded.isolated, folded.weight, 0.0)
    shape = (rows, cells)
    return _sum_by_cell(cell, weight, shape), _sum_by_cell(cell, weight * (folded.level - folded.flux), shape)


def _sum_by_cell(cell: Indices, values: Floats, shape: tuple[int, int]) -> Floats:
    return np.bincount(cell, values, shape[0] * shape[1]).astype(np.float64, copy=False).reshape(shape)


def _sum_boxes(sums: Floats) -> Floats:
    """Return (rows, cells - STEPS + 1) sums over ``STEPS_PER_DURATION`` consecutive cells, starting at each cell."""
    running = np.zeros((sums.shape[0], sums.shape[1] + 1))
    np.cumsum(sums, axis=1, out=running[:, 1:])
    return running[:, STEPS_PER_DURATION:] - running[:, :-STEPS_PER_DURATION]


def _is_clear(phase: Floats, centres: list[float], margin: float) -> Flags:
    """Return flags (m,): True if ``phase`` is at least ``margin`` away from all ``centres``, also across phase 1."""
    away = np.ones(len(phase), dtype=np.bool_)
    for centre in centres:
        distance = np.abs(phase - centre)
        away &= np.minimum(distance, 1.0 - distance) >= margin
    return away


def _get_max(values: Floats) -> float | None:
    return float(values.max()) if len(values) else None
