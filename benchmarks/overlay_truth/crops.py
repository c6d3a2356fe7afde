"""The measured part of a marked clip: all overlays with a margin, in all frames or those in the middle."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.overlay_truth.marks import Marked, read_frames
from tasks.media.segments.planes import Plane
from tasks.overlays.boxes import Box
from tasks.overlays.components import Shape, align_box
from tasks.overlays.overlay import FrameRange, Mask, Overlay

MARGIN_PX = 24
# One array per component: frames x height x width, in codes of the clip.
Crops = tuple[Plane, ...]


@dataclass(frozen=True)
class View:
    """The measured part: ``box`` of at most ``max_frames`` frames in the middle of ``marked``.

    Clips may start with black or still frames, which would distort the scores.
    """

    marked: Marked
    box: Box
    max_frames: int | None = None

    @property
    def shown(self) -> FrameRange:
        """The measured frames."""
        count = min(self.marked.frames, self.max_frames or self.marked.frames)
        start = (self.marked.frames - count) // 2
        return FrameRange(start, start + count)

    def get_parts(self) -> list[tuple[slice, slice]]:
        """Return the position in each component."""
        return [self.marked.shape.get_part(self.box, number) for number in range(len(self.marked.shape.divisors))]

    @functools.cached_property
    def masks(self) -> tuple[Mask, ...]:
        """The samples under the true overlays: per component, frames x height x width."""
        return self.draw_masks_of(self.marked.overlays)

    def draw_masks_of(self, overlays: Sequence[Overlay]) -> tuple[Mask, ...]:
        """Return the samples under other overlays."""
        masks = draw_masks(overlays, self.marked.shape, self.box, self.shown.end_frame)
        return tuple(mask[self.shown.start_frame :] for mask in masks)


def make_view(marked: Marked, max_frames: int | None = None) -> View:
    """Return the view of all overlays of ``marked`` with a margin, in at most ``max_frames`` frames."""
    boxes = [overlay.box for overlay in marked.overlays]
    left, top = min(box.x for box in boxes) - MARGIN_PX, min(box.y for box in boxes) - MARGIN_PX
    right, bottom = max(box.right for box in boxes) + MARGIN_PX, max(box.bottom for box in boxes) + MARGIN_PX
    box = Box(max(0, left), max(0, top), right - max(0, left), bottom - max(0, top))
    return View(marked, align_box(box, marked.shape, marked.picture.width_px, marked.picture.height_px), max_frames)


def read_crops(path: Path, view: View) -> Crops:
    """Return the view of the frames of the video at ``path``."""
    return crop_frames(itertools.islice(read_frames(path), view.shown.start_frame, view.shown.end_frame), view)


def crop_frames(frames: Iterable[Sequence[Plane]], view: View) -> Crops:
    """Return the view of ``frames``, each given as its components."""
    cut = [
        [plane[part].copy() for plane, part in zip(components, view.get_parts(), strict=True)] for components in frames
    ]
    return tuple(np.stack(component) for component in zip(*cut, strict=True))


def draw_masks(overlays: Sequence[Overlay], shape: Shape, box: Box, frames: int) -> tuple[Mask, ...]:
    """Return the samples of ``box`` under ``overlays``, in each component: frames x height x width."""
    return tuple(_draw_mask(overlays, shape, box, frames, number) for number in range(len(shape.divisors)))


def _draw_mask(overlays: Sequence[Overlay], shape: Shape, box: Box, frames: int, component: int) -> Mask:
    rows, columns = shape.get_part(box, component)
    masks = np.zeros((frames, rows.stop - rows.start, columns.stop - columns.start), bool)
    for overlay in overlays:
        down, across = shape.get_part(overlay.box, component)
        top, left = down.start - rows.start, across.start - columns.start
        mask = overlay.layers[component].mask
        inner = mask[max(0, -top) :, max(0, -left) :]
        for part in overlay.ranges:
            room = masks[part.start_frame : part.end_frame, max(0, top) :, max(0, left) :]
            height, width = min(inner.shape[0], room.shape[1]), min(inner.shape[1], room.shape[2])
            room[:, :height, :width] |= inner[:height, :width]
    return masks
