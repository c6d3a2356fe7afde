"""The landmarks of one sample, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tasks.landmarks.points import ModelKind, PartName, Skeleton

RgbImage = NDArray[np.uint8]  # height x width x 3, RGB
Points = NDArray[np.float32]
Sources = NDArray[np.uint8]


class Source(IntEnum):
    """Where a part's points in a frame are from."""

    MISSING = 0  # not found: every one of its points is NaN
    DETECTED = 1  # the model found it
    RESCUED = 2  # found by a second look
    FILLED = 3  # between two frames that have it


@dataclass(frozen=True)
class BadFrame:
    """A frame that could not be read. It keeps its place; all of its points are missing before gaps are filled."""

    frame_index: int
    name: str
    reason: str


@dataclass(frozen=True)
class LandmarkSequence:
    """What was found in the frames of one sample.

    points         float32 [frames, points, 4]: x and y as shares of the picture's width and height from its upper left
                   corner (they may leave 0..1), z in the scale of x, smaller towards the camera, visibility 0..1 (1 for
                   hands and face, whose models give none). A missing point is NaN in all four
    source         uint8 [frames, parts]: a :class:`Source` for each part, in the order of ``skeleton.parts``
    times_seconds  float64 [frames]: when each frame is shown, from 0
    """

    kind: ModelKind
    skeleton: Skeleton
    points: Points
    source: Sources
    times_seconds: NDArray[np.float64]
    fps: float
    width_px: int
    height_px: int
    bad_frames: tuple[BadFrame, ...] = ()

    @property
    def frames(self) -> int:
        """How many frames it has, bad ones included."""
        return len(self.points)

    def get_part_points(self, name: PartName) -> Points | None:
        """float32 [frames, points of the part, 4], a view; None where the model does not look for it."""
        part = self.skeleton.find_part(name)
        return None if part is None else self.points[:, part.span]

    def get_presence(self, name: PartName) -> NDArray[np.bool_]:
        """bool [frames]: where the part has points, found or filled. Raises ValueError where there is no such part."""
        return np.asarray(self.source[:, self.skeleton.get_index(name)] != Source.MISSING)
