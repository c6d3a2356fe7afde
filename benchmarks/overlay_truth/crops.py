"""The part of a marked clip that is looked at: all overlays of it with a margin, in frames of its middle or all."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.overlay_truth.marks import Marked, video_frames
from tasks.media.segments.planes import Plane
from tasks.overlays.boxes import Box
from tasks.overlays.components import Shape, align_box
from tasks.overlays.overlay import FrameRange, Mask, Overlay

MARGIN_PX = 24
# One array a component: frames x height x width, in codes of the clip.
Crops = tuple[Plane, ...]


@dataclass(frozen=True)
class View:
    """What is looked at: ``box`` of ``most_frames`` pictures in the middle of ``marked``, or of all.

    Clips may begin with a black or a still picture, which is no measure.
    """

    marked: Marked
    box: Box
    most_frames: int | None = None

    @property
    def shown(self) -> FrameRange:
        """The pictures that are looked at."""
        count = min(self.marked.frames, self.most_frames or self.marked.frames)
        start = (self.marked.frames - count) // 2
        return FrameRange(start, start + count)

    def parts(self) -> list[tuple[slice, slice]]:
        """Where it lies in each component."""
        return [self.marked.shape.get_part(self.box, number) for number in range(len(self.marked.shape.divisors))]

    @functools.cached_property
    def masks(self) -> tuple[Mask, ...]:
        """For each component, frames x height x width: what the true overlays touch."""
        return self.masks_of(self.marked.overlays)

    def masks_of(self, overlays: Sequence[Overlay]) -> tuple[Mask, ...]:
        """The same of other overlays."""
        masks = masks_within(overlays, self.marked.shape, self.box, self.shown.end_frame)
        return tuple(mask[self.shown.start_frame :] for mask in masks)


def view_of(marked: Marked, most_frames: int | None = None) -> View:
    """All overlays of ``marked`` with a margin, in so many frames at most."""
    boxes = [overlay.box for overlay in marked.overlays]
    left, top = min(box.x for box in boxes) - MARGIN_PX, min(box.y for box in boxes) - MARGIN_PX
    right, bottom = max(box.right for box in boxes) + MARGIN_PX, max(box.bottom for box in boxes) + MARGIN_PX
    box = Box(max(0, left), max(0, top), right - max(0, left), bottom - max(0, top))
    return View(marked, align_box(box, marked.shape, marked.picture.width_px, marked.picture.height_px), most_frames)


def crops_of(path: Path, view: View) -> Crops:
    """That part of the frames of the video at ``path``."""
    return gathered(itertools.islice(video_frames(path), view.shown.start_frame, view.shown.end_frame), view)


def gathered(frames: Iterable[Sequence[Plane]], view: View) -> Crops:
    """That part of ``frames``, the ones that ``view`` shows, each given as its components."""
    cut = [[plane[part].copy() for plane, part in zip(one, view.parts(), strict=True)] for one in frames]
    return tuple(np.stack(component) for component in zip(*cut, strict=True))


def masks_within(overlays: Sequence[Overlay], shape: Shape, box: Box, frames: int) -> tuple[Mask, ...]:
    """What ``overlays`` touch of ``box`` in each component and frame, frames x height x width."""
    return tuple(_mask(overlays, shape, box, frames, number) for number in range(len(shape.divisors)))


def _mask(overlays: Sequence[Overlay], shape: Shape, box: Box, frames: int, component: int) -> Mask:
    rows, columns = shape.get_part(box, component)
    found = np.zeros((frames, rows.stop - rows.start, columns.stop - columns.start), bool)
    for overlay in overlays:
        down, across = shape.get_part(overlay.box, component)
        top, left = down.start - rows.start, across.start - columns.start
        mask = overlay.layers[component].mask
        inner = mask[max(0, -top) :, max(0, -left) :]
        for part in overlay.ranges:
            room = found[part.start_frame : part.end_frame, max(0, top) :, max(0, left) :]
            height, width = min(inner.shape[0], room.shape[1]), min(inner.shape[1], room.shape[2])
            room[:, :height, :width] |= inner[:height, :width]
    return found
