"""From the frames of one sample to its landmarks, as they were found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.landmarks.detection.landmarker import Landmarker
from tasks.landmarks.detection.rescue import HandRescue
from tasks.landmarks.frames import Frame, FrameSource
from tasks.landmarks.points import ModelKind, Skeleton
from tasks.landmarks.sequence import BadFrame, LandmarkSequence, Points, RgbImage, Source, Sources
from tasks.media.sheets import fitting_size, scaled

# The models take pictures of 256 x 256 at most, of a hand too; what is larger only costs (at 1080p a quarter of the CPU
# goes into a mask of the person that nobody asked for).
LONGEST_SIDE_PX = 1280


@dataclass(frozen=True)
class Look:
    """One frame, and what was found in it: ``points`` float32 [points, 4], ``source`` uint8 [parts]."""

    frame: Frame
    points: Points
    source: Sources


class Extractor:
    """Looks at one sample after another; nothing of one is left when the next begins."""

    def __init__(self, landmarker: Landmarker, rescue: HandRescue | None) -> None:
        self._landmarker = landmarker
        self._rescue = rescue

    @property
    def skeleton(self) -> Skeleton:
        """The points that it finds."""
        return self._landmarker.skeleton

    def looks(self, source: FrameSource) -> Iterator[Look]:
        """What is found in each frame of ``source``. Raises BadInput where none of them can be read."""
        self._landmarker.restart()
        if self._rescue:
            self._rescue.restart()
        for frame in source:
            yield self._nothing(frame) if frame.image is None else self._look(frame)

    def _look(self, frame: Frame) -> Look:
        assert frame.image is not None
        milliseconds = round(frame.seconds * 1000)
        points = self._landmarker.detect(_shrunk(frame.image), milliseconds)
        source = _sources(points, self.skeleton)
        if self._rescue:
            for name in self._rescue.rescue(frame.image, points, milliseconds):
                source[self.skeleton.get_index(name)] = Source.RESCUED
        return Look(frame, points, source)

    def _nothing(self, frame: Frame) -> Look:
        points = np.full((self.skeleton.points, 4), np.nan, np.float32)
        return Look(frame, points, np.zeros(len(self.skeleton.parts), np.uint8))


def _shrunk(image: RgbImage) -> RgbImage:
    """``picture`` with its longer side at most as long as any use is of: points are shares, and stay what they are."""
    longest = max(image.shape[:2])
    if longest <= LONGEST_SIDE_PX:
        return image
    return scaled(image, fitting_size(image, LONGEST_SIDE_PX, LONGEST_SIDE_PX))


def _sources(points: Points, skeleton: Skeleton) -> Sources:
    """DETECTED for every part that has a first point, MISSING for the others."""
    found = [not np.isnan(points[part.start, 0]) for part in skeleton.parts]
    return np.where(found, Source.DETECTED, Source.MISSING).astype(np.uint8)


class Track:
    """Gathers what was found, frame by frame."""

    def __init__(self, kind: ModelKind, skeleton: Skeleton) -> None:
        self._kind = kind
        self._skeleton = skeleton
        self._points: list[Points] = []
        self._sources: list[Sources] = []
        self._seconds: list[float] = []
        self._bad: list[BadFrame] = []
        self._size = 0, 0

    def add(self, look: Look) -> None:
        """The next frame. The first picture's size counts for all."""
        frame = look.frame
        self._points.append(look.points)
        self._sources.append(look.source)
        self._seconds.append(frame.seconds)
        if frame.image is None:
            self._bad.append(BadFrame(frame.frame_index, frame.name, frame.reason))
        elif self._size == (0, 0):
            self._size = frame.image.shape[0], frame.image.shape[1]

    def sequence(self, fps: float) -> LandmarkSequence:
        """All of it. Raises ValueError where there was no frame."""
        height, width = self._size
        return LandmarkSequence(
            kind=self._kind,
            skeleton=self._skeleton,
            points=np.stack(self._points),
            source=np.stack(self._sources),
            times_seconds=np.asarray(self._seconds, np.float64),
            fps=fps,
            width_px=width,
            height_px=height,
            bad_frames=tuple(self._bad),
        )
