"""Extract the landmarks of one sample from its frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.landmarks.detection.landmarker import Landmarker
from tasks.landmarks.detection.rescue import HandRescue
from tasks.landmarks.frames import Frame, FrameSource
from tasks.landmarks.points import ModelKind, Skeleton
from tasks.landmarks.sequence import BadFrame, LandmarkSequence, Points, RgbImage, Source, Sources
from tasks.media.contact_sheets import fit_size, resize_image

# The models use images of at most 256x256, also for hands, so larger images only cost time (at 1080p, a quarter of the
# CPU time is for an unused segmentation mask).
MAX_SIDE_PX = 1280


@dataclass(frozen=True)
class Detection:
    """The landmarks of one frame: ``points`` float32 [points, 4], ``source`` uint8 [parts]."""

    frame: Frame
    points: Points
    source: Sources


class Extractor:
    """Extracts landmarks from consecutive samples; no state passes from one sample to the next."""

    def __init__(self, landmarker: Landmarker, rescue: HandRescue | None) -> None:
        self._landmarker = landmarker
        self._rescue = rescue

    @property
    def skeleton(self) -> Skeleton:
        """Return the model's skeleton."""
        return self._landmarker.skeleton

    def detect(self, source: FrameSource) -> Iterator[Detection]:
        """Yield the landmarks of each frame of ``source``. Raises BadInput if no frame is readable."""
        self._landmarker.restart()
        if self._rescue:
            self._rescue.restart()
        for frame in source:
            yield self._create_empty(frame) if frame.image is None else self._detect_frame(frame)

    def _detect_frame(self, frame: Frame) -> Detection:
        assert frame.image is not None
        milliseconds = round(frame.seconds * 1000)
        points = self._landmarker.detect(_limit_size(frame.image), milliseconds)
        source = _find_sources(points, self.skeleton)
        if self._rescue:
            for name in self._rescue.rescue(frame.image, points, milliseconds):
                source[self.skeleton.get_index(name)] = Source.RESCUED
        return Detection(frame, points, source)

    def _create_empty(self, frame: Frame) -> Detection:
        points = np.full((self.skeleton.points, 4), np.nan, np.float32)
        return Detection(frame, points, np.zeros(len(self.skeleton.parts), np.uint8))


def _limit_size(image: RgbImage) -> RgbImage:
    """Scale ``image`` down to MAX_SIDE_PX. Points are shares of the image, so they do not change."""
    longest = max(image.shape[:2])
    if longest <= MAX_SIDE_PX:
        return image
    return resize_image(image, fit_size(image, MAX_SIDE_PX, MAX_SIDE_PX))


def _find_sources(points: Points, skeleton: Skeleton) -> Sources:
    """Return DETECTED for every part whose first point exists, MISSING for the others."""
    is_detected = [not np.isnan(points[part.start, 0]) for part in skeleton.parts]
    return np.where(is_detected, Source.DETECTED, Source.MISSING).astype(np.uint8)


class SequenceBuilder:
    """Collects the landmarks of a sample frame by frame."""

    def __init__(self, kind: ModelKind, skeleton: Skeleton) -> None:
        self._kind = kind
        self._skeleton = skeleton
        self._points: list[Points] = []
        self._sources: list[Sources] = []
        self._seconds: list[float] = []
        self._bad: list[BadFrame] = []
        self._size = 0, 0

    def add(self, detection: Detection) -> None:
        """Add the next frame. The size of the first readable image applies to the sample."""
        frame = detection.frame
        self._points.append(detection.points)
        self._sources.append(detection.source)
        self._seconds.append(frame.seconds)
        if frame.image is None:
            self._bad.append(BadFrame(frame.frame_index, frame.name, frame.reason))
        elif self._size == (0, 0):
            self._size = frame.image.shape[0], frame.image.shape[1]

    def build(self, fps: float) -> LandmarkSequence:
        """Return the landmarks of all frames. Raises ValueError if there are no frames."""
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
