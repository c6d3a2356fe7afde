"""In which frames an overlay shows that is there most of the time, and how strongly: it may fade in and out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tasks.media.segments.source import Survey
from tasks.overlays.detection.fitting.overlay_fit import Fit, filler_of, strength
from tasks.overlays.detection.sampling import Samples, read_frames
from tasks.overlays.overlay import FrameRange

# Strengths are told apart in steps of this; weaker than one step, it is not there.
STEP = 0.04
# With less explained, single frames tell too little.
_LEAST_EXPLAINED = 0.9
_LEAST_STRENGTH = 0.06
# Frames that are read beside the sampled ones, at most.
_MOST_READ = 240
# Strengths of neighbours differ by this much where the overlay appears at once.
_SUDDEN = 0.5
# What does not fade is there where it is stronger than this.
_THERE = 0.4

Pieces = dict[float, tuple[FrameRange, ...]]
Measured = dict[int, float]


def shown_ranges(path: Path, found: Survey, samples: Samples, fitted: Fit) -> Pieces:
    """The frames in which the overlay shows, by its strength there: 1 is as usual.

    A sudden change is found to the frame. Where the sampled frames do not tell, it shows in all.
    """
    whole: Pieces = {1.0: (FrameRange(0, len(found.timeline)),)}
    if fitted.explained < _LEAST_EXPLAINED:
        return whole
    known = {
        place: _as_counted(value, fitted)
        for place, value in zip(samples.indices, fitted.shown.tolist(), strict=True)
        if np.isfinite(value)
    }
    filler = filler_of(fitted)
    known = _refined(
        known,
        lambda wanted: {
            place: _as_counted(strength(planes, samples.shape, fitted, filler), fitted)
            for place, planes in read_frames(path, found, wanted)
        },
    )
    return pieces(known, len(found.timeline)) or whole


def _as_counted(value: float, fitted: Fit) -> float:
    return value if fitted.fades else float(value > _THERE)


def _refined(known: Measured, measure: Callable[[list[int]], Measured]) -> Measured:
    """``known`` with the frames between those whose strengths differ, by halves, until neighbours do not."""
    left = _MOST_READ
    while left > 0:
        wanted = [
            (before + after) // 2
            for before, after in itertools.pairwise(sorted(known))
            if after - before > 1 and abs(known[before] - known[after]) > STEP
        ][:left]
        more = measure(wanted) if wanted else {}
        if not more:
            break
        known, left = {**known, **more}, left - len(wanted)
    return known


def pieces(known: Measured, frames: int) -> Pieces:
    """Frames 0 up to ``frames`` by strength in whole steps, those between known ones on a straight line."""
    places = np.array(sorted(known))
    strengths = np.array([known[place] for place in places.tolist()])
    values = np.interp(np.arange(frames), places, strengths)
    for (before, was), (after, now) in itertools.pairwise(zip(places.tolist(), strengths.tolist(), strict=True)):
        if abs(was - now) > _SUDDEN:  # frames between could not be read: they are cleaned, to be sure
            values[before + 1 : after] = max(was, now)
    found: dict[float, list[FrameRange]] = {}
    start = 0
    for level, run in itertools.groupby(np.rint(values / STEP).astype(int).tolist()):
        end = start + len(list(run))
        if level * STEP >= _LEAST_STRENGTH:
            found.setdefault(level * STEP, []).append(FrameRange(start, end))
        start = end
    return {strength: tuple(ranges) for strength, ranges in found.items()}
