"""The first and the last frame of a line of text, and whether it lies over the picture or is part of it.

A line that appears, or goes, while what surrounds it stays is no part of the scene; nor is one that stays while what
surrounds it moves. One that comes and goes with cuts over a picture that stands still is a title, or a slide's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box
from tasks.overlays.components import component_shape, planar_name
from tasks.overlays.detection.sampling import read_frames
from tasks.overlays.detection.text_lines.strokes import gradients, reduced, text_boxes
from tasks.overlays.overlay import Floats, Mask

# How much of a line's edges a picture has where it shows, and where it does not.
_SHOWN = 0.5
# It begins and ends with a jump of that from one frame to the next: edges of what moves do not.
_JUMP = 0.4
# So many looks before the first that has all of it, it may have begun.
_EARLIER = 6
# Frames in which it shows that are looked at.
_INSIDE = 12
# What surrounds a line stays where most of it changes by so many 8-bit codes at most, or so many times as in the line's
# time; and so much of the rest of the picture changes by more: the whole page of slides does.
_STAYS, _AS_USUAL = (2.0, 0.01), 2.5
# The rest of the picture is looked at so many times smaller.
_SMALLER = 4
# The mean standard deviation of what surrounds it, in codes: more than noise of coding.
_LIVELY = 0.8
# A picture is empty where nearly all of it differs by less than this: what appears on it is a title.
_EMPTY, _NEARLY_ALL = 4.0, (0.05, 0.95)
# Gradients in 8-bit codes a pixel, how well they agree, and in how much of the looks, or of the surroundings.
_EDGE, _AGREEING, _MOST = 5.0, 0.5, 0.75
# As many heights of it around it are looked at.
_ROOM = 1
_FEWEST = 3


@dataclass(frozen=True)
class Edges:
    """A line's edges in pictures that were made smaller: where, which pixels, and the gradients there."""

    box: Box
    mask: Mask
    across: Floats
    down: Floats

    def strength(self, picture: Floats) -> float:
        """How much of them ``picture`` has, height x width in 8-bit codes: 1 for all."""
        across, down = gradients(picture[self.box.y : self.box.bottom, self.box.x : self.box.right])
        product = (across * self.across + down * self.down)[self.mask].sum()
        return float(product / (self.across**2 + self.down**2)[self.mask].sum())

    def shown_in(self, picture: Floats) -> bool:
        """Whether ``picture`` has them."""
        return self.strength(picture) >= _SHOWN

    def moved(self, down: int) -> Edges:
        """The same, that many rows farther down."""
        return replace(self, box=Box(self.box.x, self.box.y + down, self.box.width, self.box.height))


@dataclass(frozen=True)
class Line:
    """A line of text.

    box      in pixels of the picture
    edges    bool, height x width of the box
    start    the first frame in which it shows
    end      the first in which it does not any more
    comes    whether the scene is seen without it just before
    goes     whether the scene is seen without it just after
    """

    box: Box
    edges: Mask
    start: int
    end: int
    comes: bool
    goes: bool


@dataclass(frozen=True)
class _Look:
    """One frame: the rows of it in which the line lies, with some around, and the rest of it, made much smaller."""

    rows: Floats
    rest: Floats


