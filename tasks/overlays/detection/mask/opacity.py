"""How opaque an overlay is, and its colour, where the user has said which pixels it touches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box, grow_box, slice_box
from tasks.overlays.components import component_shape, planar_name
from tasks.overlays.detection.fitting.layers import is_told, overlays_of, steady_overlay
from tasks.overlays.detection.fitting.overlay_fit import Fit, fit_under, places_beside
from tasks.overlays.detection.sampling import Samples, read_frames, sample_frames, stacked
from tasks.overlays.overlay import FrameRange, Mask, Overlay

# With less of what is seen explained, its opacity is as good as unknown.
_LEAST_EXPLAINED = 0.5
_MOST_FRAMES, _MOST_SCENES, _FEWEST_FRAMES = 64, 12, 6
# Around the mask, what lies beneath it is estimated from so many pixels.
_ROOM_PX = 16
# Larger ones are only filled in: the equations of so many pixels take some 300 MB.
MOST_PIXELS = 200_000
# An overlay leaves less unexplained, by this factor, than fitting one to the picture beside does.
_LEAST_BETTER = 4.0


def with_opacity(path: Path, found: Survey, overlay: Overlay) -> tuple[Overlay, ...]:
    """``overlay``, of which only the place is known, with its opacity and colour; once for each strength that it has.

    ``found`` is the survey of the video at ``path``. Where too little tells, it comes back as it is. Raises BadInput
    where no frame can be decoded.
    """
    luma = overlay.layers[0].mask
    if np.count_nonzero(luma) > MOST_PIXELS:
        return (overlay,)
    lasts = overlay.ranges == (FrameRange(0, len(found.timeline)),)
    samples = sample_frames(path, found, _MOST_FRAMES, _MOST_SCENES) if lasts else _sampled(path, found, overlay.ranges)
    if len(samples.indices) < _FEWEST_FRAMES:
        return (overlay,)
    size = samples.components[0].shape[1:]
    box = grow_box(overlay.box, _ROOM_PX, size)
    mask, others = np.zeros((box.height, box.width), np.bool_), np.zeros(size, np.bool_)
    mask[slice_box(overlay.box, box)] = luma
    others[overlay.box.part] = luma
    fitted = fit_under(samples, box, mask, others)
    if fitted is None:
        return (overlay,)
    if lasts:
        if not is_told(fitted) or _looks_like_one_beside(samples, fitted, mask, others):
            return (overlay,)
        known = overlays_of(path, found, samples, fitted, overlay.source, overlay.confidence)
        named = tuple(replace(one, label=overlay.label) for one in known)
        return (*named, *_elsewhere(overlay, named, len(found.timeline)))
    steady = steady_overlay(samples, fitted, overlay.ranges[0], _LEAST_EXPLAINED, overlay.confidence)
    return (replace(overlay, box=steady.box, layers=steady.layers),)


def _looks_like_one_beside(samples: Samples, fitted: Fit, mask: Mask, others: Mask) -> bool:
    """Whether an overlay explains the same mask beside, where none lies, nearly as well: it is the scene, then."""
    for x, y in places_beside(fitted.box, others, mask):
        beside = fit_under(samples, Box(x, y, fitted.box.width, fitted.box.height), mask, others)
        if beside is not None and 1 - beside.explained < _LEAST_BETTER * (1 - fitted.explained):
            return True
    return False


def _elsewhere(overlay: Overlay, known: Sequence[Overlay], frames: int) -> Iterator[Overlay]:
    """``overlay`` in the frames in which none of ``known`` shows: that it is there is the user's word."""
    shown = np.zeros(frames + 2, np.int8)
    for part in (part for one in known for part in one.ranges):
        shown[1 + part.start_frame : 1 + part.end_frame] = 1
    shown[[0, -1]] = 1
    edges = np.flatnonzero(np.diff(shown)).reshape(-1, 2).tolist()
    if edges:
        yield replace(overlay, ranges=tuple(FrameRange(start, end) for start, end in edges))


def _sampled(path: Path, found: Survey, ranges: Sequence[FrameRange]) -> Samples:
    """Frames in which it shows, spread through them, each a scene of its own."""
    shown = np.concatenate([np.arange(part.start_frame, part.end_frame) for part in ranges])
    chosen = shown[np.unique(np.linspace(0, len(shown) - 1, _MOST_FRAMES).round().astype(int))]
    taken = list(read_frames(path, found, chosen.tolist()))
    shape = component_shape(planar_name(found.picture.pixel_format))
    stacks = tuple(stacked([planes[number] for _, planes in taken]) for number in range(len(shape.divisors)))
    return Samples(shape, tuple(index for index, _ in taken), stacks, np.arange(len(taken)))
