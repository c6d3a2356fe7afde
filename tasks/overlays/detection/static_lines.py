"""Lines of text that come and go, as subtitles do: edges that appear at once, stay for a while, and end together.

The video is looked at several times a second, the lower and the upper part of the picture only. Edges are taken for a
line where they are new, stay the same in several looks while little else does, and alternate as strokes do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from tasks.media.segments.planes import Plane
from tasks.media.segments.source import Survey
from tasks.overlays.components import component_shape, planar_name
from tasks.overlays.detection.static_fitting import Fit, fit
from tasks.overlays.detection.static_sampling import Samples, read_frames, stacked
from tasks.overlays.overlay import Box, Floats, Mask

# Looks lie so many seconds apart; a line lasts for several.
_STEP_S, _LOOKS = 0.2, 4
# The shares of the picture's height in which lines are looked for: from, and up to.
_BANDS = ((0.6, 1.0), (0.0, 0.3))
# Gradients in 8-bit codes a pixel, and how well they agree in all looks.
_EDGE, _AGREEING = 5.0, 0.5
# A line's height as a share of the picture's, its least width as so many heights, and how full of edges it is.
_HEIGHTS, _LEAST_WIDE, _FILLED = (0.02, 0.14), 3.0, (0.08, 0.8)
# Strokes: so many changes of direction along the usual row.
_FEWEST_TURNS = 10
# Of all new edges, those that are the line's; and how much of what is around it may have edges that last.
_MOSTLY, _MOST_AROUND = 0.6, 0.12
_SHOWN, _GONE = 0.5, 0.3
# Videos longer than this are not looked at: that costs decoding all of it.
MOST_SECONDS = 600.0
# Text that stays for longer is not read as it comes; text over what stands still belongs to the picture, as of slides.
_MOST_SHOWN_S, _LEAST_VARIETY = 8.0, 0.8
_INSIDE = 12

Gradients = tuple[Floats, Floats]


@dataclass(frozen=True)
class Line:
    """A line of text.

    box      in pixels of the picture, with room around it
    edges    bool, height x width of the box
    start    the first frame in which it shows
    end      the first in which it does not any more
    """

    box: Box
    edges: Mask
    start: int
    end: int


@dataclass
class _Open:
    """A line that has begun: where, the gradients there, and the look in which it was first seen whole."""

    box: Box
    edges: Mask
    across: Floats
    down: Floats
    since: int

    def strength(self, luma: Floats) -> float:
        """How much of its edges a picture has."""
        across, down = _gradients(luma[self.box.y : self.box.bottom, self.box.x : self.box.right])
        product = (across * self.across + down * self.down)[self.edges].sum()
        return float(product / (self.across**2 + self.down**2)[self.edges].sum())


def find_lines(path: Path, found: Survey) -> Iterator[Line]:
    """The lines of the video at ``path``, as they end; none of a video that is too long."""
    frames = len(found.timeline)
    seconds = found.timeline.duration_seconds
    if not 0 < seconds <= MOST_SECONDS:
        return
    step = max(1, round(_STEP_S * frames / seconds))
    unit = np.float32(1 << (component_shape(planar_name(found.picture.pixel_format)).bits - 8))
    bands = [_Band(share, found.picture.height_px) for share in _BANDS]
    for index, planes in read_frames(path, found, list(range(0, frames, step))):
        for band in bands:
            for opened, last in band.look(index, planes[0], unit):
                yield from _exact(path, found, opened, (last, index, step), unit)
    for band in bands:
        if band.open is not None:
            yield from _exact(path, found, band.open, (frames, frames, step), unit)


def fit_line(path: Path, found: Survey, line: Line) -> tuple[Samples, Fit] | None:
    """The fit of ``line`` out of frames in which it shows, each for itself; None where it is nothing but chance."""
    wanted = np.unique(np.linspace(line.start, line.end - 1, _INSIDE).round().astype(int)).tolist()
    taken = list(read_frames(path, found, wanted))
    if len(taken) < _LOOKS:
        return None
    shape = component_shape(planar_name(found.picture.pixel_format))
    stacks = tuple(stacked([planes[number] for _, planes in taken]) for number in range(len(shape.divisors)))
    samples = Samples(shape, tuple(index for index, _ in taken), stacks, np.arange(len(taken)))
    size = stacks[0].shape[1:]
    box = _roomy(line.box, size)
    edges, others = np.zeros((box.height, box.width), np.bool_), np.zeros(size, np.bool_)
    top, left = line.box.y - box.y, line.box.x - box.x
    edges[top : top + line.box.height, left : left + line.box.width] = line.edges
    others[box.y : box.bottom, box.x : box.right] = edges
    if _variety(stacks[0], box, edges) < _LEAST_VARIETY * (1 << (shape.bits - 8)):
        return None
    fitted = fit(samples, box, edges, others)
    return None if fitted is None else (samples, fitted)


def _variety(luma: Plane, box: Box, edges: Mask) -> float:
    """The mean standard deviation over frames of what surrounds the edges, in codes: 0 where it stands still."""
    around = cv2.dilate(edges.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    part = luma[:, box.y : box.bottom, box.x : box.right].astype(np.float32)
    return float(part.std(axis=0)[around].mean()) if around.any() else 0.0


def _roomy(box: Box, size: tuple[int, ...]) -> Box:
    room = max(8, box.height // 2)
    left, top = max(0, box.x - room), max(0, box.y - room)
    return Box(left, top, min(size[1], box.right + room) - left, min(size[0], box.bottom + room) - top)


class _Band:
    """One part of the picture, looked at again and again."""

    def __init__(self, share: tuple[float, float], height: int) -> None:
        self._rows = slice(round(share[0] * height), round(share[1] * height))
        self._height = height
        self._seen: deque[Gradients] = deque(maxlen=_LOOKS)
        self._indices: deque[int] = deque(maxlen=_LOOKS)
        self._before: deque[Mask] = deque(maxlen=_LOOKS)
        self.open: _Open | None = None

    def look(self, index: int, luma: Plane, unit: np.float32) -> Iterator[tuple[_Open, int]]:
        """Take a look. Gives the line that has ended since the one before, whose index comes with it."""
        picture = luma.astype(np.float32) / unit
        if self.open is not None and self.open.strength(picture) < _SHOWN:
            yield self.open, self._indices[-1]
            self.open = None
        self._seen.append(_gradients(picture[self._rows]))
        self._indices.append(index)
        if len(self._seen) < _LOOKS:
            return
        lasting, mean = _lasting(self._seen)
        if self.open is None:
            old = self._before[0] if len(self._before) == _LOOKS else np.zeros_like(lasting)
            new = lasting & (cv2.dilate(old.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
            self.open = self._line(new, lasting, mean)
        self._before.append(lasting)

    def _line(self, new: Mask, lasting: Mask, mean: Gradients) -> _Open | None:
        box = _text_box(new, self._height)
        if box is None:
            return None
        part = np.s_[box.y : box.bottom, box.x : box.right]
        around = np.s_[max(0, box.y - box.height) : box.bottom + box.height, max(0, box.x - box.height) :]
        others = lasting[around].sum() - lasting[part].sum()
        if new[part].sum() < _MOSTLY * new.sum() or others > _MOST_AROUND * lasting[around].size:
            return None
        whole = Box(box.x, box.y + self._rows.start, box.width, box.height)
        return _Open(whole, new[part], mean[0][part], mean[1][part], self._indices[0])


def _text_box(new: Mask, height: int) -> Box | None:
    """Where the new edges lie side by side as letters do; None where they do not."""
    reach = max(5, round(height * 0.05)) | 1
    joined = cv2.morphologyEx(new.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, reach), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    if count < 2:
        return None
    x, y, width, tall = (int(value) for value in stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())][:4])
    apart = _together(np.asarray(stats[1:], np.int32), (x, y, width, tall), reach)
    left, top, right, bottom = apart
    box = Box(left, top, right - left, bottom - top)
    part = new[box.y : box.bottom, box.x : box.right]
    tall_enough = _HEIGHTS[0] * height <= box.height <= _HEIGHTS[1] * height
    if not tall_enough or box.width < _LEAST_WIDE * box.height or not _FILLED[0] <= part.mean() <= _FILLED[1]:
        return None
    changes = np.count_nonzero(np.diff(part.astype(np.int8), axis=1), axis=1)
    return box if float(np.quantile(changes, 0.6)) >= 2 * _FEWEST_TURNS else None


def _together(stats: npt.NDArray[np.int32], first: tuple[int, int, int, int], reach: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what lies in the rows of ``first``, no farther apart than words are."""
    left, top, right, bottom = first[0], first[1], first[0] + first[2], first[1] + first[3]
    rows = top - 0.5 * first[3], bottom + 0.5 * first[3]
    for x, y, width, tall, area in sorted(stats.tolist(), key=lambda one: abs(one[0] + one[2] / 2 - first[0])):
        beside = x < right + 2 * reach and x + width > left - 2 * reach
        if beside and y >= rows[0] and y + tall <= rows[1] and area >= 4:
            left, top, right, bottom = min(left, x), min(top, y), max(right, x + width), max(bottom, y + tall)
    return left, top, right, bottom


