"""The successive letters in one place of a row: the pixels that each covers, and their opacity.

The row gives the ink. Over the frames of a letter, each pixel's opacity is the difference from its
surroundings relative to the change by opaque ink, by least squares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.overlays.detection.date_stamps.changes import Block, estimate_coverage
from tasks.overlays.detection.date_stamps.rows import OUTSIDE_ROWS, Ink, RowView, TextRow, measure_ink
from tasks.overlays.detection.fitting.filling import Filler
from tasks.overlays.masks import grow_mask
from tasks.overlays.overlay import Floats, FrameRange, Mask, merge_ranges

# Maximum number of frames held per letter.
_MAX_FRAMES = 48
# Relative to the ink's opacity: the core of a stroke, the minimum of touched pixels, and the minimum ratio of these
# to the error outside.
_CORE, _MIN_SHARE, _SURE = 0.5, 0.05, 2.0
# Minimum core of a letter in pixels, and the maximum error relative to the ink's opacity.
_MIN_CORE_PX, _MAX_ERROR = 8, 0.3
# Width of a stroke's soft edge.
_SOFT_PX = 1
# Maximum difference of equal letters, relative to their power (a 6 and an 8 differ by a tenth); and of letters that may
# be equal over different backgrounds.
_SAME, ALIKE = 0.05, 0.3


@dataclass(frozen=True)
class Glyph:
    """The letter in a block for some time; arrays are height x width of the block.

    mask       bool: pixels that it touches; none if the block is blank
    alpha      float32, 0 to 1; 0 outside the mask
    error      RMS error of ``alpha`` outside the letter
    explained  share of the unexpected differences that the ink explains
    shown      the frames in which it shows
    """

    mask: Mask
    alpha: Floats
    error: float
    explained: float
    shown: tuple[FrameRange, ...]

    def is_clear(self, opacity: float) -> bool:
        """Return True if its shape is accurate, for ink of that opacity."""
        return self.error <= _MAX_ERROR * opacity


class GlyphReader:
    """Receives the frames of a block and returns its letter when it has changed.

    At most ``_MAX_FRAMES`` frames are held: of letters that stay longer, every second frame, or every fourth.
    """

    def __init__(self, view: RowView, block: Block, start: int) -> None:
        self._row, self._columns = view.row, block.columns
        self._region = np.ones((view.box.height, block.end - block.start), np.bool_)
        self._region[:OUTSIDE_ROWS] = self._region[-OUTSIDE_ROWS:] = False
        self._held: list[tuple[int, Floats, Floats]] = []
        self._every, self._start = 1, start

    def push(self, frame: int, values: Floats, weights: Floats) -> None:
        """Add the next frame: components x height x width of the whole view."""
        if frame % self._every == 0:
            self._held.append((frame, values[:, :, self._columns].copy(), weights))
        if len(self._held) >= _MAX_FRAMES:
            self._every *= 2
            self._held = [held for held in self._held if held[0] % self._every == 0]

    def close(self, end: int) -> Iterator[Glyph]:
        """Yield the letter shown until frame ``end``, in which it changes; no letter if its frames were not read."""
        frames = [(frame, weights) for index, frame, weights in self._held if index < end]
        shown = FrameRange(self._start, end)
        self._held = [held for held in self._held if held[0] >= end]
        self._every, self._start = 1, end
        if frames:
            yield read_glyph(self._row, self._region, frames, shown)


def read_glyph(row: TextRow, region: Mask, frames: list[tuple[Floats, Floats]], shown: FrameRange) -> Glyph:
    """Return the letter that ``region`` shows in all ``frames``; each comes with the weights of its components."""
    inks = _measure_inks(row, region, frames)
    mask, error = _select_touched(estimate_coverage(inks), region, row.opacity)
    if mask.any():
        inks = _measure_inks(row, grow_mask(mask, _SOFT_PX) & region, frames)
        mask, error = _select_touched(estimate_coverage(inks), region, row.opacity)
    alpha = np.where(mask, np.clip(estimate_coverage(inks), 0, row.opacity), 0).astype(np.float32)
    return Glyph(mask, alpha, error, _measure_explained(inks, mask), (shown,))


def _measure_inks(row: TextRow, region: Mask, frames: list[tuple[Floats, Floats]]) -> list[Ink]:
    filler = Filler(region)
    return [measure_ink(row, frame, filler(frame), weights) for frame, weights in frames]


def _select_touched(alpha: Floats, region: Mask, opacity: float) -> tuple[Mask, float]:
    """Return the pixels that the letter touches, and the error of ``alpha`` outside."""
    core = region & (alpha > _CORE * opacity)
    if np.count_nonzero(core) < _MIN_CORE_PX:
        return np.zeros_like(region), _compute_rms(alpha[region])
    core_and_rim = grow_mask(core, _SOFT_PX)
    background = region & ~grow_mask(core_and_rim, 1)
    error = _compute_rms(alpha[background]) if background.any() else 0.0
    return np.asarray(core | (core_and_rim & region & (alpha > max(_MIN_SHARE * opacity, _SURE * error)))), error


def _measure_explained(inks: list[Ink], mask: Mask) -> float:
    if not mask.any():
        return 0.0
    product, square = np.zeros(np.count_nonzero(mask)), np.zeros(np.count_nonzero(mask))
    power = 0.0
    for ink in inks:
        product, square, power = product + ink.product[mask], square + ink.square[mask], power + ink.power[mask].sum()
    return float((product**2 / np.maximum(square, 1e-3)).sum() / max(float(power), 1e-3))


def _compute_rms(values: Floats) -> float:
    return float(np.sqrt((values**2).mean()))


def merge_glyphs(glyphs: Sequence[Glyph], max_difference: float = _SAME) -> list[Glyph]:
    """Merge equal letters into one, which shows in the frames of all."""
    merged: list[Glyph] = []
    for glyph in glyphs:
        same = next((number for number, other in enumerate(merged) if _compare(glyph, other) <= max_difference), None)
        if same is None:
            merged.append(glyph)
        else:
            merged[same] = _combine(merged[same], glyph)
    return merged


def _compare(glyph: Glyph, other: Glyph) -> float:
    """Return the squared difference of their opacities, relative to their power."""
    power = float((glyph.alpha**2).sum() + (other.alpha**2).sum()) / 2
    return float(((glyph.alpha - other.alpha) ** 2).sum()) / max(power, 1e-6)


def _combine(glyph: Glyph, other: Glyph) -> Glyph:
    """Return the clearer of the two, with the frames of both."""
    best = min(glyph, other, key=lambda candidate: candidate.error)
    return Glyph(best.mask, best.alpha, best.error, best.explained, merge_ranges(glyph.shown + other.shown))
