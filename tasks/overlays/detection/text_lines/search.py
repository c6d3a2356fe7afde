"""Text lines that come and go, such as subtitles: edges that appear together, stay for a while, and end together.

The lower and upper part of the frame are sampled several times per second. Edges last if several consecutive samples
have them. Edges that start or stop lasting together, while few around them do, are a line if they alternate like
letters. A line that starts at a cut is detected by its end, one that ends at a cut by its start.
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
from tasks.overlays.components import get_planar_format, read_shape
from tasks.overlays.detection.sampling import read_frames
from tasks.overlays.detection.text_lines.ends import Edges, Line, locate_ends
from tasks.overlays.detection.text_lines.strokes import compute_gradients, find_text_boxes, shrink
from tasks.overlays.overlay import Floats, Mask

# Seconds between samples; a line lasts for several samples.
_STEP_SECONDS, _LOOKS = 0.15, 4
# Parts of the frame's height in which lines are searched: start and end.
_BANDS = ((0.6, 1.0), (0.0, 0.3))
# Letters are legible in frames of this height: larger ones are scaled down.
_MAX_ROWS = 540
# Gradients in 8-bit codes per pixel, and how well they must agree in all samples.
_EDGE, _AGREEING = 5.0, 0.5
# Lines whose boxes overlap by this much are the same.
_SAME_IOU = 0.4
# Number of ended lines that may be detected again.
_MAX_RECENT = 32
# Of longer videos only parts are sampled until a line is found: decoding everything is slow.
MAX_SECONDS, _PART_SECONDS, _PARTS = 600.0, 20.0, 24


@dataclass
class _Open:
    """A line that has started: its edges, and the first sample that shows all of it."""

    edges: Edges
    since: int


@dataclass(frozen=True)
class _Window:
    """Consecutive samples: lasting edges, mean gradients, and the sample from which each pixel lasts."""

    lasting: Mask
    mean: tuple[Floats, Floats]
    since: npt.NDArray[np.int32]


def find_lines(path: Path, survey: Survey) -> Iterator[Line]:
    """Yield the text lines of the surveyed video at ``path``; none of a long video without lines in sampled parts."""
    frames, seconds = len(survey.timeline), survey.timeline.duration_seconds
    if not seconds > 0:
        return
    whole = range(frames)
    if seconds > MAX_SECONDS and not any(
        True for part in _choose_parts(frames, seconds) for _ in _search_part(path, survey, part)
    ):
        return
    yield from _drop_repeated(_search_part(path, survey, whole))


def _drop_repeated(lines: Iterator[Line]) -> Iterator[Line]:
    """Yield ``lines`` without repetitions: a line may be detected at its start and again at its end."""
    recent: deque[Line] = deque(maxlen=_MAX_RECENT)
    for line in lines:
        if not any(
            line.start < earlier.end and earlier.start < line.end and _is_same(line.box, earlier.box)
            for earlier in recent
        ):
            recent.append(line)
            yield line


def _choose_parts(frames: int, seconds: float) -> Iterator[range]:
    """Yield parts of a video, spread through it."""
    size = round(_PART_SECONDS * frames / seconds)
    for start in np.linspace(0, frames - size, _PARTS).round().astype(int).tolist():
        yield range(start, start + size)


def _search_part(path: Path, survey: Survey, part: range) -> Iterator[Line]:
    """Yield the lines that end in these frames."""
    step = max(1, round(_STEP_SECONDS * len(survey.timeline) / survey.timeline.duration_seconds))
    unit = np.float32(1 << (read_shape(get_planar_format(survey.picture.pixel_format)).bits - 8))
    factor = -(-survey.picture.height_px // _MAX_ROWS)
    bands = [_Band(share, survey.picture.height_px // factor, step) for share in _BANDS]
    for index, planes in read_frames(path, survey, list(part[::step])):
        picture = shrink(planes[0], factor, unit)
        for band in bands:
            for opened, bounds in band.look(index, picture):
                yield from locate_ends(path, survey, opened.edges, (opened.since, *bounds), (step, factor))
    for band in bands:
        for opened in band.open:
            yield from locate_ends(path, survey, opened.edges, (opened.since, part.stop, part.stop), (step, factor))


class _Band:
    """A part of the frame, sampled repeatedly."""

    def __init__(self, share: tuple[float, float], height: int, step: int) -> None:
        self._rows = slice(round(share[0] * height), round(share[1] * height))
        self._height, self._step = height, step
        self._seen: deque[tuple[Floats, Floats]] = deque(maxlen=_LOOKS)
        self._windows: deque[_Window] = deque(maxlen=_LOOKS + 1)
        self._closed: deque[tuple[Box, int]] = deque(maxlen=2 * _LOOKS)
        self.open: list[_Open] = []

    def look(self, index: int, picture: Floats) -> Iterator[tuple[_Open, tuple[int, int]]]:
        """Take a sample. Yield lines that have ended, with their last sample and the one after it."""
        yield from self._close_ended(index, picture)
        self._seen.append(compute_gradients(picture[self._rows]))
        if len(self._seen) < _LOOKS:
            return
        first = index - (_LOOKS - 1) * self._step
        self._windows.append(_make_window(self._seen, self._windows[-1] if self._windows else None, first))
        self._open_new(first)
        yield from self._find_missed(index)

    def _close_ended(self, index: int, picture: Floats) -> Iterator[tuple[_Open, tuple[int, int]]]:
        for line in [candidate for candidate in self.open if not candidate.edges.is_shown_in(picture)]:
            self.open.remove(line)
            self._closed.append((line.edges.box, index))
            yield line, (index - self._step, index)

    def _open_new(self, first: int) -> None:
        """Open the lines that last now and did not before."""
        now = self._windows[-1]
        old = self._windows[0].lasting if len(self._windows) > _LOOKS else np.zeros_like(now.lasting)
        others = [box for box, index in self._closed if index >= first - _LOOKS * self._step]
        new = now.lasting & ~_grow(self._clear_boxes(old, others))
        boxes = [line.edges.box for line in self.open]
        self.open += [_Open(edges, first) for edges in self._find_lines(new, now.mean, boxes)]

    def _find_missed(self, index: int) -> Iterator[tuple[_Open, tuple[int, int]]]:
        """Yield lines that lasted until then and were not open."""
        if len(self._windows) <= _LOOKS:
            return
        then, last = self._windows[0], index - _LOOKS * self._step
        boxes = [line.edges.box for line in self.open] + [box for box, _ in self._closed]
        for edges in self._find_lines(then.lasting & ~_grow(self._windows[-1].lasting), then.mean, boxes):
            rows = slice(edges.box.y - self._rows.start, edges.box.bottom - self._rows.start)
            begun = then.since[rows, edges.box.x : edges.box.right][edges.mask]
            self._closed.append((edges.box, index))
            yield _Open(edges, int(np.quantile(begun, 0.25))), (last, index)

    def _find_lines(self, edges: Mask, mean: tuple[Floats, Floats], boxes: list[Box]) -> list[Edges]:
        """Return the text lines among ``edges``, except those in ``boxes``."""
        lines = []
        for box in find_text_boxes(edges, mean[0], self._height):
            part = np.s_[box.y : box.bottom, box.x : box.right]
            whole = Box(box.x, box.y + self._rows.start, box.width, box.height)
            if not any(_is_same(whole, other) for other in boxes):
                lines.append(Edges(whole, edges[part], mean[0][part], mean[1][part]))
        return lines

    def _clear_boxes(self, mask: Mask, boxes: list[Box]) -> Mask:
        """Return ``mask`` without ``boxes``: a line may replace another."""
        left = mask.copy()
        for box in boxes:
            left[box.y - self._rows.start : box.bottom - self._rows.start, box.x : box.right] = False
        return left


def _make_window(seen: deque[tuple[Floats, Floats]], before: _Window | None, first: int) -> _Window:
    """Return the edges that all samples share, and their mean; ``first`` is the first of the samples."""
    across = np.asarray(np.mean([gradient[0] for gradient in seen], axis=0), np.float32)
    down = np.asarray(np.mean([gradient[1] for gradient in seen], axis=0), np.float32)
    square = across**2 + down**2
    lasting = square > _EDGE**2
    for gradient in seen:
        lasting &= gradient[0] * across + gradient[1] * down > _AGREEING * square
    since = np.full(lasting.shape, first, np.int32)
    if before is not None:
        since = np.where(before.lasting, before.since, since)
    return _Window(np.asarray(lasting), (across, down), since)


def _grow(mask: Mask) -> Mask:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _is_same(box: Box, other: Box) -> bool:
    both = measure_overlap(box, other)
    return both > 0 and both >= _SAME_IOU * (box.area + other.area - both)
