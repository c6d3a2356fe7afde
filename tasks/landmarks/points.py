"""Skeletons: their parts, point names and the lines between points.

Numbers and names are MediaPipe's: 33 points of the body (BlazePose), 478 of the face mesh (the last ten are the
irises), and 21 per hand. Left and right are the person's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

PartName = Literal["pose_landmarks", "face_landmarks", "left_hand_landmarks", "right_hand_landmarks"]
ModelKind = Literal["holistic", "hands", "pose", "face"]
MODEL_KINDS: tuple[ModelKind, ...] = get_args(ModelKind)

POSE_NAMES = (
    "nose",
    *(f"{side}_eye{where}" for side in ("left", "right") for where in ("_inner", "", "_outer")),
    *("left_ear", "right_ear", "mouth_left", "mouth_right"),
    *(
        f"{side}_{joint}"
        for joint in (
            "shoulder",
            "elbow",
            "wrist",
            "pinky",
            "index",
            "thumb",
            "hip",
            "knee",
            "ankle",
            "heel",
            "foot_index",
        )
        for side in ("left", "right")
    ),
)
HAND_NAMES = (
    "wrist",
    *(f"thumb_{joint}" for joint in ("cmc", "mcp", "ip", "tip")),
    *(
        f"{finger}_{joint}"
        for finger in ("index_finger", "middle_finger", "ring_finger", "pinky")
        for joint in ("mcp", "pip", "dip", "tip")
    ),
)
FACE_POINTS = 478
FACE_POINTS_WITHOUT_IRISES = 468

_POSE_LIMBS = (
    *((0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10)),
    *((11, 12), (11, 13), (13, 15), (15, 17), (15, 19), (15, 21), (17, 19)),
    *((12, 14), (14, 16), (16, 18), (16, 20), (16, 22), (18, 20), (11, 23), (12, 24), (23, 24)),
    *((23, 25), (24, 26), (25, 27), (26, 28), (27, 29), (28, 30), (29, 31), (30, 32), (27, 31), (28, 32)),
)
_HAND_LIMBS = (
    *((0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (5, 6), (6, 7), (7, 8), (5, 9), (9, 10), (10, 11), (11, 12)),
    *((9, 13), (13, 14), (14, 15), (15, 16), (13, 17), (17, 18), (18, 19), (19, 20), (0, 17)),
)


@dataclass(frozen=True)
class Part:
    """A part of a skeleton: ``points`` points from ``start`` on. ``limbs`` are pairs of indices within the part."""

    name: PartName
    start: int
    point_names: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]

    @property
    def points(self) -> int:
        """Return the number of points."""
        return len(self.point_names)

    @property
    def span(self) -> slice:
        """Return the slice of its points on the points axis."""
        return slice(self.start, self.start + self.points)


@dataclass(frozen=True)
class Skeleton:
    """The parts that a model detects, consecutive on the points axis."""

    parts: tuple[Part, ...]

    @property
    def points(self) -> int:
        """Return the number of points of all parts."""
        return sum(part.points for part in self.parts)

    def find_part(self, name: PartName) -> Part | None:
        """Return the part with this name; None if the model does not detect it."""
        return next((part for part in self.parts if part.name == name), None)

    def get_index(self, name: PartName) -> int:
        """Return the part's index on the parts axis. Raises ValueError if there is no such part."""
        return [part.name for part in self.parts].index(name)


_NAMES: Mapping[PartName, tuple[str, ...]] = {
    "pose_landmarks": POSE_NAMES,
    "face_landmarks": tuple(str(number) for number in range(FACE_POINTS)),
    "left_hand_landmarks": HAND_NAMES,
    "right_hand_landmarks": HAND_NAMES,
}
_LIMBS: Mapping[PartName, tuple[tuple[int, int], ...]] = {
    "pose_landmarks": _POSE_LIMBS,
    "face_landmarks": (),  # a mesh; drawing.py selects the contours
    "left_hand_landmarks": _HAND_LIMBS,
    "right_hand_landmarks": _HAND_LIMBS,
}


def _create_skeleton(*names: PartName) -> Skeleton:
    starts = [sum(len(_NAMES[earlier]) for earlier in names[:number]) for number in range(len(names))]
    return Skeleton(
        tuple(Part(name, start, _NAMES[name], _LIMBS[name]) for name, start in zip(names, starts, strict=True))
    )


SKELETONS: Mapping[ModelKind, Skeleton] = {
    "holistic": _create_skeleton("pose_landmarks", "face_landmarks", "left_hand_landmarks", "right_hand_landmarks"),
    "hands": _create_skeleton("left_hand_landmarks", "right_hand_landmarks"),
    "pose": _create_skeleton("pose_landmarks"),
    "face": _create_skeleton("face_landmarks"),
}
