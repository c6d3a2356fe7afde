"""Rows of letters in lasting overlays, and their ink: other letters in the same row may belong to the same text.

Letters of one row have the same height and baseline. Their ink is the common color and opacity.
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
from tasks.overlays.detection.fitting.overlay_fit import Fit, make_filler
from tasks.overlays.detection.sampling import Samples
from tasks.overlays.overlay import Floats, Mask

# Share of the maximum difference at which a pixel belongs to a stroke, and to its core.
_STROKE, _CORE = 0.5, 0.8
# Letters of a row: their minimum number, maximum difference in height, and minimum height.
_MIN_LETTERS, _SAME_HEIGHT, _MIN_HEIGHT_PX = 3, 0.15, 6
# Number of frames that the median difference from the surroundings is computed from.
_MAX_SAMPLES = 24
# Maximum differences in 8-bit codes and opacity of the same ink.
_SAME_COLOR, _SAME_OPACITY = 40.0, 0.2
# Rows above and below a row with its soft edges; and rows beyond that show only the image.
SOFT_ROWS, OUTSIDE_ROWS = 2, 2
# Maximum distance, in row heights, at which the row may continue.
_MAX_DISTANCE = 14.0
# Distance, in row heights, of the reference rows above and below.
_REFERENCE_DISTANCE = 1.6
# Weight of chroma without references: it has fewer samples.
_CHROMA_WEIGHT = 0.25


@dataclass(frozen=True)
class TextRow:
    """A row of letters.

    box      around them, in pixels of the frame, without soft edges
    color    float32, one per component, in 8-bit codes
    opacity  of the cores of strokes, above 0 to 1
    sources  boxes that it was found in, and the strokes in them: bool, height x width each
    """

    box: Box
    color: Floats
    opacity: float
    sources: tuple[tuple[Box, Mask], ...]

    @property
    def height(self) -> int:
        """The height of its letters, in pixels."""
        return self.box.height


@dataclass(frozen=True)
class Ink:
    """The amount of ink in a frame: height x width arrays.

    product  float32: difference from the surroundings times the change at full opacity
    square   float32: squared change at full opacity
    power    float32: squared difference; all are weighted by the inverse variance of the image
    """

    product: Floats
    square: Floats
    power: Floats


def find_rows(samples: Samples, fits: Sequence[Fit]) -> list[TextRow]:
    """Return the rows of letters in ``fits``; parts of a row are merged."""
    rows: list[TextRow] = []
    for fitted in fits:
        for row in _find_rows_in(samples, fitted):
            same = next((number for number, other in enumerate(rows) if _is_same(other, row)), None)
            if same is None:
                rows.append(row)
            else:
                first = rows[same]
                rows[same] = replace(first, box=_widen(first.box, row.box), sources=first.sources + row.sources)
    return [row for row in rows if not any(_is_part(row, other) for other in rows)]


def _is_part(row: TextRow, other: TextRow) -> bool:
    """Return True if ``row`` contains only parts of the letters of ``other``."""
    lower = row.height < other.height
    return lower and row.box.y < other.box.bottom and other.box.y < row.box.bottom


def _find_rows_in(samples: Samples, fitted: Fit) -> Iterator[TextRow]:
    strengths = _measure_strengths(samples, fitted)
    strongest = float(np.quantile(strengths[fitted.mask], 0.9))
    strokes = np.asarray(strengths > _STROKE * strongest)
    labels, _ = ndimage.label(strokes, np.ones((3, 3)))
    places = [(rows.start, rows.stop, columns.start, columns.stop) for rows, columns in ndimage.find_objects(labels)]
    left = np.array([place for place in places if place[1] - place[0] >= _MIN_HEIGHT_PX], np.int64).reshape(-1, 4)
    core = np.asarray(strengths > _CORE * strongest)
    while len(left) >= _MIN_LETTERS:
        members = max((_select_aligned(left, place) for place in left), key=np.count_nonzero)
        if np.count_nonzero(members) < _MIN_LETTERS:
            return
        yield _make_row(fitted, left[members], (strokes, core), samples.shape)
        left = left[~members]


def _measure_strengths(samples: Samples, fitted: Fit) -> Floats:
    """Return the median difference of each pixel from the overlay's surroundings, in standard deviations."""
    filler, total = make_filler(fitted), np.zeros(fitted.mask.shape, np.float32)
    chosen = slice(None, None, -(-len(samples.indices) // _MAX_SAMPLES))
    for number, stack in enumerate(samples.components):
        seen = np.stack([upsample_plane(plane, number, fitted.box, samples.shape) for plane in stack[chosen]])
        differs = seen - filler(seen)
        usual = 1 + float(np.median(differs[:, fitted.mask].std(axis=0)))
        total += (np.median(differs, axis=0) / np.float32(usual)) ** 2
    return np.sqrt(total)


def _select_aligned(places: npt.NDArray[np.int64], place: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return the ``places`` (top, bottom, left, right) start and end in about the same rows as ``place``."""
    limit = max(1.0, _SAME_HEIGHT * float(place[1] - place[0]))
    return np.asarray(np.abs(places[:, :2] - place[:2]).max(axis=1) <= limit)


def _make_row(fitted: Fit, places: npt.NDArray[np.int64], dense: tuple[Mask, Mask], shape: Shape) -> TextRow:
    top, bottom = (int(np.median(places[:, number])) for number in (0, 1))
    left, right = int(places[:, 2].min()), int(places[:, 3].max())
    strokes, core = dense
    inside = np.zeros_like(core)
    for _, _, first, last in places:
        inside[top:bottom, first:last] = True
    where = core & inside & fitted.mask
    where = where if where.any() else fitted.mask
    box = Box(fitted.box.x + left, fitted.box.y + top, right - left, bottom - top)
    return TextRow(box, *_estimate_ink(fitted, where, shape), ((fitted.box, strokes),))


def replace_ink(row: TextRow, fitted: Fit, shape: Shape) -> TextRow:
    """Return ``row`` with the ink of ``fitted``, which contains only its letters."""
    dense = fitted.mask & (fitted.alpha >= _CORE * np.quantile(fitted.alpha[fitted.mask], _CORE))
    color, opacity = _estimate_ink(fitted, dense, shape)
    return replace(row, color=color, opacity=opacity)


def _estimate_ink(fitted: Fit, where: Mask, shape: Shape) -> tuple[Floats, float]:
    """Return the median color, in 8-bit codes, and the median opacity."""
    color = np.median(fitted.color[:, where], axis=1) / np.float32(1 << (shape.bits - 8))
    return np.asarray(color, np.float32), float(np.median(fitted.alpha[where]))


def _is_same(row: TextRow, other: TextRow) -> bool:
    apart = max(abs(row.box.y - other.box.y), abs(row.box.bottom - other.box.bottom))
    colors = float(np.abs(row.color - other.color).max())
    close = abs(row.opacity - other.opacity) <= _SAME_OPACITY and colors <= _SAME_COLOR
    return close and apart <= max(1.0, _SAME_HEIGHT * row.height)


class RowView:
    """The ink in and next to one row, in successive frames.

    ``box`` is the part that is read: all columns, the row, its soft edges, and some rows beyond.
    """

    def __init__(self, row: TextRow, shape: Shape, size: tuple[int, ...]) -> None:
        self.row, self._shape = row, shape
        room, reach = SOFT_ROWS + OUTSIDE_ROWS, round(_MAX_DISTANCE * row.height)
        left, right = max(0, row.box.x - reach), min(size[1], row.box.right + reach)
        top, bottom = max(0, row.box.y - room), min(size[0], row.box.bottom + room)
        self.box = Box(left, top, right - left, bottom - top)
        region = np.ones((bottom - top, right - left), np.bool_)
        region[:OUTSIDE_ROWS] = region[-OUTSIDE_ROWS:] = False
        self._inner, self._filler = region, _Strip(bottom - top - 2 * OUTSIDE_ROWS, right - left)
        away = round(_REFERENCE_DISTANCE * row.height)
        others = (replace(self.box, y=self.box.y + step) for step in (-away, away))
        self._others = [box for box in others if box.y >= 0 and box.bottom <= size[0]]

    def read(self, planes: Sequence[Plane]) -> tuple[Floats, Floats]:
        """Return the frame's components over ``box``, in 8-bit codes, and the weight of each."""
        frame = np.stack([upsample_plane(plane, number, self.box, self._shape) for number, plane in enumerate(planes)])
        return frame, self._measure_weights(planes)

    def measure_ink(self, frame: Floats, weights: Floats) -> Ink:
        """Return the ink in ``frame``: components x height x width."""
        return measure_ink(self.row, frame, self._filler(frame), weights)

    def _measure_weights(self, planes: Sequence[Plane]) -> Floats:
        """Return the inverse error variances of filling in above and below the row."""
        if not self._others:
            return np.array([1.0] + [_CHROMA_WEIGHT] * (len(planes) - 1), np.float32)
        weights = []
        for number, plane in enumerate(planes):
            parts = np.stack([upsample_plane(plane, number, box, self._shape) for box in self._others])
            errors = (parts - self._filler(parts))[:, self._inner]
            weights.append(1 / (1 + float((errors**2).mean())))
        return np.array(weights, np.float32)


class _Strip:
    """Fills in whole rows from those above and below by Laplace's equation, like a Filler but faster.

    Each frequency along the rows decays independently with the distance: the solution for a rectangle by separation of
    variables, discrete, with mirrored ends.
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
        """Return a copy of ``frames`` (frames x height x width) with all but the outer rows filled in."""
        above, below = (dct(frames[:, row], axis=-1, norm="ortho") for row in (OUTSIDE_ROWS - 1, -OUTSIDE_ROWS))
        both = above[:, None] * self._from_above + below[:, None] * self._from_below
        filled = frames.copy()
        filled[:, OUTSIDE_ROWS:-OUTSIDE_ROWS] = idct(both, axis=-1, norm="ortho")
        return filled


def measure_ink(row: TextRow, frame: Floats, beneath: Floats, weights: Floats) -> Ink:
    """Return the ink in ``frame`` over the background ``beneath``: components x height x width."""
    reach, differs, each = row.color[:, None, None] - beneath, frame - beneath, weights[:, None, None]
    parts = (
        (each * factor * other_factor).sum(axis=0)
        for factor, other_factor in ((reach, differs), (reach, reach), (differs, differs))
    )
    return Ink(*(np.asarray(part, np.float32) for part in parts))


def _widen(box: Box, other: Box) -> Box:
    """Return ``box`` with the columns of ``other`` and those between."""
    left = min(box.x, other.x)
    return Box(left, box.y, max(box.right, other.right) - left, box.height)
