"""Coordinates that do not depend on a person's position and size in the image.

The origin is the midpoint of the shoulders, the unit their distance, both fixed per sample: the median over the frames
that have them. This keeps the body's movement, and the size of a hand that comes nearer. A separate frame of reference
per image would remove the movement and, when a person turns sideways and the shoulder distance shrinks, exaggerate the
size. pose-format's ``normalize`` also uses one origin and one distance per sample. However, it uses the mean, which a
few bad frames can distort, and distances with depth, the least reliable coordinate in MediaPipe.
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
_MIN_WIDTH_PX = 1.0  # a smaller shoulder distance is not a usable unit


@dataclass(frozen=True)
class Shoulders:
    """Position of the shoulders of a sample in pixels: their midpoint and their distance."""

    middle_x_px: float
    middle_y_px: float
    width_px: float


def check_normalization(kind: ModelKind, normalize: Normalization) -> Problem | None:
    """Return a problem if a model of ``kind`` does not support ``normalize``."""
    if normalize == "none" or SKELETONS[kind].find_part("pose_landmarks") is not None:
        return None
    given = f"{normalize} with a model without shoulders ({kind})"
    return Problem("--normalize", given, "none", "use --model holistic or pose")


def measure_shoulders(sequence: LandmarkSequence) -> Shoulders | None:
    """Return the median shoulder position over the frames in which the model detected a pose.

    Distances are in the image plane, in square pixels, because x and y have different units. Filled frames are ignored.
    None if there is no pose, or if the shoulders are less than a pixel apart.
    """
    pose = sequence.get_part_points("pose_landmarks")
    if pose is None:
        return None
    is_detected = np.isin(
        sequence.source[:, sequence.skeleton.get_index("pose_landmarks")], (Source.DETECTED, Source.RESCUED)
    )
    both = pose[is_detected][:, _SHOULDERS, :2].astype(np.float64) * (sequence.width_px, sequence.height_px)
    both = both[np.isfinite(both).all(axis=(1, 2))]
    return _compute_medians(both) if len(both) else None


def normalize(sequence: LandmarkSequence, normalization: Normalization) -> LandmarkSequence:
    """Return ``sequence`` in the coordinates of ``normalization``; unchanged for ``none``.

    ``shoulders``: x and y from the midpoint of the shoulders, in shoulder widths, y downwards; z in shoulder widths
    from MediaPipe's origin (hips for the pose, wrist for a hand, center of the head for the face), decreasing towards
    the camera; visibility unchanged. If :func:`measure_shoulders` returns None, there is no unit. Then every point is
    missing, because shares of the image would be mistaken for shoulder widths, and ``shoulder_width_px`` has no value.
    This is not a failure: there may be no person. Raises ValueError if the model detects no pose, which
    :func:`check_normalization` reports before the run.
    """
    if normalization == "none":
        return sequence
    problem = check_normalization(sequence.kind, normalization)
    if problem is not None:
        raise ValueError(str(problem))
    reference = measure_shoulders(sequence)
    return _remove_points(sequence) if reference is None else _scale_points(sequence, reference)


def _compute_medians(both: NDArray[np.float64]) -> Shoulders | None:
    """Return the medians of ``both``, float64 [frames, 2 shoulders, (x, y)] in pixels."""
    middle = np.median(both.mean(axis=1), axis=0)
    width = float(np.median(np.linalg.norm(both[:, 0] - both[:, 1], axis=1)))
    return Shoulders(float(middle[0]), float(middle[1]), width) if width >= _MIN_WIDTH_PX else None


def _scale_points(sequence: LandmarkSequence, reference: Shoulders) -> LandmarkSequence:
    points = sequence.points.copy()
    scales = (sequence.width_px, sequence.height_px, sequence.width_px)
    origins = (reference.middle_x_px, reference.middle_y_px, 0.0)
    for axis, (scale, origin) in enumerate(zip(scales, origins, strict=True)):  # one axis at a time saves memory
        points[..., axis] = (sequence.points[..., axis].astype(np.float64) * scale - origin) / reference.width_px
    return replace(sequence, points=points)


def _remove_points(sequence: LandmarkSequence) -> LandmarkSequence:
    points = np.full_like(sequence.points, np.nan)
    return replace(sequence, points=points, source=np.full_like(sequence.source, Source.MISSING))
