"""Detection of interlacing, field order and 3:2 telecine.

The top field of a frame is compared with three bottom fields: those of the same frame, the previous and the next one.
``before`` and ``after`` are the additional misfits of the previous and the next, in squared codes. Noise adds equally
to all three and cancels. Without motion both are 0 and the frame is undecided.

    progressive          before = after > 0: both fields of the frame have the same time
    top field first      before = 0 < after: the same and the previous frame's fields are equally near in time
    bottom field first   after = 0 < before

FFmpeg's ``fieldmatch`` compares fields in the same way for inverse telecine. FFmpeg's ``idet`` is not used: it takes
progressive frames with vertical motion for interlaced, and leaves noisy frames undecided.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.restoration.diagnosis import FieldOrder, Window
from tasks.restoration.measuring.frame_codes import Floats

Series = npt.NDArray[np.float64]
Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

# Neighboring pixels of a line are averaged to about this many columns, which reduces noise.
_COLUMNS = 180
# Share of lines ignored at the bottom: the head switch tears them differently in every field.
_BOTTOM_SHARE = 1 / 24
# Frames classified together: motion that starts or stops makes a single progressive frame look interlaced.
_SPAN = 7
# Minimum difference relative to the misfit of the fields; noise over 40,000 cells gives about 0.01.
_MIN_DIFFERENCE = 0.02
# Ratio of the smaller to the larger of before and after: about 1 if progressive, at most 0.3 if interlaced.
_MIN_RATIO = 0.6
# Maximum change of a repeated field, relative to the change of the other field.
_MAX_REPEATED = 0.5
_CYCLE = 5
_MIN_CYCLES = 3
_MIN_CYCLE_SHARE = 0.7
# In 3:2 telecine, the misfit within a frame exceeds that to the neighbor by this share of the farther misfit.
_MIN_TELECINE_DEPTH = 0.15
_OUTLIER = 4.0
# A window has one field order: maximum ratio of frames with the opposite order to frames with this one.
_MAX_CONTRADICTING = 1 / 3


@dataclass(frozen=True)
class FieldSeries:
    """Misfits and changes of fields, one value per frame from the second to the last but one, in squared codes.

    before, after    additional misfit of the previous and the next frame's bottom field
    misfit           misfit of the bottom field of the same frame
    top, bottom      change of each field since the previous frame
    """

    before: Series
    after: Series
    misfit: Series
    top: Series
    bottom: Series


class FieldMeter:
    """Measures the frames of one window, added in order."""

    def __init__(self) -> None:
        self._cells: list[Floats] = []

    def add(self, luma: Plane) -> None:
        """Add the stored luma of the next frame: height x width."""
        self._cells.append(average_cells(luma))

    def series(self) -> FieldSeries:
        """Return the measurements of the frames so far; empty for fewer than three."""
        if len(self._cells) < 3 or self._cells[0].shape[0] < 6:
            return FieldSeries(*(np.empty(0) for _ in range(5)))
        stack = np.stack(self._cells)
        top, above, below = stack[:, 2::2], stack[:, 1::2], stack[:, 3::2]
        lines = below.shape[1]
        bottom = (above[:, :lines] + below) * np.float32(0.5)
        misfits = [
            _square_difference(top[1:-1, :lines], bottom[1 + step : len(stack) - 1 + step]) for step in (-1, 0, 1)
        ]
        changes = [_square_difference(part[1:-1], part[:-2]) for part in (stack[:, 0::2], stack[:, 1::2])]
        return FieldSeries(misfits[0] - misfits[1], misfits[2] - misfits[1], misfits[1], *changes)


def average_cells(luma: Plane) -> Floats:
    """Return ``luma`` with neighboring pixels averaged, without the last lines; the number of lines is even."""
    height, width = luma.shape
    lines = max(2, int(height * (1 - _BOTTOM_SHARE))) // 2 * 2
    size = max(1, width // _COLUMNS)
    used = luma[:lines, : width // size * size]
    sums: Floats = np.add.reduceat(used, np.arange(0, used.shape[1], size), axis=1, dtype=np.float32)
    return sums / np.float32(size)


def classify_window(series: FieldSeries, start_seconds: float, frames: int) -> Window:
    """Return the shares of interlaced frames, per field order, and of progressive ones; the rest is undecided."""
    before, after, misfit = (_sum_neighbors(part) for part in (series.before, series.after, series.misfit))
    low, high = np.minimum(before, after), np.maximum(before, after)
    decided = np.maximum(high, -low) > _MIN_DIFFERENCE * misfit + 1e-3
    progressive = decided & (low > _MIN_RATIO * high)
    fields = decided & ~progressive
    return Window(
        start_seconds=start_seconds,
        frames=frames,
        tff_share=_calculate_share(fields & (before < after)),
        bff_share=_calculate_share(fields & (before > after)),
        progressive_share=_calculate_share(progressive),
        repeated_field_share=_calculate_share(_find_repeats(series)),
    )


def decide_field_order(window: Window) -> FieldOrder | None:
    """Return the kind of most decided frames of the window; None if too few are decided.

    Jittering lines of a still image look like either field order equally often, so they decide none.
    """
    shares: dict[FieldOrder, float] = {
        "tff": window.tff_share,
        "bff": window.bff_share,
        "progressive": window.progressive_share,
    }
    decided = sum(shares.values())
    best = max(shares, key=lambda order: shares[order])
    tff, bff = window.tff_share, window.bff_share
    if best != "progressive" and min(tff, bff) > _MAX_CONTRADICTING * max(tff, bff):
        return None
    return best if decided > 0.2 and shares[best] > decided / 2 else None


def has_telecine(series: FieldSeries) -> bool:
    """Return True for 3:2 telecine: of every five frames, two consecutive ones combine fields of two film frames.

    Their top field matches the bottom field of one neighbor better than their own, always in the same two of five.
    """
    return _has_cadence(series.before, series.after) or _has_cadence(series.after, series.before)


def _has_cadence(near: Series, far: Series) -> bool:
    cycles = len(near) // _CYCLE
    if cycles < _MIN_CYCLES:
        return False
    # A cut counts no more than motion.
    limit = _OUTLIER * float(np.median(np.maximum(np.abs(near), np.abs(far))))
    near, far = np.clip(near, -limit, limit), np.clip(far, -limit, limit)
    folded = near[: cycles * _CYCLE].reshape(cycles, _CYCLE)
    reference = max(float(far.mean()), 1e-3)
    means = folded.mean(axis=0)
    phase = int(np.argmin(means + np.roll(means, -1)))
    pair = np.roll(folded, -phase, axis=1)
    # The other film frames match themselves best; without a cadence, all five averages are equal.
    deep = bool(np.roll(means, -phase)[:2].max() < 0 and pair[:, :2].mean() < -_MIN_TELECINE_DEPTH * reference)
    high = bool(pair[:, 2:].mean() > _MIN_TELECINE_DEPTH * reference)
    moving = np.abs(folded).max(axis=1) > 0.1 * np.abs(folded).max()
    agree = (pair[:, :2].mean(axis=1) < 0) & (pair[:, 2:].mean(axis=1) > 0)
    return deep and high and int(moving.sum()) >= _MIN_CYCLES and float(agree[moving].mean()) >= _MIN_CYCLE_SHARE


def _find_repeats(series: FieldSeries) -> npt.NDArray[np.bool_]:
    """Return, per frame, True if exactly one field repeats that of the previous frame."""
    low, high = np.minimum(series.top, series.bottom), np.maximum(series.top, series.bottom)
    repeated: npt.NDArray[np.bool_] = (high > 0.05) & (low < _MAX_REPEATED * high)
    return repeated


def _square_difference(one: Floats, other: Floats) -> Series:
    """Return the mean squared difference per frame."""
    different = one - other
    means: Series = np.einsum("nyx,nyx->n", different, different, dtype=np.float64) / max(1, different[0].size)
    return means


def _sum_neighbors(values: Series) -> Series:
    """Return the running sum over neighboring frames."""
    span = min(_SPAN, len(values))
    if not span:
        return values
    sums: Series = np.convolve(values, np.ones(span), mode="same")
    return sums


def _calculate_share(flags: npt.NDArray[np.bool_]) -> float:
    return round(float(flags.mean()), 3) if len(flags) else 0.0
