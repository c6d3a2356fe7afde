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
    """Origin of a part's points in a frame."""

    MISSING = 0  # not detected: all its points are NaN
    DETECTED = 1  # detected by the model
    RESCUED = 2  # found by the hand rescue
    FILLED = 3  # interpolated between two frames


@dataclass(frozen=True)
class BadFrame:
    """A frame that could not be read. It keeps its index; its points are missing before gaps are filled."""

    frame_index: int
    name: str
    reason: str


@dataclass(frozen=True)
class LandmarkSequence:
    """The landmarks of one sample.

    points         float32 [frames, points, 4]: x and y as shares of the image's width and height from its upper left
                   corner (they may leave 0..1), z in the scale of x, decreasing towards the camera, visibility 0..1 (1
                   for hands and face, whose models have none). A missing point is NaN in all four
    source         uint8 [frames, parts]: a :class:`Source` per part, in the order of ``skeleton.parts``
    times_seconds  float64 [frames]: display time of each frame, from 0
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
        """Return the number of frames, including bad ones."""
        return len(self.points)

    def get_part_points(self, name: PartName) -> Points | None:
        """Return float32 [frames, points of the part, 4], a view; None if the model does not detect the part."""
        part = self.skeleton.find_part(name)
        return None if part is None else self.points[:, part.span]

    def get_presence(self, name: PartName) -> NDArray[np.bool_]:
        """Return bool [frames]: True if the part has points, detected or filled. Raises ValueError without the part."""
        return np.asarray(self.source[:, self.skeleton.get_index(name)] != Source.MISSING)
