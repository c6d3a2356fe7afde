"""Lines of text that come and go, as subtitles do: edges that appear at once, stay for a while, and end together.

The video is looked at several times a second, the lower and the upper part of the picture only. Edges last where
several looks in a row have them. Those that begin to last together, or end together, while few around them do, are
taken for a line where they alternate as strokes do. A line that comes with a cut shows by its end, one that goes with
a cut by its beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box, measure_overlap
from tasks.overlays.components import component_shape, planar_name
from tasks.overlays.detection.sampling import read_frames
from tasks.overlays.detection.text_lines.ends import Edges, Line, settled
from tasks.overlays.detection.text_lines.strokes import gradients, reduced, text_boxes
from tasks.overlays.overlay import Floats, Mask

# Looks lie so many seconds apart; a line lasts for several.
_STEP_S, _LOOKS = 0.15, 4
# The shares of the picture's height in which lines are looked for: from, and up to.
_BANDS = ((0.6, 1.0), (0.0, 0.3))
# Letters can be told in pictures of so many rows: larger ones are made smaller.
_MOST_ROWS = 540
# Gradients in 8-bit codes a pixel, and how well they agree in all looks.
_EDGE, _AGREEING = 5.0, 0.5
# Lines whose boxes share so much are the same.
_SAME = 0.4
# So many lines that ended before may still be met again.
_KNOWN = 32
# Of a longer video only parts are looked at, until one of them has a line: all of it costs decoding all of it.
MOST_SECONDS, _PART_S, _PARTS = 600.0, 20.0, 24


@dataclass
class _Open:
    """A line that has begun: its edges, and the look in which it was first seen whole."""

    edges: Edges
    since: int


@dataclass(frozen=True)
class _Window:
    """Several looks in a row: what lasted, the mean gradients, and in which look each pixel began to last."""

    lasting: Mask
    mean: tuple[Floats, Floats]
    since: npt.NDArray[np.int32]


def find_lines(path: Path, found: Survey) -> Iterator[Line]:
    """The lines of the video at ``path``, as they end; of a long one, none where none is in the parts looked at."""
    frames, seconds = len(found.timeline), found.timeline.duration_seconds
    if not seconds > 0:
        return
    whole = range(frames)
    if seconds > MOST_SECONDS and not any(True for part in _parts(frames, seconds) for _ in _within(path, found, part)):
        return
    yield from _once(_within(path, found, whole))


def _once(lines: Iterator[Line]) -> Iterator[Line]:
    """``lines`` without those that were there before: one may be seen as it begins, and again as it ends."""
    known: deque[Line] = deque(maxlen=_KNOWN)
    for line in lines:
        if not any(line.start < one.end and one.start < line.end and _same(line.box, one.box) for one in known):
            known.append(line)
            yield line


def _parts(frames: int, seconds: float) -> Iterator[range]:
    """Parts of a video, spread through it."""
    size = round(_PART_S * frames / seconds)
    for start in np.linspace(0, frames - size, _PARTS).round().astype(int).tolist():
        yield range(start, start + size)


def _within(path: Path, found: Survey, part: range) -> Iterator[Line]:
    """The lines that end in these frames."""
    step = max(1, round(_STEP_S * len(found.timeline) / found.timeline.duration_seconds))
    unit = np.float32(1 << (component_shape(planar_name(found.picture.pixel_format)).bits - 8))
    factor = -(-found.picture.height_px // _MOST_ROWS)
    bands = [_Band(share, found.picture.height_px // factor, step) for share in _BANDS]
    for index, planes in read_frames(path, found, list(part[::step])):
        picture = reduced(planes[0], factor, unit)
        for band in bands:
            for opened, bounds in band.look(index, picture):
                yield from settled(path, found, opened.edges, (opened.since, *bounds), (step, factor))
    for band in bands:
        for opened in band.open:
            yield from settled(path, found, opened.edges, (opened.since, part.stop, part.stop), (step, factor))


class _Band:
    """One part of the picture, looked at again and again."""

    def __init__(self, share: tuple[float, float], height: int, step: int) -> None:
        self._rows = slice(round(share[0] * height), round(share[1] * height))
        self._height, self._step = height, step
        self._seen: deque[tuple[Floats, Floats]] = deque(maxlen=_LOOKS)
        self._windows: deque[_Window] = deque(maxlen=_LOOKS + 1)
        self._closed: deque[tuple[Box, int]] = deque(maxlen=2 * _LOOKS)
        self.open: list[_Open] = []

    def look(self, index: int, picture: Floats) -> Iterator[tuple[_Open, tuple[int, int]]]:
        """Take a look. Gives lines that have ended, with the last look that has them and the first without."""
        yield from self._ended(index, picture)
        self._seen.append(gradients(picture[self._rows]))
        if len(self._seen) < _LOOKS:
            return
        first = index - (_LOOKS - 1) * self._step
        self._windows.append(_window(self._seen, self._windows[-1] if self._windows else None, first))
        self._begin(first)
        yield from self._gone(index)

    def _ended(self, index: int, picture: Floats) -> Iterator[tuple[_Open, tuple[int, int]]]:
        for one in [line for line in self.open if not line.edges.shown_in(picture)]:
            self.open.remove(one)
            self._closed.append((one.edges.box, index))
            yield one, (index - self._step, index)

    def _begin(self, first: int) -> None:
        """Open the lines that last now and did not before."""
        now = self._windows[-1]
        old = self._windows[0].lasting if len(self._windows) > _LOOKS else np.zeros_like(now.lasting)
        others = [box for box, index in self._closed if index >= first - _LOOKS * self._step]
        new = now.lasting & ~_near(self._without(old, others))
        known = [one.edges.box for one in self.open]
        self.open += [_Open(edges, first) for edges in self._lines(new, now.mean, known)]

    def _gone(self, index: int) -> Iterator[tuple[_Open, tuple[int, int]]]:
        """Lines that lasted until then, and were not known."""
        if len(self._windows) <= _LOOKS:
            return
        then, last = self._windows[0], index - _LOOKS * self._step
        known = [one.edges.box for one in self.open] + [box for box, _ in self._closed]
        for edges in self._lines(then.lasting & ~_near(self._windows[-1].lasting), then.mean, known):
            rows = slice(edges.box.y - self._rows.start, edges.box.bottom - self._rows.start)
            begun = then.since[rows, edges.box.x : edges.box.right][edges.mask]
            self._closed.append((edges.box, index))
            yield _Open(edges, int(np.quantile(begun, 0.25))), (last, index)

    def _lines(self, edges: Mask, mean: tuple[Floats, Floats], known: list[Box]) -> list[Edges]:
        """The lines of text among ``edges``, without those that are known."""
        found = []
        for box in text_boxes(edges, mean[0], self._height):
            part = np.s_[box.y : box.bottom, box.x : box.right]
            whole = Box(box.x, box.y + self._rows.start, box.width, box.height)
            if not any(_same(whole, one) for one in known):
                found.append(Edges(whole, edges[part], mean[0][part], mean[1][part]))
        return found

    def _without(self, mask: Mask, boxes: list[Box]) -> Mask:
        """``mask`` without what lies in ``boxes``: a line may come in the place of another."""
        left = mask.copy()
        for box in boxes:
            left[box.y - self._rows.start : box.bottom - self._rows.start, box.x : box.right] = False
        return left


def _window(seen: deque[tuple[Floats, Floats]], before: _Window | None, first: int) -> _Window:
    """Where all looks have the same edge, and the mean of it; ``first`` is the first of them."""
    across = np.asarray(np.mean([one[0] for one in seen], axis=0), np.float32)
    down = np.asarray(np.mean([one[1] for one in seen], axis=0), np.float32)
    square = across**2 + down**2
    lasting = square > _EDGE**2
    for one in seen:
        lasting &= one[0] * across + one[1] * down > _AGREEING * square
    since = np.full(lasting.shape, first, np.int32)
    if before is not None:
        since = np.where(before.lasting, before.since, since)
    return _Window(np.asarray(lasting), (across, down), since)


def _near(mask: Mask) -> Mask:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _same(one: Box, other: Box) -> bool:
    both = measure_overlap(one, other)
    return both > 0 and both >= _SAME * (one.area + other.area - both)
