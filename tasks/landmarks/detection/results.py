"""From MediaPipe's C structures to arrays, without an object a point."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.landmarks.detection.binding import MpNormalizedLandmarkC
from tasks.landmarks.detection.handedness import SIDES, Hand, by_side
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
class Found:
    """The points of one part, float32 [points, 4]."""

    name: PartName
    points: Points


def found(kind: ModelKind, result: Any, aspect: float) -> list[Found]:
    """The parts that ``result``, a C structure of that landmarker, has; at most one of each name.

    ``aspect`` is the picture's width over its height. The arrays are copies: the structure may be freed.
    """
    if kind == "hands":
        return [Found(SIDES[side], hand.points) for side, hand in by_side(hands_of(result), aspect).items()]
    if kind == "holistic":
        lists = [(name, getattr(result, name)) for name in _HOLISTIC]
        return [Found(name, points_of(points)) for name, points in lists if points.landmarks_count]
    name: PartName = "pose_landmarks" if kind == "pose" else "face_landmarks"
    persons = getattr(result, f"{name}_count")
    return [Found(name, points_of(getattr(result, name)[0]))] if persons else []


def hands_of(result: Any) -> list[Hand]:
    """The hands in ``result``, a C structure of the hand landmarker; the arrays are copies."""
    return [
        Hand(points_of(result.hand_landmarks[number]), *_label(result.handedness[number]))
        for number in range(min(result.hand_landmarks_count, result.handedness_count))
    ]


def _label(categories: Any) -> tuple[str, float]:
    """What the model takes the hand for, and how sure it is (0..1)."""
    first = categories.categories[0]
    return (first.category_name or b"").decode().lower(), float(first.score)


def points_of(landmarks: Any) -> Points:
    """float32 [points, 4] of an ``MpNormalizedLandmarksC``: x, y, z, visibility; 1 where the model gives none."""
    count = landmarks.landmarks_count
    raw = ctypes.cast(landmarks.landmarks, ctypes.POINTER(ctypes.c_float))
    table = np.ctypeslib.as_array(raw, (count, _FLOATS))
    points = np.ones((count, 4), np.float32)
    points[:, _XYZ] = table[:, _XYZ]
    if count and landmarks.landmarks[0].has_visibility:  # else that field is whatever lay in memory
        points[:, 3] = table[:, _VISIBILITY]
    return points
