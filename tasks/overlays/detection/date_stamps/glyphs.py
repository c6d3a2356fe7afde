"""The letters of one place beside a line, one after the other: which pixels each covers, and how densely.

Its ink is known from the line. From the first to the last frame of a letter, each pixel's opacity is what is seen there
beyond what surrounds it, as a share of what the ink would change were it opaque: least squares over the frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.overlays.detection.date_stamps.changes import Block, coverage
from tasks.overlays.detection.date_stamps.rows import KNOWN_ROWS, Ink, RowView, TextRow, ink_of
from tasks.overlays.detection.fitting.filling import Filler
from tasks.overlays.masks import grow_mask
from tasks.overlays.overlay import Floats, FrameRange, Mask

# Frames of one letter that are held.
_MOST_FRAMES = 48
# Of the ink's opacity: what the core of a stroke has, and the least that counts as touched; more where that is not
# so many times what chance does beside the strokes.
_CORE, _TOUCHED, _SURE = 0.5, 0.05, 2.0
# Pixels of a letter's core; and how large the error may be, as a share of the ink's opacity, so that it is known.
_FEWEST_CORE_PX, _MOST_ERROR = 8, 0.3
# A stroke's soft edge.
_SOFT_PX = 1
# Letters are the same where their opacities differ by no more than this, as a share of their power: a 6 and an 8 do
# by a tenth. They are alike, and may be the same over another picture, up to this.
_SAME, ALIKE = 0.05, 0.3


@dataclass(frozen=True)
class Glyph:
    """What stands in a block for some time; height x width of the block.

    mask       bool: pixels that it touches; none where the place is blank
    alpha      float32, 0 to 1; 0 outside the mask
    error      root mean square error of ``alpha``, where nothing lies
    explained  the share of what is seen there, but not expected, that ink accounts for
    shown      the frames in which it shows
    """

    mask: Mask
    alpha: Floats
    error: float
    explained: float
    shown: tuple[FrameRange, ...]

    def is_clear(self, opacity: float) -> bool:
        """Whether its shape is known, if the ink has that opacity."""
        return self.error <= _MOST_ERROR * opacity


class GlyphReader:
    """Takes the frames of a block, and gives the letter that has stood there when told that it has changed.

    No more than ``_MOST_FRAMES`` frames are held: of a letter that stays for longer, every second one, or fourth.
    """

    def __init__(self, view: RowView, block: Block, start: int) -> None:
        self._row, self._columns = view.row, block.columns
        self._region = np.ones((view.box.height, block.end - block.start), np.bool_)
        self._region[:KNOWN_ROWS] = self._region[-KNOWN_ROWS:] = False
        self._held: list[tuple[int, Floats, Floats]] = []
        self._every, self._start = 1, start

    def push(self, frame: int, picture: Floats, weights: Floats) -> None:
        """The next frame, components x height x width of the whole view."""
        if frame % self._every == 0:
            self._held.append((frame, picture[:, :, self._columns].copy(), weights))
        if len(self._held) >= _MOST_FRAMES:
            self._every *= 2
            self._held = [one for one in self._held if one[0] % self._every == 0]

    def close(self, end: int) -> Iterator[Glyph]:
        """What has stood there up to frame ``end``, which has another; nothing where no frame of it was read."""
        mine = [(frame, weights) for index, frame, weights in self._held if index < end]
        shown = FrameRange(self._start, end)
        self._held = [one for one in self._held if one[0] >= end]
        self._every, self._start = 1, end
        if mine:
            yield read_glyph(self._row, self._region, mine, shown)


def read_glyph(row: TextRow, region: Mask, frames: list[tuple[Floats, Floats]], shown: FrameRange) -> Glyph:
    """The letter that stands in ``region`` in all of ``frames``, each with the weights of its components."""
    inks = _inks(row, region, frames)
    mask, error = _touched(coverage(inks), region, row.opacity)
    if mask.any():
        inks = _inks(row, grow_mask(mask, _SOFT_PX) & region, frames)
        mask, error = _touched(coverage(inks), region, row.opacity)
    alpha = np.where(mask, np.clip(coverage(inks), 0, row.opacity), 0).astype(np.float32)
    return Glyph(mask, alpha, error, _explained(inks, mask), (shown,))


def _inks(row: TextRow, region: Mask, frames: list[tuple[Floats, Floats]]) -> list[Ink]:
    filler = Filler(region)
    return [ink_of(row, frame, filler(frame), weights) for frame, weights in frames]


def _touched(alpha: Floats, region: Mask, opacity: float) -> tuple[Mask, float]:
    """Which pixels the letter touches, and the error of ``alpha`` beside it."""
    core = region & (alpha > _CORE * opacity)
    if np.count_nonzero(core) < _FEWEST_CORE_PX:
        return np.zeros_like(region), _rms(alpha[region])
    near = grow_mask(core, _SOFT_PX)
    beside = region & ~grow_mask(near, 1)
    error = _rms(alpha[beside]) if beside.any() else 0.0
    return np.asarray(core | (near & region & (alpha > max(_TOUCHED * opacity, _SURE * error)))), error


def _explained(inks: list[Ink], mask: Mask) -> float:
    if not mask.any():
        return 0.0
    product, square = np.zeros(np.count_nonzero(mask)), np.zeros(np.count_nonzero(mask))
    power = 0.0
    for one in inks:
        product, square, power = product + one.product[mask], square + one.square[mask], power + one.power[mask].sum()
    return float((product**2 / np.maximum(square, 1e-3)).sum() / max(float(power), 1e-3))


def _rms(values: Floats) -> float:
    return float(np.sqrt((values**2).mean()))


def merged(glyphs: Sequence[Glyph], most_apart: float = _SAME) -> list[Glyph]:
    """Letters that are the same as one, which shows in the frames of all of them."""
    found: list[Glyph] = []
    for one in glyphs:
        same = next((number for number, other in enumerate(found) if _apart(one, other) <= most_apart), None)
        if same is None:
            found.append(one)
        else:
            found[same] = _both(found[same], one)
    return found


def _apart(one: Glyph, other: Glyph) -> float:
    """How far their opacities are apart, as a share of their power."""
    power = float((one.alpha**2).sum() + (other.alpha**2).sum()) / 2
    return float(((one.alpha - other.alpha) ** 2).sum()) / max(power, 1e-6)


def _both(one: Glyph, other: Glyph) -> Glyph:
    """The clearer of the two, in the frames of both."""
    best = min(one, other, key=lambda glyph: glyph.error)
    return Glyph(best.mask, best.alpha, best.error, best.explained, _joined(one.shown + other.shown))


def _joined(ranges: tuple[FrameRange, ...]) -> tuple[FrameRange, ...]:
    found: list[FrameRange] = []
    for one in sorted(ranges, key=lambda one: one.start_frame):
        if found and found[-1].end_frame >= one.start_frame:
            found[-1] = FrameRange(found[-1].start_frame, max(found[-1].end_frame, one.end_frame))
        else:
            found.append(one)
    return tuple(found)
