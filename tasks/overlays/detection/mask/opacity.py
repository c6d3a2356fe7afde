"""The opacity and color of an overlay under a user's mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box, grow_box, slice_box
from tasks.overlays.components import get_planar_format, read_shape
from tasks.overlays.detection.fitting.layers import is_reliable, make_overlays, make_steady_overlay
from tasks.overlays.detection.fitting.overlay_fit import Fit, find_references, fit_mask
from tasks.overlays.detection.sampling import Samples, read_frames, sample_frames, stack_frames
from tasks.overlays.overlay import FrameRange, Mask, Overlay

# With less explained, the opacity counts as unknown.
_MIN_EXPLAINED = 0.5
_MAX_FRAMES, _MAX_SCENES, _MIN_FRAMES = 64, 12, 6
# Margin around the mask for estimating the background, in pixels.
_ROOM_PX = 16
# Larger masks are only filled in: their equations take about 300 MB.
MAX_PIXELS = 200_000
# Require a 4x better fit under user masks than next to them (fixes speckles).
_MIN_FIT_RATIO = 4.0


def fit_opacity(path: Path, survey: Survey, overlay: Overlay) -> tuple[Overlay, ...]:
    """Return ``overlay``, which has a mask only, with its opacity and color; once per strength.

    It is returned unchanged if the frames are uninformative. Raises BadInput if no frame of the surveyed video at
    ``path`` can be decoded.
    """
    luma = overlay.layers[0].mask
    if np.count_nonzero(luma) > MAX_PIXELS:
        return (overlay,)
    lasts = overlay.ranges == (FrameRange(0, len(survey.timeline)),)
    samples = (
        sample_frames(path, survey, _MAX_FRAMES, _MAX_SCENES) if lasts else _sample_ranges(path, survey, overlay.ranges)
    )
    if len(samples.indices) < _MIN_FRAMES:
        return (overlay,)
    size = samples.components[0].shape[1:]
    box = grow_box(overlay.box, _ROOM_PX, size)
    mask, others = np.zeros((box.height, box.width), np.bool_), np.zeros(size, np.bool_)
    mask[slice_box(overlay.box, box)] = luma
    others[overlay.box.part] = luma
    fitted = fit_mask(samples, box, mask, others)
    if fitted is None:
        return (overlay,)
    if lasts:
        if not is_reliable(fitted) or _is_like_scene(samples, fitted, mask, others):
            return (overlay,)
        parts = make_overlays(path, survey, samples, fitted, overlay.source, overlay.confidence)
        named = tuple(replace(part, label=overlay.label) for part in parts)
        return (*named, *_cover_other_frames(overlay, named, len(survey.timeline)))
    steady = make_steady_overlay(samples, fitted, overlay.ranges[0], _MIN_EXPLAINED, overlay.confidence)
    return (replace(overlay, box=steady.box, layers=steady.layers),)


def _is_like_scene(samples: Samples, fitted: Fit, mask: Mask, others: Mask) -> bool:
    """Return True if the mask fits nearly as well next to the overlay: then it matches the scene."""
    for x, y in find_references(fitted.box, others, mask):
        reference = fit_mask(samples, Box(x, y, fitted.box.width, fitted.box.height), mask, others)
        if reference is not None and 1 - reference.explained < _MIN_FIT_RATIO * (1 - fitted.explained):
            return True
    return False


def _cover_other_frames(overlay: Overlay, parts: Sequence[Overlay], frames: int) -> Iterator[Overlay]:
    """Yield ``overlay`` for the frames without ``parts``: the user says that it is there."""
    shown = np.zeros(frames + 2, np.int8)
    for part in (part for overlay_part in parts for part in overlay_part.ranges):
        shown[1 + part.start_frame : 1 + part.end_frame] = 1
    shown[[0, -1]] = 1
    edges = np.flatnonzero(np.diff(shown)).reshape(-1, 2).tolist()
    if edges:
        yield replace(overlay, ranges=tuple(FrameRange(start, end) for start, end in edges))


def _sample_ranges(path: Path, survey: Survey, ranges: Sequence[FrameRange]) -> Samples:
    """Return frames in which it shows, evenly spread, each as its own scene."""
    shown = np.concatenate([np.arange(part.start_frame, part.end_frame) for part in ranges])
    chosen = shown[np.unique(np.linspace(0, len(shown) - 1, _MAX_FRAMES).round().astype(int))]
    taken = list(read_frames(path, survey, chosen.tolist()))
    shape = read_shape(get_planar_format(survey.picture.pixel_format))
    stacks = tuple(stack_frames([planes[number] for _, planes in taken]) for number in range(len(shape.divisors)))
    return Samples(shape, tuple(index for index, _ in taken), stacks, np.arange(len(taken)))
