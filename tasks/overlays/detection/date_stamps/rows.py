"""Lines of letters in what was found to last, and their ink: what goes on in the same line may be the same text.

Letters of one line have the same height, and stand on the same baseline. Their ink is what their strokes have in
common: a colour and an opacity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.fft import dct, idct

from tasks.media.segments.planes import Plane
from tasks.overlays.boxes import Box
from tasks.overlays.components import Shape, upsample_plane
from tasks.overlays.detection.fitting.overlay_fit import Fit, filler_of
from tasks.overlays.detection.sampling import Samples
from tasks.overlays.overlay import Floats, Mask

# A pixel is of a stroke where it differs from what is around it by this share of the most; of its core, by that.
_STROKE, _CORE = 0.5, 0.8
# Letters of one line: so many at least, so alike in height, and no smaller than digits can be read.
_FEWEST_LETTERS, _SAME_HEIGHT, _LEAST_HEIGHT_PX = 3, 0.15, 6
# What usually differs from its surroundings is told from so many frames.
_MOST_LOOKS = 24
# Inks are one where their colours differ by no more 8-bit codes, and opacities by no more.
_SAME_COLOR, _SAME_OPACITY = 40.0, 0.2
# So many rows above and below a line are touched by its soft edges; beyond them, so many are the picture's alone.
SOFT_ROWS, KNOWN_ROWS = 2, 2
# As far beside a line, in heights of it, it may go on.
_BEYOND = 14.0
# What is around a line is looked at so many heights above and below it.
_APART = 1.6
# Of chroma, where nothing tells how much it varies: it has fewer samples.
_CHROMA_WEIGHT = 0.25


@dataclass(frozen=True)
class TextRow:
    """A line of letters.

    box      around them, in pixels of the picture, without soft edges
    color    float32, one a component, in 8-bit codes
    opacity  of the strokes' cores, above 0 to 1
    found    boxes that it was found in, and what differs in them as strokes do: bool, height x width each
    """

    box: Box
    color: Floats
    opacity: float
    found: tuple[tuple[Box, Mask], ...]

    @property
    def height(self) -> int:
        """Of its letters, in pixels."""
        return self.box.height


@dataclass(frozen=True)
class Ink:
    """How much a frame has of an ink: height x width arrays.

    product  float32: what differs from the surroundings, times what full opacity would change
    square   float32: the square of the latter
    power    float32: the square of the former; all weighted with what is known of the picture's own variance
    """

    product: Floats
    square: Floats
    power: Floats


def text_rows(samples: Samples, fits: Sequence[Fit]) -> list[TextRow]:
    """The lines of letters in what was fitted; one that was found in parts is one."""
    rows: list[TextRow] = []
    for fitted in fits:
        for row in _rows_of(samples, fitted):
            same = next((number for number, one in enumerate(rows) if _is_same(one, row)), None)
            if same is None:
                rows.append(row)
            else:
                first = rows[same]
                rows[same] = replace(first, box=_widen(first.box, row.box), found=first.found + row.found)
    return [one for one in rows if not any(_is_piece(one, other) for other in rows)]


def _is_piece(one: TextRow, other: TextRow) -> bool:
    """Whether ``one`` is nothing but parts of the letters of ``other``."""
    lower = one.height < other.height
    return lower and one.box.y < other.box.bottom and other.box.y < one.box.bottom


def _rows_of(samples: Samples, fitted: Fit) -> Iterator[TextRow]:
    strengths = _strengths(samples, fitted)
    most = float(np.quantile(strengths[fitted.mask], 0.9))
    strokes = np.asarray(strengths > _STROKE * most)
    labels, _ = ndimage.label(strokes, np.ones((3, 3)))
    places = [(rows.start, rows.stop, columns.start, columns.stop) for rows, columns in ndimage.find_objects(labels)]
    left = np.array([place for place in places if place[1] - place[0] >= _LEAST_HEIGHT_PX], np.int64).reshape(-1, 4)
    core = np.asarray(strengths > _CORE * most)
    while len(left) >= _FEWEST_LETTERS:
        members = max((_aligned(left, one) for one in left), key=np.count_nonzero)
        if np.count_nonzero(members) < _FEWEST_LETTERS:
            return
        yield _row(fitted, left[members], (strokes, core), samples.shape)
        left = left[~members]


def _strengths(samples: Samples, fitted: Fit) -> Floats:
    """By how much each pixel usually differs from what surrounds the overlay: as often as a frame usually does."""
    filler, total = filler_of(fitted), np.zeros(fitted.mask.shape, np.float32)
    chosen = slice(None, None, -(-len(samples.indices) // _MOST_LOOKS))
    for number, stack in enumerate(samples.components):
        seen = np.stack([upsample_plane(plane, number, fitted.box, samples.shape) for plane in stack[chosen]])
        differs = seen - filler(seen)
        usual = 1 + float(np.median(differs[:, fitted.mask].std(axis=0)))
        total += (np.median(differs, axis=0) / np.float32(usual)) ** 2
    return np.sqrt(total)


def _aligned(places: npt.NDArray[np.int64], one: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of ``places`` (top, bottom, left, right) begin and end in the same rows as ``one``, nearly."""
    most = max(1.0, _SAME_HEIGHT * float(one[1] - one[0]))
    return np.asarray(np.abs(places[:, :2] - one[:2]).max(axis=1) <= most)


def _row(fitted: Fit, places: npt.NDArray[np.int64], dense: tuple[Mask, Mask], shape: Shape) -> TextRow:
    top, bottom = (int(np.median(places[:, number])) for number in (0, 1))
    left, right = int(places[:, 2].min()), int(places[:, 3].max())
    strokes, core = dense
    inside = np.zeros_like(core)
    for _, _, first, last in places:
        inside[top:bottom, first:last] = True
    where = core & inside & fitted.mask
    where = where if where.any() else fitted.mask
    box = Box(fitted.box.x + left, fitted.box.y + top, right - left, bottom - top)
    return TextRow(box, *_ink(fitted, where, shape), ((fitted.box, strokes),))


