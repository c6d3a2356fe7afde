"""Gaps that are short enough are filled in from both sides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tasks.landmarks.points import Part
from tasks.landmarks.sequence import LandmarkSequence, Points, Source, Sources

_VISIBILITY = 3


def fill_gaps(sequence: LandmarkSequence, most_frames: int) -> LandmarkSequence:
    """``sequence`` with every gap of at most ``most_frames`` frames filled, part by part; a new one.

    A gap is filled where the part is there on both sides: x, y and z run straight from one side to the other by the
    time at which each frame is shown, not by its number, so that a video of changing frame rate stays true. Visibility
    is the lower of the two sides: nobody looked in between, so it is never better than what is known. Longer gaps, and
    those at either end, stay missing; what was found is not touched. Raises ValueError where ``most_frames`` is
    negative.
    """
    if most_frames < 0:
        message = f"most_frames: {most_frames}; allowed: 0 or more"
        raise ValueError(message)
    points, source = sequence.points.copy(), sequence.source.copy()
    for number, part in enumerate(sequence.skeleton.parts):
        _fill(points, source, sequence.times_seconds, part, number, most_frames)
    return replace(sequence, points=points, source=source)


def _fill(
    points: Points, source: Sources, times_seconds: NDArray[np.float64], part: Part, number: int, most_frames: int
) -> None:
    missing = source[:, number] == Source.MISSING
    before, after = _neighbours(missing)
    gaps = np.flatnonzero(missing & (before >= 0) & (after < len(missing)) & (after - before - 1 <= most_frames))
    if not len(gaps):
        return
    before, after = before[gaps], after[gaps]
    first, last = points[before, part.span], points[after, part.span]
    weight = _weights(times_seconds[gaps], times_seconds[before], times_seconds[after]).astype(np.float32)[
        :, None, None
    ]
    filled = (1 - weight) * first + weight * last
    filled[..., _VISIBILITY] = np.minimum(first, last)[..., _VISIBILITY]
    points[gaps, part.span] = filled
    source[gaps, number] = Source.FILLED


def _neighbours(missing: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each frame the nearest one before and after that is there, itself included; -1 and the length for none."""
    numbers = np.arange(len(missing))
    before = np.maximum.accumulate(np.where(missing, -1, numbers))
    after = np.minimum.accumulate(np.where(missing, len(missing), numbers)[::-1])[::-1]
    return before, after


def _weights(now: NDArray[np.float64], before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far ``now`` is on the way from ``before`` to ``after``, 0 to 1; half way where all are shown at once."""
    span = after - before
    halves = np.full_like(span, 0.5)
    return np.divide(now - before, span, out=halves, where=span > 0).astype(np.float32)
