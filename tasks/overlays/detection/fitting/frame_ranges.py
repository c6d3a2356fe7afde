"""The frames in which a lasting overlay shows, and its strength there: it may fade in and out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tasks.media.segments.source import Survey
from tasks.overlays.detection.fitting.overlay_fit import Fit, make_filler, measure_strength
from tasks.overlays.detection.sampling import Samples, read_frames
from tasks.overlays.overlay import FrameRange

# Resolution of strengths; below one step, the overlay is invisible.
STEP = 0.04
# With less explained, single frames are uninformative.
_MIN_EXPLAINED = 0.9
_MIN_STRENGTH = 0.06
# Maximum number of frames read in addition to the samples.
_MAX_READ = 240
# Neighbors differ by more if the overlay appears suddenly.
_JUMP = 0.5
# An overlay that does not fade is visible above this strength.
_VISIBLE = 0.4

RangesByStrength = dict[float, tuple[FrameRange, ...]]
Strengths = dict[int, float]


def find_ranges(path: Path, survey: Survey, samples: Samples, fitted: Fit) -> RangesByStrength:
    """Return the frames in which the overlay shows, by strength: 1 is usual.

    Sudden changes are located to the frame. If the samples are uninformative, the overlay shows in all frames.
    """
    whole: RangesByStrength = {1.0: (FrameRange(0, len(survey.timeline)),)}
    if fitted.explained < _MIN_EXPLAINED:
        return whole
    strengths = {
        place: _round_strength(value, fitted)
        for place, value in zip(samples.indices, fitted.shown.tolist(), strict=True)
        if np.isfinite(value)
    }
    filler = make_filler(fitted)
    strengths = _refine_strengths(
        strengths,
        lambda wanted: {
            place: _round_strength(measure_strength(planes, samples.shape, fitted, filler), fitted)
            for place, planes in read_frames(path, survey, wanted)
        },
    )
    return split_by_strength(strengths, len(survey.timeline)) or whole


def _round_strength(value: float, fitted: Fit) -> float:
    return value if fitted.fades else float(value > _VISIBLE)


def _refine_strengths(strengths: Strengths, measure: Callable[[list[int]], Strengths]) -> Strengths:
    """Add frames between those with different strengths, by bisection, until neighbors agree."""
    left = _MAX_READ
    while left > 0:
        wanted = [
            (before + after) // 2
            for before, after in itertools.pairwise(sorted(strengths))
            if after - before > 1 and abs(strengths[before] - strengths[after]) > STEP
        ][:left]
        more = measure(wanted) if wanted else {}
        if not more:
            break
        strengths, left = {**strengths, **more}, left - len(wanted)
    return strengths


def split_by_strength(measured: Strengths, frames: int) -> RangesByStrength:
    """Split frames 0 to ``frames`` by strength in steps; interpolate linearly between measured frames."""
    places = np.array(sorted(measured))
    strengths = np.array([measured[place] for place in places.tolist()])
    values = np.interp(np.arange(frames), places, strengths)
    for (before, was), (after, now) in itertools.pairwise(zip(places.tolist(), strengths.tolist(), strict=True)):
        if abs(was - now) > _JUMP:  # unreadable frames between are cleaned, to be safe
            values[before + 1 : after] = max(was, now)
    ranges_by_level: dict[float, list[FrameRange]] = {}
    start = 0
    for level, run in itertools.groupby(np.rint(values / STEP).astype(int).tolist()):
        end = start + len(list(run))
        if level * STEP >= _MIN_STRENGTH:
            ranges_by_level.setdefault(level * STEP, []).append(FrameRange(start, end))
        start = end
    return {strength: tuple(ranges) for strength, ranges in ranges_by_level.items()}
