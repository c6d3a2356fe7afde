"""Whether frames are two fields of different times, which field comes first, and whether film was spread over them.

A frame's top field is compared with three bottom fields: its own, that of the frame before and that of the frame after.
How much worse than its own the other two fit is ``before`` and ``after``, in squared codes: noise of the picture adds
the same to all three and falls out. Where nothing moves both are 0 and nothing is known.

    progressive          before = after > 0: its own is of the same moment
    top field first      before = 0 < after: its own and that of the frame before are as near in time
    bottom field first   after = 0 < before

The same comparison of fields decides which to join in inverse telecine (FFmpeg's ``fieldmatch``). FFmpeg's ``idet``
was tried: it takes progressive pictures that move up or down for interlaced, and says nothing of noisy ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.restoration.diagnosis import FieldOrder, Window
from tasks.restoration.measuring.pictures import Floats

Series = npt.NDArray[np.float64]
Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

# Pixels side by side are averaged to about so many columns: noise shrinks, lines stay apart.
_COLUMNS = 180
# Lines left out at the bottom, as a share: the head switch tears them anew in every field.
_BOTTOM_SHARE = 1 / 24
# Frames judged together: a movement that begins or ends makes a single progressive frame look like a field pair.
_SPAN = 7
# Of the fields' misfit: smaller differences are chance (of 40,000 cells, noise gives a hundredth).
_LEAST = 0.02
# The smaller of before and after as a share of the larger: about 1 for progressive, 0.3 and less for fields.
_EVEN = 0.6
# Of what a field changes from frame to frame, what one that is shown again changes at most.
_REPEATED = 0.5
_CYCLE = 5
_LEAST_CYCLES = 3
_CYCLE_SHARE = 0.7
# In 3:2 telecine the own field fits worse than the other by so much of what fields a frame further misfit.
_TELECINE_DEPTH = 0.15
_OUTLIER = 4.0
# One window has one order: of frames that say the other one, no more than so many for each that says this one.
_CONTRADICTING = 1 / 3


@dataclass(frozen=True)
class FieldSeries:
    """How fields fit and change, one value a frame from the second to the last but one, in squared codes.

    before, after    how much worse than its own bottom field the frame before's and the frame after's fit
    misfit           how its own bottom field fits
    top, bottom      how much each field differs from that of the frame before
    """

    before: Series
    after: Series
    misfit: Series
    top: Series
    bottom: Series


class FieldMeter:
    """Takes the frames of one window in order."""

    def __init__(self) -> None:
        self._cells: list[Floats] = []

    def add(self, luma: Plane) -> None:
        """The luma of the next frame: height x width, as stored."""
        self._cells.append(cells(luma))

    def series(self) -> FieldSeries:
        """What the frames so far tell; empty for fewer than three."""
        if len(self._cells) < 3 or self._cells[0].shape[0] < 6:
            return FieldSeries(*(np.empty(0) for _ in range(5)))
        stack = np.stack(self._cells)
        top, above, below = stack[:, 2::2], stack[:, 1::2], stack[:, 3::2]
        lines = below.shape[1]
        bottom = (above[:, :lines] + below) * np.float32(0.5)
        misfits = [_squared(top[1:-1, :lines], bottom[1 + step : len(stack) - 1 + step]) for step in (-1, 0, 1)]
        changes = [_squared(part[1:-1], part[:-2]) for part in (stack[:, 0::2], stack[:, 1::2])]
        return FieldSeries(misfits[0] - misfits[1], misfits[2] - misfits[1], misfits[1], *changes)


def cells(luma: Plane) -> Floats:
    """``luma`` with neighbouring pixels of each line averaged, without the last lines: an even number of them."""
    height, width = luma.shape
    lines = max(2, int(height * (1 - _BOTTOM_SHARE))) // 2 * 2
    size = max(1, width // _COLUMNS)
    used = luma[:lines, : width // size * size]
    sums: Floats = np.add.reduceat(used, np.arange(0, used.shape[1], size), axis=1, dtype=np.float32)
    return sums / np.float32(size)


def judge_window(series: FieldSeries, start_seconds: float, frames: int) -> Window:
    """The shares of the window's frames that are interlaced, either way, and that are not; the rest is unknown."""
    before, after, misfit = (_together(part) for part in (series.before, series.after, series.misfit))
    low, high = np.minimum(before, after), np.maximum(before, after)
    known = np.maximum(high, -low) > _LEAST * misfit + 1e-3
    progressive = known & (low > _EVEN * high)
    fields = known & ~progressive
    return Window(
        start_seconds=start_seconds,
        frames=frames,
        tff_share=_share(fields & (before < after)),
        bff_share=_share(fields & (before > after)),
        progressive_share=_share(progressive),
        repeated_field_share=_share(_repeats(series)),
    )


