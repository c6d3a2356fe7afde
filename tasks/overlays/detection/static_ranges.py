"""In which frames an overlay shows that is there most of the time."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from tasks.media.segments.source import Survey
from tasks.overlays.components import Shape
from tasks.overlays.detection.static_fitting import Filler, Fit, filler_of, strength
from tasks.overlays.detection.static_sampling import Samples, read_frames
from tasks.overlays.overlay import FrameRange

# Weaker than this share of what it is over all, it is not there.
_SHOWN = 0.4
# With less explained, single frames tell too little.
_LEAST_EXPLAINED = 0.9


def shown_ranges(path: Path, found: Survey, samples: Samples, fitted: Fit) -> tuple[FrameRange, ...]:
    """The ranges of frames in which the overlay shows, exact to the frame.

    Where the sampled frames do not tell, it shows in all.
    """
    frames = len(found.timeline)
    known = np.flatnonzero(np.isfinite(fitted.shown))
    shown = fitted.shown[known] >= _SHOWN
    if fitted.explained < _LEAST_EXPLAINED or shown.all() or shown.mean() < 0.5:
        return (FrameRange(0, frames),)
    places = [samples.indices[number] for number in known]
    bounds = [0] if shown[0] else []
    filler = filler_of(fitted)
    for (before, was), (after, now) in itertools.pairwise(zip(places, shown.tolist(), strict=True)):
        if was != now:
            bounds.append(_change(path, found, (samples.shape, fitted, filler), range(before, after), was))
    bounds += [frames] if shown[-1] else []
    return _pairs(bounds)


def _pairs(bounds: list[int]) -> tuple[FrameRange, ...]:
    return tuple(FrameRange(*pair) for pair in zip(bounds[::2], bounds[1::2], strict=True) if pair[0] < pair[1])


def _change(path: Path, found: Survey, known: tuple[Shape, Fit, Filler], within: range, was: bool) -> int:
    """The first frame after the first of ``within`` at which it shows otherwise than it did; at the latest its end."""
    before, after = within.start, within.stop
    while after - before > 1:
        middle = (before + after) // 2
        taken = next(read_frames(path, found, [middle]), None)
        if taken is None:  # damaged: it is cleaned like its neighbours
            return after if was else before + 1
        shape, fitted, filler = known
        if (strength(taken[1], shape, fitted, filler) >= _SHOWN) == was:
            before = middle
        else:
            after = middle
    return after
