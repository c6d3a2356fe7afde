"""Fill short gaps by interpolation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tasks.landmarks.points import Part
from tasks.landmarks.sequence import LandmarkSequence, Points, Source, Sources

_VISIBILITY = 3


def fill_gaps(sequence: LandmarkSequence, max_frames: int) -> LandmarkSequence:
    """Return ``sequence`` with every gap of at most ``max_frames`` frames filled, per part.

    A gap is filled if the part is present on both sides. x, y and z are interpolated linearly by display time, not by
    frame number, so that a variable frame rate is handled correctly. The visibility is the lower one of both sides,
    since the model has not seen the frames between. Longer gaps, and gaps at either end, stay missing. Detected points
    do not change. Raises ValueError if ``max_frames`` is negative.
    """
    if max_frames < 0:
        message = f"max_frames: {max_frames}; allowed: 0 or more"
        raise ValueError(message)
    points, source = sequence.points.copy(), sequence.source.copy()
    for number, part in enumerate(sequence.skeleton.parts):
        _fill_part(points, source, sequence.times_seconds, part, number, max_frames)
    return replace(sequence, points=points, source=source)


def _fill_part(
    points: Points, source: Sources, times_seconds: NDArray[np.float64], part: Part, number: int, max_frames: int
) -> None:
    missing = source[:, number] == Source.MISSING
    before, after = _find_neighbours(missing)
    gaps = np.flatnonzero(missing & (before >= 0) & (after < len(missing)) & (after - before - 1 <= max_frames))
    if not len(gaps):
        return
    before, after = before[gaps], after[gaps]
    first, last = points[before, part.span], points[after, part.span]
    weight = _compute_weights(times_seconds[gaps], times_seconds[before], times_seconds[after]).astype(np.float32)[
        :, None, None
    ]
    filled = (1 - weight) * first + weight * last
    filled[..., _VISIBILITY] = np.minimum(first, last)[..., _VISIBILITY]
    points[gaps, part.span] = filled
    source[gaps, number] = Source.FILLED


def _find_neighbours(missing: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return for each frame the nearest present frame before and after it (or itself); -1 and the length if none."""
    numbers = np.arange(len(missing))
    before = np.maximum.accumulate(np.where(missing, -1, numbers))
    after = np.minimum.accumulate(np.where(missing, len(missing), numbers)[::-1])[::-1]
    return before, after


def _compute_weights(
    now: NDArray[np.float64], before: NDArray[np.float64], after: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the position of ``now`` between ``before`` and ``after``, 0 to 1; 0.5 if all times are equal."""
    span = after - before
    halves = np.full_like(span, 0.5)
    return np.divide(now - before, span, out=halves, where=span > 0).astype(np.float32)