def settled(
    path: Path, found: Survey, edges: Edges, seen: tuple[int, int, int], scale: tuple[int, int]
) -> Iterator[Line]:
    """The line with these ``edges``, with its first and last frame; nothing where it may be part of the picture.

    seen   the looks in which it was first whole, was last whole, and was no more; these are frames
    scale  frames from look to look, and by what factor pictures were made smaller
    """
    (since, last, gone), (step, factor) = seen, scale
    frames = len(found.timeline)
    early = list(range(max(0, since - _EARLIER * step), min(since + step, last)))
    late = list(range(last, min(frames, gone + 1)))
    inside = np.linspace(since, max(since, last - 1), _INSIDE).round().astype(int).tolist()
    wanted = sorted({*early, *late, *inside, *(one + 1 for one in inside if one + 1 < last)})
    top = max(0, edges.box.y - _ROOM * edges.box.height)
    rows = slice(top, edges.box.bottom + _ROOM * edges.box.height)
    looks = dict(_looks(path, found, rows, wanted, factor))
    line = _Ends(looks, early, late, gone, frames, found.picture.height_px // factor).line(edges.moved(-top))
    if line is not None and step < line[1][1] - line[1][0]:
        yield _line(line[0].moved(top), factor, *line[1:])


def _looks(path: Path, found: Survey, rows: slice, wanted: list[int], factor: int) -> Iterator[tuple[int, _Look]]:
    unit = np.float32(1 << (component_shape(planar_name(found.picture.pixel_format)).bits - 8))
    for index, planes in read_frames(path, found, wanted):
        picture = reduced(planes[0], factor, unit)
        rest = np.concatenate([picture[: rows.start], picture[rows.stop :]])
        small = max(1, rest.shape[1] // _SMALLER), max(1, rest.shape[0] // _SMALLER)
        yield index, _Look(picture[rows].copy(), np.asarray(cv2.resize(rest, small, interpolation=cv2.INTER_AREA)))


@dataclass(frozen=True)
class _Ends:
    """Frames around the beginning and the end of a line, and some in between.

    early, late  frames among which it begins, and ends
    gone         the end where no frame is without it
    frames       of the video
    picture_rows of a whole frame, as these are made smaller
    """

    looks: dict[int, _Look]
    early: list[int]
    late: list[int]
    gone: int
    frames: int
    picture_rows: int

    def line(self, edges: Edges) -> tuple[Edges, tuple[int, int], tuple[bool, bool]] | None:
        """Its edges, first frame and end, and whether it comes and goes while what surrounds it stays."""
        for _ in range(2):  # what begins and ends at once is seen better once it is known when
            start, end = self._bounds(edges)
            shown = {index: one for index, one in self.looks.items() if start <= index < end}
            if len(shown) < _FEWEST:
                return None
            stays = self._stays(edges, start, shown), self._stays(edges, end, shown)
            if not any(stays):
                return None
            refined = self._refined(shown, start if stays[0] else end)
            if refined is None:
                return None
            edges = refined
        start, end = self._bounds(edges)
        shown = {index: one for index, one in self.looks.items() if start <= index < end}
        stays = self._stays(edges, start, shown), self._stays(edges, end, shown)
        sudden = all(place in (0, self.frames) or self._jump(edges, place) >= _JUMP for place in (start, end))
        return (edges, (start, end), stays) if sudden and _is_overlay(edges, list(shown.values()), stays) else None

    def _bounds(self, edges: Edges) -> tuple[int, int]:
        """The first frame in which it shows, and the first in which it does not."""
        strengths = {
            index: edges.strength(self.looks[index].rows) for index in {*self.early, *self.late} & {*self.looks}
        }
        before = [index for index in self.early if strengths.get(index, 1.0) < _SHOWN]
        end = next((index for index in self.late if strengths.get(index, 1.0) < _SHOWN), self.gone)
        return before[-1] + 1 if before else min(self.early, default=0), end

    def _jump(self, edges: Edges, index: int) -> float:
        """By how much its strength changes with frame ``index``."""
        if index not in self.looks or index - 1 not in self.looks:
            return 0.0
        return abs(edges.strength(self.looks[index].rows) - edges.strength(self.looks[index - 1].rows))

    def _stays(self, edges: Edges, index: int, shown: dict[int, _Look]) -> bool:
        """Whether the line begins or ends with frame ``index``, and what surrounds it goes on as in its time."""
        if self._jump(edges, index) < _JUMP:
            return False
        around = _around(edges, self.looks[index].rows.shape)
        usual = [_change(one, shown[place + 1], around) for place, one in shown.items() if place + 1 in shown]
        now = _change(self.looks[index - 1], self.looks[index], around)
        most = [max(least, _AS_USUAL * value) for least, value in zip(_STAYS, _medians(usual), strict=True)]
        return all(one <= limit for one, limit in zip(now, most, strict=True))

    def _refined(self, shown: dict[int, _Look], index: int) -> Edges | None:
        """The edges again: those that last while the line shows, and are new or gone with frame ``index``."""
        each = [gradients(one.rows) for one in shown.values()]
        mean = tuple(np.asarray(np.median([one[axis] for one in each], axis=0), np.float32) for axis in (0, 1))
        with_it, without = (index, index - 1) if index in shown else (index - 1, index)
        one, other = gradients(self.looks[with_it].rows), gradients(self.looks[without].rows)
        square = mean[0] ** 2 + mean[1] ** 2
        jump = (one[0] - other[0]) * mean[0] + (one[1] - other[1]) * mean[1]
        agreeing = np.mean([x * mean[0] + y * mean[1] > _AGREEING * square for x, y in each], axis=0)
        new = (square > _EDGE**2) & (jump > _AGREEING * square) & (agreeing >= _MOST)
        boxes = list(text_boxes(new, mean[0], self.picture_rows))
        if not boxes:
            return None
        box = max(boxes, key=lambda one: one.width)
        part = np.s_[box.y : box.bottom, box.x : box.right]
        return Edges(box, new[part], mean[0][part], mean[1][part])


def _around(edges: Edges, size: tuple[int, ...]) -> Mask:
    """What surrounds the line, as far as it is tall, without what its edges touch."""
    box, room = edges.box, edges.box.height
    found = np.zeros(size, np.bool_)
    found[max(0, box.y - room) : box.bottom + room, max(0, box.x - room) : box.right + room] = True
    near = cv2.dilate(edges.mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    found[box.y : box.bottom, box.x : box.right] &= ~near
    return found


def _change(before: _Look, after: _Look, around: Mask) -> tuple[float, float]:
    """By how much most of what surrounds a line changes, and how much of the rest of the picture does."""
    near = np.abs(after.rows[around] - before.rows[around])
    rest = np.abs(after.rest - before.rest) > _STAYS[0]
    return float(np.quantile(near, _MOST)) if near.size else 0.0, float(rest.mean()) if rest.size else 0.0


def _medians(changes: list[tuple[float, float]]) -> tuple[float, float]:
    near, rest = np.median(changes or [(0.0, 0.0)], axis=0).tolist()
    return near, rest


def _is_overlay(edges: Edges, shown: Sequence[_Look], stays: tuple[bool, bool]) -> bool:
    """Whether the line lies over a picture, ``stays`` saying whether that stays as it comes and as it goes."""
    if np.median([np.ptp(np.quantile(one.rest, _NEARLY_ALL)) for one in shown]) < _EMPTY:
        return False
    around = _around(edges, shown[0].rows.shape)
    variety = float(np.std([one.rows[around] for one in shown], axis=0).mean())
    return any(stays) if variety >= _LIVELY else all(stays)


def _line(edges: Edges, factor: int, frames: tuple[int, int], stays: tuple[bool, bool]) -> Line:
    """The line in pixels of the picture as it is."""
    box = Box(*(value * factor for value in (edges.box.x, edges.box.y, edges.box.width, edges.box.height)))
    mask = np.repeat(np.repeat(edges.mask, factor, axis=0), factor, axis=1)
    return Line(box, mask, *frames, *stays)