def _gradients(luma: Floats) -> Gradients:
    kernel = np.array([[-0.5, 0, 0.5]], np.float32)
    across, down = (cv2.filter2D(luma, cv2.CV_32F, one) for one in (kernel, kernel.T))
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def _lasting(seen: deque[Gradients]) -> tuple[Mask, Gradients]:
    """Where all looks have the same edge, and the mean of it."""
    across = np.asarray(np.mean([one[0] for one in seen], axis=0), np.float32)
    down = np.asarray(np.mean([one[1] for one in seen], axis=0), np.float32)
    square = across**2 + down**2
    found = square > _EDGE**2
    for one in seen:
        found &= one[0] * across + one[1] * down > _AGREEING * square
    return np.asarray(found), (across, down)


def _exact(path: Path, found: Survey, line: _Open, seen: tuple[int, int, int], unit: np.float32) -> Iterator[Line]:
    """``line`` with its first and last frame; nothing where it does not begin and end at once."""
    last, gone, step = seen
    frames = len(found.timeline)
    early = list(range(max(0, line.since - 6 * step), min(line.since + step, last)))
    late = list(range(last, min(frames, gone + 1)))
    strengths = {
        index: line.strength(planes[0].astype(np.float32) / unit)
        for index, planes in read_frames(path, found, sorted({*early, *late}))
    }
    before = [index for index in early if strengths.get(index, 1.0) < _SHOWN]
    if not before or strengths[before[0]] > _GONE:
        return
    start = before[-1] + 1
    end = next((index for index in late if strengths.get(index, 0.0) < _SHOWN), gone)
    longest = _MOST_SHOWN_S * frames / found.timeline.duration_seconds
    if step < end - start <= longest:
        yield Line(line.box, line.edges, start, end)
