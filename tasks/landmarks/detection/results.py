"""Convert MediaPipe's C structures to arrays, without creating an object per point."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.landmarks.detection.binding import MpNormalizedLandmarkC
from tasks.landmarks.detection.handedness import SIDES, Hand, assign_sides
from tasks.landmarks.points import ModelKind, PartName
from tasks.landmarks.sequence import Points

_FLOATS = ctypes.sizeof(MpNormalizedLandmarkC) // ctypes.sizeof(ctypes.c_float)
_XYZ = slice(0, 3)
_VISIBILITY = MpNormalizedLandmarkC.visibility.offset // ctypes.sizeof(ctypes.c_float)
_HOLISTIC: tuple[PartName, ...] = (
    "pose_landmarks",
    "face_landmarks",
    "left_hand_landmarks",
    "right_hand_landmarks",
)


@dataclass(frozen=True)
class DetectedPart:
    """The points of one detected part, float32 [points, 4]."""

    name: PartName
    points: Points


def read_parts(kind: ModelKind, result: Any, aspect: float) -> list[DetectedPart]:
    """Return the parts in ``result``, a C structure of that landmarker; at most one per name.

    ``aspect`` is the image's width over its height. The arrays are copies, so the structure may be freed.
    """
    if kind == "hands":
        return [
            DetectedPart(SIDES[side], hand.points) for side, hand in assign_sides(read_hands(result), aspect).items()
        ]
    if kind == "holistic":
        lists = [(name, getattr(result, name)) for name in _HOLISTIC]
        return [DetectedPart(name, read_points(points)) for name, points in lists if points.landmarks_count]
    name: PartName = "pose_landmarks" if kind == "pose" else "face_landmarks"
    persons = getattr(result, f"{name}_count")
    return [DetectedPart(name, read_points(getattr(result, name)[0]))] if persons else []


def read_hands(result: Any) -> list[Hand]:
    """Return the hands in ``result``, a C structure of the hand landmarker. The arrays are copies."""
    return [
        Hand(read_points(result.hand_landmarks[number]), *_read_label(result.handedness[number]))
        for number in range(min(result.hand_landmarks_count, result.handedness_count))
    ]


def _read_label(categories: Any) -> tuple[str, float]:
    """Return the model's label of the hand and its score (0..1)."""
    first = categories.categories[0]
    return (first.category_name or b"").decode().lower(), float(first.score)


def read_points(landmarks: Any) -> Points:
    """Return an ``MpNormalizedLandmarksC`` as float32 [points, 4]: x, y, z, visibility (1 if the model has none)."""
    count = landmarks.landmarks_count
    raw = ctypes.cast(landmarks.landmarks, ctypes.POINTER(ctypes.c_float))
    table = np.ctypeslib.as_array(raw, (count, _FLOATS))
    points = np.ones((count, 4), np.float32)
    points[:, _XYZ] = table[:, _XYZ]
    if count and landmarks.landmarks[0].has_visibility:  # otherwise the field is uninitialized memory
        points[:, 3] = table[:, _VISIBILITY]
    return points