def with_ink_of(row: TextRow, fitted: Fit, shape: Shape) -> TextRow:
    """``row`` with the ink of ``fitted``, which has nothing but its letters."""
    dense = fitted.mask & (fitted.alpha >= _CORE * np.quantile(fitted.alpha[fitted.mask], _CORE))
    color, opacity = _ink(fitted, dense, shape)
    return replace(row, color=color, opacity=opacity)


def _ink(fitted: Fit, where: Mask, shape: Shape) -> tuple[Floats, float]:
    """The usual colour, in 8-bit codes, and the usual opacity."""
    color = np.median(fitted.color[:, where], axis=1) / np.float32(1 << (shape.bits - 8))
    return np.asarray(color, np.float32), float(np.median(fitted.alpha[where]))


def _is_same(one: TextRow, other: TextRow) -> bool:
    apart = max(abs(one.box.y - other.box.y), abs(one.box.bottom - other.box.bottom))
    colors = float(np.abs(one.color - other.color).max())
    close = abs(one.opacity - other.opacity) <= _SAME_OPACITY and colors <= _SAME_COLOR
    return close and apart <= max(1.0, _SAME_HEIGHT * one.height)


class RowView:
    """One line and as much beside it as it may go on, in frame after frame: how much ink lies where.

    ``box`` is what is looked at: all columns, the line's rows, those that its soft edges reach, and some beyond.
    """

    def __init__(self, row: TextRow, shape: Shape, size: tuple[int, ...]) -> None:
        self.row, self._shape = row, shape
        room, reach = SOFT_ROWS + KNOWN_ROWS, round(_BEYOND * row.height)
        left, right = max(0, row.box.x - reach), min(size[1], row.box.right + reach)
        top, bottom = max(0, row.box.y - room), min(size[0], row.box.bottom + room)
        self.box = Box(left, top, right - left, bottom - top)
        region = np.ones((bottom - top, right - left), np.bool_)
        region[:KNOWN_ROWS] = region[-KNOWN_ROWS:] = False
        self._inner, self._filler = region, _Strip(bottom - top - 2 * KNOWN_ROWS, right - left)
        away = round(_APART * row.height)
        others = (replace(self.box, y=self.box.y + step) for step in (-away, away))
        self._others = [one for one in others if one.y >= 0 and one.bottom <= size[0]]

    def seen(self, planes: Sequence[Plane]) -> tuple[Floats, Floats]:
        """The frame's components over ``box``, in 8-bit codes, and how much each of them counts."""
        frame = np.stack([upsample_plane(plane, number, self.box, self._shape) for number, plane in enumerate(planes)])
        return frame, self._weights(planes)

    def ink(self, frame: Floats, weights: Floats) -> Ink:
        """How much ink there is in ``frame``, components x height x width."""
        return ink_of(self.row, frame, self._filler(frame), weights)

    def _weights(self, planes: Sequence[Plane]) -> Floats:
        """One over the variance of what is filled in wrongly above and below the line."""
        if not self._others:
            return np.array([1.0] + [_CHROMA_WEIGHT] * (len(planes) - 1), np.float32)
        weights = []
        for number, plane in enumerate(planes):
            parts = np.stack([upsample_plane(plane, number, box, self._shape) for box in self._others])
            wrong = (parts - self._filler(parts))[:, self._inner]
            weights.append(1 / (1 + float((wrong**2).mean())))
        return np.array(weights, np.float32)


class _Strip:
    """Fills in whole rows from the ones above and below, by Laplace's equation, as a Filler does, but in no time.

    Each frequency along the rows fades with the distance by itself: a rectangle's solution by separation of variables,
    discrete, with mirrored ends.
    """

    def __init__(self, rows: int, columns: int) -> None:
        rate = np.arccosh(2 - np.cos(np.pi * np.arange(columns) / columns))
        far = rows + 1
        away = np.arange(1, far)[:, None]
        rate[0] = 1e-6  # the mean has the limit for small rates, a straight line
        fading = (np.exp(-rate * away) - np.exp(-rate * (2 * far - away))) / -np.expm1(-2 * rate * far)
        self._from_above = fading.astype(np.float32)
        self._from_below = self._from_above[::-1]

    def __call__(self, frames: Floats) -> Floats:
        """``frames``, frames x height x width, with all but the known rows filled in: a copy."""
        above, below = (dct(frames[:, row], axis=-1, norm="ortho") for row in (KNOWN_ROWS - 1, -KNOWN_ROWS))
        both = above[:, None] * self._from_above + below[:, None] * self._from_below
        filled = frames.copy()
        filled[:, KNOWN_ROWS:-KNOWN_ROWS] = idct(both, axis=-1, norm="ortho")
        return filled


def ink_of(row: TextRow, frame: Floats, beneath: Floats, weights: Floats) -> Ink:
    """How much ink there is in ``frame`` where ``beneath`` would be seen without it: components x height x width."""
    reach, differs, each = row.color[:, None, None] - beneath, frame - beneath, weights[:, None, None]
    parts = ((each * one * other).sum(axis=0) for one, other in ((reach, differs), (reach, reach), (differs, differs)))
    return Ink(*(np.asarray(part, np.float32) for part in parts))


def _widen(box: Box, other: Box) -> Box:
    """Return ``box`` with the columns of ``other`` and those between."""
    left = min(box.x, other.x)
    return Box(left, box.y, max(box.right, other.right) - left, box.height)
