"""Coordinates that do not depend on where in the picture a person stands, nor on how large.

The origin is the middle between the shoulders, the unit their distance, both once a sample: the median over the frames
that have them. So the body's own movement stays, as does the size of a hand when it comes nearer; a frame of its own
for every picture would take away the one and, where a person turns sideways and the shoulders close up, blow up the
other. pose-format's ``normalize`` also takes one origin and one distance a sample, but the mean, of which a few bad
frames can make anything, and distances in depth, which in MediaPipe is the least certain of the three.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.engine.contract.errors import Problem
from tasks.landmarks.params import Normalization
from tasks.landmarks.points import POSE_NAMES, SKELETONS, ModelKind
from tasks.landmarks.sequence import LandmarkSequence, Source

_SHOULDERS = [POSE_NAMES.index("left_shoulder"), POSE_NAMES.index("right_shoulder")]
_LEAST_WIDTH_PX = 1.0  # shoulders closer than a pixel are no scale


@dataclass(frozen=True)
class Shoulders:
    """Where the shoulders of a sample are, in pixels of its pictures: their middle, and how far apart they are."""

    middle_x_px: float
    middle_y_px: float
    width_px: float


def normalization_problem(kind: ModelKind, normalize: Normalization) -> Problem | None:
    """What is wrong with asking for ``normalize`` of a model of ``kind``; None where it can be done."""
    if normalize == "none" or SKELETONS[kind].find_part("pose_landmarks") is not None:
        return None
    given = f"{normalize} with a model that finds no shoulders ({kind})"
    return Problem("--normalize", given, "none", "give --model holistic or pose to have shoulders")


def shoulders(sequence: LandmarkSequence) -> Shoulders | None:
    """The shoulders of ``sequence``: medians over the frames in which the model found a pose.

    Distances are in the plane of the picture, in square pixels: x and y are shares of different lengths. Frames that
    were filled in say nothing of their own. None where there is no pose, or its shoulders lie less than a pixel apart.
    """
    pose = sequence.get_part_points("pose_landmarks")
    if pose is None:
        return None
    found = np.isin(
        sequence.source[:, sequence.skeleton.get_index("pose_landmarks")], (Source.DETECTED, Source.RESCUED)
    )
    both = pose[found][:, _SHOULDERS, :2].astype(np.float64) * (sequence.width_px, sequence.height_px)
    both = both[np.isfinite(both).all(axis=(1, 2))]
    return _medians(both) if len(both) else None


def normalize(sequence: LandmarkSequence, normalization: Normalization) -> LandmarkSequence:
    """``sequence`` in the coordinates that ``normalization`` names; itself for ``none``.

    ``shoulders``: x and y from the middle between the shoulders, in shoulder widths, y downwards; z in shoulder widths
    too, from where MediaPipe counts it (hips for the pose, wrist for a hand, the head's middle for the face), smaller
    towards the camera; visibility as it is. Where :func:`shoulders` is None there is no scale: then every point is
    missing, because pictures' shares among shoulder widths would be mistaken for them. It is not a failure: a
    person may not be there. The figure ``shoulder_width_px`` of such a sample has no value. Raises ValueError where
    the model looks for no pose, which :func:`normalization_problem` says at the door.
    """
    if normalization == "none":
        return sequence
    problem = normalization_problem(sequence.kind, normalization)
    if problem is not None:
        raise ValueError(str(problem))
    frame = shoulders(sequence)
    return _without_points(sequence) if frame is None else _scaled(sequence, frame)


def _medians(both: NDArray[np.float64]) -> Shoulders | None:
    """``both`` is float64 [frames, 2 shoulders, (x, y)], in pixels."""
    middle = np.median(both.mean(axis=1), axis=0)
    width = float(np.median(np.linalg.norm(both[:, 0] - both[:, 1], axis=1)))
    return Shoulders(float(middle[0]), float(middle[1]), width) if width >= _LEAST_WIDTH_PX else None


def _scaled(sequence: LandmarkSequence, frame: Shoulders) -> LandmarkSequence:
    points = sequence.points.copy()
    scales = (sequence.width_px, sequence.height_px, sequence.width_px)
    origins = (frame.middle_x_px, frame.middle_y_px, 0.0)
    for axis, (scale, origin) in enumerate(zip(scales, origins, strict=True)):  # one at a time: doubles take room
        points[..., axis] = (sequence.points[..., axis].astype(np.float64) * scale - origin) / frame.width_px
    return replace(sequence, points=points)


def _without_points(sequence: LandmarkSequence) -> LandmarkSequence:
    points = np.full_like(sequence.points, np.nan)
    return replace(sequence, points=points, source=np.full_like(sequence.source, Source.MISSING))
