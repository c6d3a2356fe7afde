"""The first and last frame of a text line, and whether it is an overlay or part of the scene.

A line that appears or disappears while its surroundings stay is not part of the scene; neither is one that stays while
its surroundings move. A line that starts and ends at cuts over a still scene is a title or belongs to a slide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box
from tasks.overlays.components import get_planar_format, read_shape
from tasks.overlays.detection.sampling import read_frames
from tasks.overlays.detection.text_lines.strokes import compute_gradients, find_text_boxes, shrink
from tasks.overlays.overlay import Floats, Mask

# Share of a line's edges that separates frames with it from frames without it.
_SHOWN = 0.5
# It starts and ends with such a jump from one frame to the next, unlike moving edges.
_MIN_JUMP = 0.4
# It may have started this many samples before the first that shows all of it.
_MAX_EARLIER = 6
# Number of sampled frames in which it shows.
_SAMPLES_INSIDE = 12
# The surroundings stay if most of them change by at most this many 8-bit codes, or this factor of the usual change, and
# the rest of the frame by at most this share: whole slides change.
_STAYS, _AS_USUAL = (2.0, 0.01), 2.5
# Scale-down factor of the rest of the frame.
_SMALLER = 4
# Mean standard deviation of the surroundings, in codes, above coding noise.
_LIVELY = 0.8
# A frame is empty if nearly all of it differs by less than this: text on it is a title.
_EMPTY, _NEARLY_ALL = 4.0, (0.05, 0.95)
# Gradients in 8-bit codes per pixel, how well they agree, and in which share of samples or surroundings.
_EDGE, _AGREEING, _MAJORITY = 5.0, 0.5, 0.75
# Width of the surroundings in line heights.
_ROOM = 1
_MIN_SAMPLES = 3


@dataclass(frozen=True)
class Edges:
    """A line's edges in frames that were scaled down: the box, the pixels, and the gradients there."""

    box: Box
    mask: Mask
    across: Floats
    down: Floats

    def measure_strength(self, image: Floats) -> float:
        """Return the share of the edges in ``image`` (height x width, in 8-bit codes): 1 for all."""
        across, down = compute_gradients(image[self.box.y : self.box.bottom, self.box.x : self.box.right])
        product = (across * self.across + down * self.down)[self.mask].sum()
        return float(product / (self.across**2 + self.down**2)[self.mask].sum())

    def is_shown_in(self, image: Floats) -> bool:
        """Return True if ``image`` has these edges."""
        return self.measure_strength(image) >= _SHOWN

    def move_down(self, down: int) -> Edges:
        """Return the edges ``down`` rows lower."""
        return replace(self, box=Box(self.box.x, self.box.y + down, self.box.width, self.box.height))


@dataclass(frozen=True)
class Line:
    """A text line.

    box      in pixels of the frame
    edges    bool, height x width of the box
    start    the first frame in which it shows
    end      the first frame after it
    comes    the scene is visible without it just before
    goes     the scene is visible without it just after
    """

    box: Box
    edges: Mask
    start: int
    end: int
    comes: bool
    goes: bool


@dataclass(frozen=True)
class _Look:
    """One frame: the rows of the line with some around, and the rest of the frame, scaled down."""

    rows: Floats
    rest: Floats