def verdict(window: Window) -> FieldOrder | None:
    """What most of the window's known frames are; ``None`` where too few are known.

    Lines that tremble in a still picture look like fields of one order as often as of the other: they tell nothing.
    """
    shares: dict[FieldOrder, float] = {
        "tff": window.tff_share,
        "bff": window.bff_share,
        "progressive": window.progressive_share,
    }
    known = sum(shares.values())
    best = max(shares, key=lambda order: shares[order])
    tff, bff = window.tff_share, window.bff_share
    if best != "progressive" and min(tff, bff) > _CONTRADICTING * max(tff, bff):
        return None
    return best if known > 0.2 and shares[best] > known / 2 else None


def has_telecine(series: FieldSeries) -> bool:
    """Whether 3:2 telecine is seen: of every five frames two in a row hold fields of two film frames.

    Their top field fits the bottom field of one neighbour better than their own, always the same two of five.
    """
    return _folds(series.before, series.after) or _folds(series.after, series.before)


def _folds(near: Series, far: Series) -> bool:
    cycles = len(near) // _CYCLE
    if cycles < _LEAST_CYCLES:
        return False
    # A cut from one scene to another is worth no more than movement.
    most = _OUTLIER * float(np.median(np.maximum(np.abs(near), np.abs(far))))
    near, far = np.clip(near, -most, most), np.clip(far, -most, most)
    folded = near[: cycles * _CYCLE].reshape(cycles, _CYCLE)
    reference = max(float(far.mean()), 1e-3)
    means = folded.mean(axis=0)
    phase = int(np.argmin(means + np.roll(means, -1)))
    pair = np.roll(folded, -phase, axis=1)
    # The rest of the film frames fit themselves best; what has no cadence averages to the same in all five.
    deep = bool(np.roll(means, -phase)[:2].max() < 0 and pair[:, :2].mean() < -_TELECINE_DEPTH * reference)
    high = bool(pair[:, 2:].mean() > _TELECINE_DEPTH * reference)
    moving = np.abs(folded).max(axis=1) > 0.1 * np.abs(folded).max()
    agree = (pair[:, :2].mean(axis=1) < 0) & (pair[:, 2:].mean(axis=1) > 0)
    return deep and high and int(moving.sum()) >= _LEAST_CYCLES and float(agree[moving].mean()) >= _CYCLE_SHARE


def _repeats(series: FieldSeries) -> npt.NDArray[np.bool_]:
    """For each frame whether one of its fields is that of the frame before, while the other is not."""
    low, high = np.minimum(series.top, series.bottom), np.maximum(series.top, series.bottom)
    repeated: npt.NDArray[np.bool_] = (high > 0.05) & (low < _REPEATED * high)
    return repeated


def _squared(one: Floats, other: Floats) -> Series:
    """The mean squared difference, frame by frame."""
    different = one - other
    means: Series = np.einsum("nyx,nyx->n", different, different, dtype=np.float64) / max(1, different[0].size)
    return means


def _together(values: Series) -> Series:
    """The running sum over the frames around each one."""
    span = min(_SPAN, len(values))
    if not span:
        return values
    sums: Series = np.convolve(values, np.ones(span), mode="same")
    return sums


def _share(which: npt.NDArray[np.bool_]) -> float:
    return round(float(which.mean()), 3) if len(which) else 0.0