def locate_ends(
    path: Path, survey: Survey, edges: Edges, seen: tuple[int, int, int], scale: tuple[int, int]
) -> Iterator[Line]:
    """Yield the line with these ``edges``, with its first and last frame; no line if it may be part of the scene.

    seen   the samples in which it was first whole, last whole, and first gone: frame indices
    scale  frames between samples, and the scale-down factor
    """
    (since, last, end), (step, factor) = seen, scale
    frames = len(survey.timeline)
    early = list(range(max(0, since - _MAX_EARLIER * step), min(since + step, last)))
    late = list(range(last, min(frames, end + 1)))
    inside = np.linspace(since, max(since, last - 1), _SAMPLES_INSIDE).round().astype(int).tolist()
    wanted = sorted({*early, *late, *inside, *(index + 1 for index in inside if index + 1 < last)})
    top = max(0, edges.box.y - _ROOM * edges.box.height)
    rows = slice(top, edges.box.bottom + _ROOM * edges.box.height)
    looks = dict(_read_looks(path, survey, rows, wanted, factor))
    line = _Ends(looks, early, late, end, frames, survey.picture.height_px // factor).locate(edges.move_down(-top))
    if line is not None and step < line[1][1] - line[1][0]:
        yield _make_line(line[0].move_down(top), factor, *line[1:])


def _read_looks(path: Path, survey: Survey, rows: slice, wanted: list[int], factor: int) -> Iterator[tuple[int, _Look]]:
    unit = np.float32(1 << (read_shape(get_planar_format(survey.picture.pixel_format)).bits - 8))
    for index, planes in read_frames(path, survey, wanted):
        image = shrink(planes[0], factor, unit)
        rest = np.concatenate([image[: rows.start], image[rows.stop :]])
        small = max(1, rest.shape[1] // _SMALLER), max(1, rest.shape[0] // _SMALLER)
        yield index, _Look(image[rows].copy(), np.asarray(cv2.resize(rest, small, interpolation=cv2.INTER_AREA)))


@dataclass(frozen=True)
class _Ends:
    """Frames around the start and the end of a line, and some between.

    early, late  frames among which it starts, and ends
    gone         the end if no frame is without it
    frames       of the video
    frame_rows   height of a whole frame, scaled down
    """

    looks: dict[int, _Look]
    early: list[int]
    late: list[int]
    gone: int
    frames: int
    frame_rows: int

    def locate(self, edges: Edges) -> tuple[Edges, tuple[int, int], tuple[bool, bool]] | None:
        """Return its edges, first frame and end, and whether its surroundings stay as it comes and goes."""
        for _ in range(2):  # the ends locate the edges, which locate the ends better
            start, end = self._find_bounds(edges)
            shown = {index: look for index, look in self.looks.items() if start <= index < end}
            if len(shown) < _MIN_SAMPLES:
                return None
            stays = self._is_steady(edges, start, shown), self._is_steady(edges, end, shown)
            if not any(stays):
                return None
            refined = self._refine_edges(shown, start if stays[0] else end)
            if refined is None:
                return None
            edges = refined
        start, end = self._find_bounds(edges)
        shown = {index: look for index, look in self.looks.items() if start <= index < end}
        stays = self._is_steady(edges, start, shown), self._is_steady(edges, end, shown)
        sudden = all(
            place in (0, self.frames) or self._measure_jump(edges, place) >= _MIN_JUMP for place in (start, end)
        )
        return (edges, (start, end), stays) if sudden and _is_overlay(edges, list(shown.values()), stays) else None

    def _find_bounds(self, edges: Edges) -> tuple[int, int]:
        """Return the first frame in which it shows, and the first in which it does not."""
        strengths = {
            index: edges.measure_strength(self.looks[index].rows) for index in {*self.early, *self.late} & {*self.looks}
        }
        before = [index for index in self.early if strengths.get(index, 1.0) < _SHOWN]
        end = next((index for index in self.late if strengths.get(index, 1.0) < _SHOWN), self.gone)
        return before[-1] + 1 if before else min(self.early, default=0), end

    def _measure_jump(self, edges: Edges, index: int) -> float:
        """Return the change of its strength at frame ``index``."""
        if index not in self.looks or index - 1 not in self.looks:
            return 0.0
        return abs(edges.measure_strength(self.looks[index].rows) - edges.measure_strength(self.looks[index - 1].rows))

    def _is_steady(self, edges: Edges, index: int, shown: dict[int, _Look]) -> bool:
        """Return True if the line starts or ends at frame ``index`` and its surroundings change as usual."""
        if self._measure_jump(edges, index) < _MIN_JUMP:
            return False
        around = _select_surroundings(edges, self.looks[index].rows.shape)
        usual = [_measure_change(one, shown[place + 1], around) for place, one in shown.items() if place + 1 in shown]
        now = _measure_change(self.looks[index - 1], self.looks[index], around)
        limits = [max(minimum, _AS_USUAL * value) for minimum, value in zip(_STAYS, _take_medians(usual), strict=True)]
        return all(one <= limit for one, limit in zip(now, limits, strict=True))

    def _refine_edges(self, shown: dict[int, _Look], index: int) -> Edges | None:
        """Return the edges that last while the line shows and appear or disappear at frame ``index``."""
        each = [compute_gradients(one.rows) for one in shown.values()]
        mean = tuple(np.asarray(np.median([one[axis] for one in each], axis=0), np.float32) for axis in (0, 1))
        with_it, without = (index, index - 1) if index in shown else (index - 1, index)
        one, other = compute_gradients(self.looks[with_it].rows), compute_gradients(self.looks[without].rows)
        square = mean[0] ** 2 + mean[1] ** 2
        jump = (one[0] - other[0]) * mean[0] + (one[1] - other[1]) * mean[1]
        agreeing = np.mean([x * mean[0] + y * mean[1] > _AGREEING * square for x, y in each], axis=0)
        new = (square > _EDGE**2) & (jump > _AGREEING * square) & (agreeing >= _MAJORITY)
        boxes = list(find_text_boxes(new, mean[0], self.frame_rows))
        if not boxes:
            return None
        box = max(boxes, key=lambda one: one.width)
        part = np.s_[box.y : box.bottom, box.x : box.right]
        return Edges(box, new[part], mean[0][part], mean[1][part])


def _select_surroundings(edges: Edges, size: tuple[int, ...]) -> Mask:
    """Return the surroundings of the line, one line height wide, without the pixels at its edges."""
    box, room = edges.box, edges.box.height
    mask = np.zeros(size, np.bool_)
    mask[max(0, box.y - room) : box.bottom + room, max(0, box.x - room) : box.right + room] = True
    touched = cv2.dilate(edges.mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    mask[box.y : box.bottom, box.x : box.right] &= ~touched
    return mask


def _measure_change(before: _Look, after: _Look, around: Mask) -> tuple[float, float]:
    """Return the change of most of a line's surroundings, and the share of the rest of the frame that changes."""
    near_change = np.abs(after.rows[around] - before.rows[around])
    rest = np.abs(after.rest - before.rest) > _STAYS[0]
    return float(np.quantile(near_change, _MAJORITY)) if near_change.size else 0.0, float(
        rest.mean()
    ) if rest.size else 0.0


def _take_medians(changes: list[tuple[float, float]]) -> tuple[float, float]:
    near_change, rest = np.median(changes or [(0.0, 0.0)], axis=0).tolist()
    return near_change, rest


def _is_overlay(edges: Edges, shown: Sequence[_Look], stays: tuple[bool, bool]) -> bool:
    """Return True if the line lies over a scene; ``stays``: its surroundings stay as it comes, and as it goes."""
    if np.median([np.ptp(np.quantile(look.rest, _NEARLY_ALL)) for look in shown]) < _EMPTY:
        return False
    around = _select_surroundings(edges, shown[0].rows.shape)
    variety = float(np.std([look.rows[around] for look in shown], axis=0).mean())
    return any(stays) if variety >= _LIVELY else all(stays)


def _make_line(edges: Edges, factor: int, frames: tuple[int, int], stays: tuple[bool, bool]) -> Line:
    """Return the line in pixels of the full frame."""
    box = Box(*(value * factor for value in (edges.box.x, edges.box.y, edges.box.width, edges.box.height)))
    mask = np.repeat(np.repeat(edges.mask, factor, axis=0), factor, axis=1)
    return Line(box, mask, *frames, *stays)
